//! A second line of defence: values on their way into the audit trail lose whatever a field's name calls a secret. The
//! caller passes redacted values already.

use serde_json::Value;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Field names that hold secrets, in lower case, compared against whole words of a name.
const SECRET_WORDS: &[&str] = &[
    "secret",
    "secrets",
    "password",
    "passwd",
    "passphrase",
    "token",
    "authorization",
    "cookie",
    "pepper",
    "hash",
    "digest",
    "sealed",
];
/// Names that only together mean a secret.
const SECRET_NAMES: &[&str] = &["apikey", "privatekey", "sealingkey", "accesskey", "clientsecret", "keyvalue"];
/// Deeper values are cut off: the trail is no place for them.
const MAX_DEPTH: usize = 16;

/// `value` with every field that is a secret by its name replaced, and credentials cut out of URLs.
pub fn redact(value: Value) -> Value {
    redact_at(value, 0)
}

fn redact_at(value: Value, depth: usize) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) if depth >= MAX_DEPTH => Value::String(REDACTED.into()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let value = match value {
                        Value::Null | Value::Bool(_) | Value::Number(_) => value,
                        _ if is_secret(&name) => Value::String(REDACTED.into()),
                        value => redact_at(value, depth + 1),
                    };
                    (name, value)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| redact_at(item, depth + 1)).collect()),
        Value::String(text) => Value::String(without_userinfo(text)),
        value => value,
    }
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let joined: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    SECRET_NAMES.contains(&joined.as_str())
        || lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| SECRET_WORDS.contains(&word))
        || SECRET_WORDS.iter().any(|word| name.ends_with(&capitalised(word)))
}

/// `secret` as it ends a camel-case name: `clientSecret`.
fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

/// `socks5://user:password@host` without user and password.
fn without_userinfo(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((userinfo, _)) => format!("{scheme}://{REDACTED}{}", &rest[userinfo.len()..]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_by_the_name_of_their_field_at_any_depth() {
        let before = json!({
            "name": "main", "api_key": "sk-1", "clientSecret": "s", "credentials": [{ "secret": "x", "last4": "abcd" }],
            "password_hash": "$argon2id$", "tokens_per_minute": 5, "token": { "value": "t" }, "max_output_tokens": "9",
            "proxy": "socks5://me:pw@10.0.0.1:1080/x?a@b", "key_id": "key_1", "secret": null, "base_url": "https://h/v1"
        });
        let after = json!({
            "name": "main", "api_key": REDACTED, "clientSecret": REDACTED, "credentials": [{ "secret": REDACTED, "last4": "abcd" }],
            "password_hash": REDACTED, "tokens_per_minute": 5, "token": REDACTED, "max_output_tokens": "9",
            "proxy": "socks5://[redacted]@10.0.0.1:1080/x?a@b", "key_id": "key_1", "secret": null, "base_url": "https://h/v1"
        });
        assert_eq!(redact(before), after);
    }
}
