//! The list of models a tenant may ask for, in the shapes of the three vendors.

use serde_json::{Value, json};
use tallygate_types::{Dialect, Timestamp};

/// One model as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    pub name: String,
    pub created_at: Timestamp,
    /// OpenAI's `owned_by`.
    pub owned_by: String,
}

/// The answer to `GET /v1/models` (both OpenAI dialects share one shape) or Gemini's `GET /v1beta/models`, on one page.
pub fn list(dialect: Dialect, models: &[ModelInfo]) -> Vec<u8> {
    let items: Vec<Value> = models.iter().map(|model| item(dialect, model)).collect();
    let page = match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => json!({"object": "list", "data": items}),
        Dialect::Anthropic => json!({
            "data": items,
            "has_more": false,
            "first_id": models.first().map(|model| &model.name),
            "last_id": models.last().map(|model| &model.name),
        }),
        Dialect::Gemini => json!({"models": items}),
    };
    page.to_string().into_bytes()
}

/// The answer to `GET /v1/models/{name}`.
pub fn one(dialect: Dialect, model: &ModelInfo) -> Vec<u8> {
    item(dialect, model).to_string().into_bytes()
}

fn item(dialect: Dialect, model: &ModelInfo) -> Value {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => json!({
            "id": model.name,
            "object": "model",
            "created": model.created_at.seconds(),
            "owned_by": model.owned_by,
        }),
        Dialect::Anthropic => json!({
            "type": "model",
            "id": model.name,
            "display_name": model.name,
            "created_at": model.created_at.to_string(),
            "lifecycle": "active",
        }),
        Dialect::Gemini => json!({
            "name": format!("models/{}", model.name),
            "displayName": model.name,
            "version": model.name,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vendor_sees_its_own_shape() {
        let models = [ModelInfo {
            name: "smart".into(),
            created_at: Timestamp::from_micros(1_700_000_000_000_000),
            owned_by: "acme".into(),
        }];
        let text = |dialect| String::from_utf8(list(dialect, &models)).unwrap();
        assert_eq!(
            text(Dialect::OpenaiChat),
            r#"{"object":"list","data":[{"id":"smart","object":"model","created":1700000000,"owned_by":"acme"}]}"#
        );
        assert_eq!(
            text(Dialect::Anthropic),
            r#"{"data":[{"type":"model","id":"smart","display_name":"smart","created_at":"2023-11-14T22:13:20.000000Z","lifecycle":"active"}],"has_more":false,"first_id":"smart","last_id":"smart"}"#
        );
        assert_eq!(
            text(Dialect::Gemini),
            r#"{"models":[{"name":"models/smart","displayName":"smart","version":"smart","supportedGenerationMethods":["generateContent","streamGenerateContent"]}]}"#
        );
    }
}
