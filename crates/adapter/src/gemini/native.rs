//! What a client of another dialect says in Google's own words: `google: {…}` or `extra_body: {"google": {…}}`, as Google's
//! OpenAI-compatible endpoint takes it. It wins over what was translated.

use serde_json::Value;
use tallygate_types::Dialect;

use crate::failure::BadRequest;
use crate::ir::{Object, Request};
use crate::loss::LossReport;

const GOOGLE: &str = "google";
const EXTRA_BODY: &str = "extra_body";
/// Fields of a request.
const TOP: &[&str] = &["cachedContent", "safetySettings", "labels", "toolConfig", "generationConfig"];
/// Fields of `generationConfig` that may stand without it.
const OF_CONFIG: &[&str] =
    &["thinkingConfig", "speechConfig", "imageConfig", "mediaResolution", "responseModalities", "audioTimestamp"];

/// Whether `field` of another dialect's extensions is read here.
pub(super) fn is_native(field: &str) -> bool {
    field == GOOGLE || field == EXTRA_BODY
}

/// Fields in camel case, by their place in the request.
#[derive(Debug, Default)]
pub(super) struct Native {
    top: Object,
    config: Object,
}

impl Native {
    pub fn of(request: &Request, loss: &mut LossReport) -> Result<Self, BadRequest> {
        let mut native = Self::default();
        for (_, field, value) in request.extensions.foreign(Dialect::Gemini) {
            match field.as_str() {
                GOOGLE => native.read(GOOGLE, value, loss)?,
                EXTRA_BODY => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        if name == GOOGLE {
                            native.read("extra_body.google", value, loss)?;
                        } else {
                            loss.dropped(format!("extra_body.{name}"), "known to another provider only");
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(native)
    }

    fn read(&mut self, path: &str, value: &Value, loss: &mut LossReport) -> Result<(), BadRequest> {
        let Value::Object(fields) = value else {
            return Err(BadRequest::invalid(path, format!("`{path}` must be an object.")));
        };
        for (name, value) in fields {
            let camel = camel_case(name);
            match (camel.as_str(), value) {
                ("generationConfig", Value::Object(config)) => {
                    self.config.extend(config.iter().map(|(name, value)| (camel_case(name), value.clone())));
                }
                (_, value) if OF_CONFIG.contains(&camel.as_str()) => drop(self.config.insert(camel, value.clone())),
                (_, value) if TOP.contains(&camel.as_str()) => drop(self.top.insert(camel, value.clone())),
                _ => loss.dropped(format!("{path}.{name}"), "not a field of Gemini's that can be said this way"),
            }
        }
        Ok(())
    }

    /// Writes the fields over a request's.
    pub fn write_over(self, request: &mut Object) -> Result<(), BadRequest> {
        if self.top.contains_key("cachedContent")
            && let Some(field) = ["tools", "toolConfig", "systemInstruction"].iter().find(|field| request.contains_key(**field))
        {
            return Err(BadRequest::unsupported_value(
                "google.cached_content",
                format!(
                    "A cached content brings its own system text and tools, and excludes `{field}` of the request. Leave one of them out."
                ),
            ));
        }
        if !self.config.is_empty() {
            match request.get_mut("generationConfig") {
                Some(Value::Object(config)) => config.extend(self.config),
                _ => drop(request.insert("generationConfig".into(), self.config.into())),
            }
        }
        for (name, value) in self.top {
            match (request.get_mut(&name), value) {
                (Some(Value::Object(here)), Value::Object(there)) => here.extend(there),
                (_, value) => drop(request.insert(name, value)),
            }
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.top.is_empty() && self.config.is_empty()
    }
}

/// Names of fields, which Google takes in both spellings.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' if !camel.is_empty() => upper = true,
            c if std::mem::take(&mut upper) => camel.push(c.to_ascii_uppercase()),
            c => camel.push(c),
        }
    }
    camel
}

/// The same fields with their names in camel case, without those that are null.
pub(super) fn camel_cased(fields: Object) -> Object {
    fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (camel_case(&name), value)).collect()
}
