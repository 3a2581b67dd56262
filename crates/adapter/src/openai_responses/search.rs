//! Other vendors' web search as OpenAI's own.

use serde_json::{Value, json};
use tallygate_types::Dialect;

/// The entry of `tools`; `None`: the tool is no web search. Fields it has no word for are given with it.
pub(super) fn web_search(dialect: Dialect, kind: &str, value: &Value) -> Option<(Value, Vec<&'static str>)> {
    let mut search = json!({ "type": "web_search" });
    let mut left_out = Vec::new();
    match dialect {
        Dialect::OpenaiChat if kind == "web_search_options" => {
            if let Some(size) = value["search_context_size"].as_str() {
                search["search_context_size"] = size.into();
            }
            put_location(&mut search, &value["user_location"]["approximate"]);
        }
        Dialect::Anthropic if kind.starts_with("web_search") => {
            if let Some(domains) = value["allowed_domains"].as_array().filter(|domains| !domains.is_empty()) {
                search["filters"] = json!({ "allowed_domains": domains });
            }
            put_location(&mut search, &value["user_location"]);
            left_out.extend(["blocked_domains", "max_uses"].into_iter().filter(|field| !value[*field].is_null()));
        }
        Dialect::Gemini if kind == "googleSearch" || kind == "googleSearchRetrieval" => {
            let fields = ["excludeDomains", "timeRangeFilter", "dynamicRetrievalConfig"];
            left_out.extend(fields.into_iter().filter(|field| !value[kind][*field].is_null()));
        }
        _ => return None,
    }
    Some((search, left_out))
}

fn put_location(search: &mut Value, place: &Value) {
    let known = ["city", "country", "region", "timezone"].into_iter().filter(|field| place[*field].is_string());
    let mut location = json!({ "type": "approximate" });
    for field in known {
        location[field] = place[field].clone();
        search["user_location"] = location.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vendors_search_is_understood() {
        let place = json!({"type": "approximate", "city": "Bern", "country": "CH"});
        for (dialect, kind, value, expected) in [
            (
                Dialect::OpenaiChat,
                "web_search_options",
                json!({"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Bern", "country": "CH"}}}),
                Some((json!({"type": "web_search", "search_context_size": "low", "user_location": place}), vec![])),
            ),
            (
                Dialect::Anthropic,
                "web_search_20250305",
                json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 2, "allowed_domains": ["a.org"], "user_location": place}),
                Some((
                    json!({"type": "web_search", "filters": {"allowed_domains": ["a.org"]}, "user_location": place}),
                    vec!["max_uses"],
                )),
            ),
            (Dialect::Gemini, "googleSearch", json!({"googleSearch": {}}), Some((json!({"type": "web_search"}), vec![]))),
            (Dialect::Anthropic, "bash_20250124", json!({}), None),
        ] {
            assert_eq!(web_search(dialect, kind, &value), expected);
        }
    }
}
