//! Other vendors' web search as Anthropic's own.
//!
//! Searches are billed each and apart from tokens, so a model must be set to it (`hosted_search` of its profile).

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::wire;
use crate::ir::Object;

const TYPE: &str = "web_search_20250305";
const NAME: &str = "web_search";

/// `None`: the tool is no web search.
pub(super) fn search(dialect: Dialect, kind: &str, value: &Value) -> Option<wire::Tool> {
    let mut other = Object::new();
    match dialect {
        Dialect::OpenaiChat if kind == "web_search_options" => {
            other.extend(uses(value));
            other.extend(location(value.get("user_location").and_then(|location| location.get("approximate"))));
        }
        Dialect::OpenaiResponses if kind.starts_with("web_search") => {
            other.extend(uses(value));
            other.extend(location(value.get("user_location")));
            // One of the two lists only is taken.
            let filters = value.get("filters").unwrap_or(&Value::Null);
            other.extend(
                domains("allowed_domains", filters.get("allowed_domains"))
                    .or_else(|| domains("blocked_domains", filters.get("blocked_domains"))),
            );
        }
        Dialect::Gemini if kind == "googleSearch" || kind == "googleSearchRetrieval" => {
            other.extend(domains("blocked_domains", value.get(kind).and_then(|search| search.get("excludeDomains"))));
        }
        _ => return None,
    }
    Some(wire::Tool { kind: Some(TYPE.into()), name: NAME.into(), other, ..wire::Tool::default() })
}

/// How much of the web to read, as a number of searches.
fn uses(value: &Value) -> Option<(String, Value)> {
    let uses = match value.get("search_context_size").and_then(Value::as_str)? {
        "low" => 1,
        "medium" => 5,
        "high" => 10,
        _ => return None,
    };
    Some(("max_uses".into(), uses.into()))
}

fn location(place: Option<&Value>) -> Option<(String, Value)> {
    let place = place?.as_object()?;
    let mut flat = json!({"type": "approximate"});
    for field in ["city", "country", "region", "timezone"] {
        if let Some(value) = place.get(field).filter(|value| !value.is_null()) {
            flat[field] = value.clone();
        }
    }
    Some(("user_location".into(), flat))
}

fn domains(field: &str, list: Option<&Value>) -> Option<(String, Value)> {
    let list = list?.as_array().filter(|list| !list.is_empty())?;
    Some((field.into(), list.clone().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vendors_search_is_understood() {
        let said = |dialect, kind: &str, value: Value| search(dialect, kind, &value).map(|tool| json!(tool));
        assert_eq!(
            said(
                Dialect::OpenaiChat,
                "web_search_options",
                json!({"search_context_size": "medium", "user_location": {"type": "approximate", "approximate": {"city": "Bern", "country": "CH"}}})
            ),
            Some(
                json!({"type": TYPE, "name": NAME, "max_uses": 5, "user_location": {"type": "approximate", "city": "Bern", "country": "CH"}})
            )
        );
        assert_eq!(
            said(
                Dialect::OpenaiResponses,
                "web_search",
                json!({"type": "web_search", "filters": {"allowed_domains": ["a.ch"]}, "user_location": {"type": "approximate", "timezone": "Europe/Zurich", "city": null}})
            ),
            Some(
                json!({"type": TYPE, "name": NAME, "user_location": {"type": "approximate", "timezone": "Europe/Zurich"}, "allowed_domains": ["a.ch"]})
            )
        );
        assert_eq!(said(Dialect::Gemini, "googleSearch", json!({"googleSearch": {}})), Some(json!({"type": TYPE, "name": NAME})));
        assert_eq!(said(Dialect::Gemini, "codeExecution", json!({"codeExecution": {}})), None);
    }
}
