//! The list of models a tenant may ask for, in the shapes of the three vendors.

mod codex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tallygate_types::{Dialect, Timestamp};

use crate::failure::BadRequest;
use crate::ir::Object;

pub use codex::{CodexModel, codex};

/// Anthropic's page where the client names no size, and the largest.
const ANTHROPIC_PAGE: (usize, usize) = (20, 1_000);
/// Gemini's.
const GEMINI_PAGE: (usize, usize) = (50, 1_000);

/// One model as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The public name, or an alias of it.
    pub name: String,
    pub display_name: String,
    pub created_at: Timestamp,
    /// OpenAI's `owned_by`.
    pub owned_by: String,
    pub max_input_tokens: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// It makes embeddings and answers nothing.
    pub embeds: bool,
}

/// Which part of the list is asked for. OpenAI's clients always get all of it.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    /// Anthropic's `limit`, Gemini's `pageSize`.
    pub size: Option<String>,
    /// Anthropic's `after_id`, Gemini's `pageToken`.
    pub after: Option<String>,
    /// Anthropic's `before_id`.
    pub before: Option<String>,
}

/// Whether a client that speaks `dialect` should be shown `alias` in its list. A name that looks like one vendor's is for the
/// clients of that vendor, many of which leave out all others; any other name is for everybody.
pub fn shows_alias(dialect: Dialect, alias: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| alias.starts_with(prefix));
    let is_o_series = alias.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let vendor = if begins(&["claude", "anthropic"]) {
        Dialect::Anthropic
    } else if begins(&["gemini", "gemma"]) {
        Dialect::Gemini
    } else if is_o_series || begins(&["gpt", "chatgpt", "codex", "text-embedding", "whisper", "tts", "dall-e"]) {
        Dialect::OpenaiChat
    } else {
        return true;
    };
    vendor == if dialect == Dialect::OpenaiResponses { Dialect::OpenaiChat } else { dialect }
}

/// The answer to `GET /v1/models` (both OpenAI dialects share one shape) or Gemini's `GET /v1beta/models`.
pub fn list(dialect: Dialect, models: &[ModelInfo], paging: &Paging) -> Result<Vec<u8>, BadRequest> {
    let items = |models: &[ModelInfo]| models.iter().map(|model| item(dialect, model)).collect::<Vec<Value>>();
    let page = match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => json!({"object": "list", "data": items(models)}),
        Dialect::Anthropic => {
            let (page, has_more) = anthropic_page(models, paging)?;
            json!({
                "data": items(page),
                "has_more": has_more,
                "first_id": page.first().map(|model| &model.name),
                "last_id": page.last().map(|model| &model.name),
            })
        }
        Dialect::Gemini => {
            let size = page_size("pageSize", paging.size.as_deref(), GEMINI_PAGE)?;
            let from = match paging.after.as_deref().filter(|token| !token.is_empty()) {
                None => 0,
                Some(token) => gemini_position(models, token)?,
            };
            let rest = &models[from..];
            let page = &rest[..size.min(rest.len())];
            let mut said = json!({"models": items(page)});
            if let Some(last) = page.last().filter(|_| page.len() < rest.len()) {
                said["nextPageToken"] = URL_SAFE_NO_PAD.encode(&last.name).into();
            }
            said
        }
    };
    Ok(page.to_string().into_bytes())
}

/// The answer to `GET /v1/models/{name}`.
pub fn one(dialect: Dialect, model: &ModelInfo) -> Vec<u8> {
    item(dialect, model).to_string().into_bytes()
}

fn page_size(param: &str, asked: Option<&str>, (default, most): (usize, usize)) -> Result<usize, BadRequest> {
    let Some(asked) = asked.filter(|text| !text.is_empty()) else { return Ok(default) };
    let size: usize = asked.parse().map_err(|_| BadRequest::invalid(param, format!("`{param}` must be a whole number.")))?;
    match (size, param) {
        // Gemini takes 0 for the default and brings down what is too large; Anthropic refuses both.
        (0, "pageSize") => Ok(default),
        (_, "pageSize") => Ok(size.min(most)),
        (size, _) if (1..=most).contains(&size) => Ok(size),
        _ => Err(BadRequest::invalid(param, format!("`{param}` must be between 1 and {most}."))),
    }
}

fn anthropic_page<'a>(models: &'a [ModelInfo], paging: &Paging) -> Result<(&'a [ModelInfo], bool), BadRequest> {
    let size = page_size("limit", paging.size.as_deref(), ANTHROPIC_PAGE)?;
    let position = |param: &str, id: &str| {
        let unknown = || BadRequest::invalid(param, format!("`{param}` names no model of this list."));
        models.iter().position(|model| model.name == id).ok_or_else(unknown)
    };
    if let Some(before) = &paging.before {
        let rest = &models[..position("before_id", before)?];
        let page = &rest[rest.len().saturating_sub(size)..];
        return Ok((page, page.len() < rest.len()));
    }
    let from = paging.after.as_deref().map(|after| position("after_id", after)).transpose()?.map_or(0, |at| at + 1);
    let rest = &models[from..];
    let page = &rest[..size.min(rest.len())];
    Ok((page, page.len() < rest.len()))
}

/// Where the page after a token begins. The token is the last name of the page before, so that it holds while models come and
/// go.
fn gemini_position(models: &[ModelInfo], token: &str) -> Result<usize, BadRequest> {
    let invalid = || BadRequest::invalid("pageToken", "`pageToken` is none of this list. Begin without one.");
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?;
    Ok(models.partition_point(|model| model.name <= name))
}

fn item(dialect: Dialect, model: &ModelInfo) -> Value {
    let mut limits = Object::new();
    let mut limit = |field: &str, tokens: Option<u64>| {
        if let Some(tokens) = tokens {
            limits.insert(field.into(), tokens.into());
        }
    };
    let mut said = match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => {
            limit("context_window", model.max_input_tokens);
            limit("max_output_tokens", model.max_output_tokens);
            json!({
                "id": model.name,
                "object": "model",
                "created": model.created_at.seconds(),
                "owned_by": model.owned_by,
            })
        }
        Dialect::Anthropic => {
            limit("max_input_tokens", model.max_input_tokens);
            limit("max_tokens", model.max_output_tokens);
            json!({
                "type": "model",
                "id": model.name,
                "display_name": model.display_name,
                "created_at": model.created_at.to_string(),
                "lifecycle": "active",
            })
        }
        Dialect::Gemini => {
            limit("inputTokenLimit", model.max_input_tokens);
            limit("outputTokenLimit", model.max_output_tokens);
            let methods: &[&str] = if model.embeds {
                &["embedContent", "batchEmbedContents"]
            } else {
                &["generateContent", "streamGenerateContent", "countTokens"]
            };
            json!({
                "name": format!("models/{}", model.name),
                "displayName": model.display_name,
                "version": model.name,
                "supportedGenerationMethods": methods,
            })
        }
    };
    if let Some(said) = said.as_object_mut() {
        said.append(&mut limits);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> ModelInfo {
        ModelInfo {
            name: name.into(),
            display_name: name.into(),
            created_at: Timestamp::from_micros(1_700_000_000_000_000),
            owned_by: "acme".into(),
            max_input_tokens: None,
            max_output_tokens: None,
            embeds: false,
        }
    }

    fn text(dialect: Dialect, models: &[ModelInfo], paging: &Paging) -> String {
        String::from_utf8(list(dialect, models, paging).unwrap()).unwrap()
    }

    #[test]
    fn each_vendor_sees_its_own_shape() {
        let models = [ModelInfo { max_input_tokens: Some(200_000), max_output_tokens: Some(64_000), ..model("smart") }];
        let text = |dialect| text(dialect, &models, &Paging::default());
        assert_eq!(
            text(Dialect::OpenaiChat),
            r#"{"object":"list","data":[{"id":"smart","object":"model","created":1700000000,"owned_by":"acme","context_window":200000,"max_output_tokens":64000}]}"#
        );
        assert_eq!(
            text(Dialect::Anthropic),
            r#"{"data":[{"type":"model","id":"smart","display_name":"smart","created_at":"2023-11-14T22:13:20.000000Z","lifecycle":"active","max_input_tokens":200000,"max_tokens":64000}],"has_more":false,"first_id":"smart","last_id":"smart"}"#
        );
        assert_eq!(
            text(Dialect::Gemini),
            r#"{"models":[{"name":"models/smart","displayName":"smart","version":"smart","supportedGenerationMethods":["generateContent","streamGenerateContent","countTokens"],"inputTokenLimit":200000,"outputTokenLimit":64000}]}"#
        );
        let embeds = ModelInfo { embeds: true, ..model("e") };
        let said: Value = serde_json::from_slice(&one(Dialect::Gemini, &embeds)).unwrap();
        assert_eq!(said["supportedGenerationMethods"], json!(["embedContent", "batchEmbedContents"]));
    }

    #[test]
    fn anthropic_turns_pages_in_both_directions() {
        let models: Vec<_> = (0..25).map(|n| model(&format!("m-{n:02}"))).collect();
        let page = |size: Option<&str>, after: Option<&str>, before: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let paging = Paging { size: own(size), after: own(after), before: own(before) };
            let said: Value = serde_json::from_slice(&list(Dialect::Anthropic, &models, &paging).unwrap()).unwrap();
            let ids = (said["first_id"].as_str().map(str::to_owned), said["last_id"].as_str().map(str::to_owned));
            (said["data"].as_array().unwrap().len(), ids, said["has_more"].as_bool().unwrap())
        };
        let ids = |first: &str, last: &str| (Some(first.to_owned()), Some(last.to_owned()));
        assert_eq!(page(None, None, None), (20, ids("m-00", "m-19"), true));
        assert_eq!(page(None, Some("m-19"), None), (5, ids("m-20", "m-24"), false));
        assert_eq!(page(Some("1000"), None, None), (25, ids("m-00", "m-24"), false));
        assert_eq!(page(Some("3"), None, Some("m-10")), (3, ids("m-07", "m-09"), true));
        assert_eq!(page(Some("3"), None, Some("m-02")), (2, ids("m-00", "m-01"), false));
        assert_eq!(page(None, Some("m-24"), None), (0, (None, None), false));
        for (size, after, param) in [
            (Some("0"), None, "limit"),
            (Some("1001"), None, "limit"),
            (Some("x"), None, "limit"),
            (None, Some("gone"), "after_id"),
        ] {
            let paging = Paging { size: size.map(str::to_owned), after: after.map(str::to_owned), before: None };
            assert_eq!(list(Dialect::Anthropic, &models, &paging).unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn geminis_token_holds_while_models_come_and_go() {
        let models: Vec<_> = ["a", "b", "c", "d"].map(model).into();
        let first = Paging { size: Some("2".into()), ..Paging::default() };
        let said: Value = serde_json::from_str(&text(Dialect::Gemini, &models, &first)).unwrap();
        assert_eq!((&said["models"][1]["name"], &said["nextPageToken"]), (&json!("models/b"), &json!("Yg")));
        let next = Paging { after: Some("Yg".into()), ..first };
        let left: Vec<_> = ["a", "c", "d"].map(model).into();
        let said: Value = serde_json::from_str(&text(Dialect::Gemini, &left, &next)).unwrap();
        assert_eq!((&said["models"][0]["name"], said.get("nextPageToken")), (&json!("models/c"), None));
        let junk = Paging { after: Some("?".into()), ..Paging::default() };
        assert_eq!(list(Dialect::Gemini, &models, &junk).unwrap_err().param.as_deref(), Some("pageToken"));
        let zero = Paging { size: Some("0".into()), ..Paging::default() };
        assert!(text(Dialect::Gemini, &models, &zero).contains("models/d"));
    }

    #[test]
    fn an_alias_is_shown_to_the_clients_of_its_vendor() {
        use Dialect::{Anthropic, Gemini, OpenaiChat, OpenaiResponses};
        for (alias, shown) in [
            ("claude-qwen", &[Anthropic][..]),
            ("anthropic.local", &[Anthropic]),
            ("gemini-3-pro-preview", &[Gemini]),
            ("gpt-4o", &[OpenaiChat, OpenaiResponses]),
            ("o4-mini", &[OpenaiChat, OpenaiResponses]),
            ("opus", &[OpenaiChat, OpenaiResponses, Anthropic, Gemini]),
            ("house-model", &[OpenaiChat, OpenaiResponses, Anthropic, Gemini]),
        ] {
            assert_eq!(
                Dialect::ALL.into_iter().filter(|dialect| shows_alias(*dialect, alias)).collect::<Vec<_>>(),
                shown,
                "{alias}"
            );
        }
    }
}
