//! The personal gateway: provider keys found in the environment become upstreams.
//!
//! The variables are those the vendors' own SDKs read, base URLs included, so that what worked without the gateway works with
//! it.

use tallygate_billing::catalogue;
use tallygate_types::Dialect;

use crate::config::{Config, Credential, Key, Model, SecretRef, Target, Tenant, Upstream};

/// A provider that is known by the name of its key's variable.
pub struct Provider {
    /// The upstream's name, and the catalogue's provider name.
    pub name: &'static str,
    pub key_variables: &'static [&'static str],
    pub base_url_variable: &'static str,
    pub base_url: &'static str,
    pub dialect: Dialect,
}

/// The first variable that is set wins, as in the vendors' SDKs.
pub const PROVIDERS: &[Provider] = &[
    Provider {
        name: "openai",
        key_variables: &["OPENAI_API_KEY"],
        base_url_variable: "OPENAI_BASE_URL",
        base_url: "https://api.openai.com/v1",
        dialect: Dialect::OpenaiChat,
    },
    Provider {
        name: "anthropic",
        key_variables: &["ANTHROPIC_API_KEY"],
        base_url_variable: "ANTHROPIC_BASE_URL",
        base_url: "https://api.anthropic.com",
        dialect: Dialect::Anthropic,
    },
    Provider {
        name: "gemini",
        key_variables: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        base_url_variable: "GOOGLE_GEMINI_BASE_URL",
        base_url: "https://generativelanguage.googleapis.com",
        dialect: Dialect::Gemini,
    },
    Provider {
        name: "deepseek",
        key_variables: &["DEEPSEEK_API_KEY"],
        base_url_variable: "DEEPSEEK_BASE_URL",
        base_url: "https://api.deepseek.com",
        dialect: Dialect::OpenaiChat,
    },
    Provider {
        name: "mistral",
        key_variables: &["MISTRAL_API_KEY"],
        base_url_variable: "MISTRAL_BASE_URL",
        base_url: "https://api.mistral.ai/v1",
        dialect: Dialect::OpenaiChat,
    },
    Provider {
        name: "xai",
        key_variables: &["XAI_API_KEY"],
        base_url_variable: "XAI_BASE_URL",
        base_url: "https://api.x.ai/v1",
        dialect: Dialect::OpenaiChat,
    },
    Provider {
        name: "groq",
        key_variables: &["GROQ_API_KEY"],
        base_url_variable: "GROQ_BASE_URL",
        base_url: "https://api.groq.com/openai/v1",
        dialect: Dialect::OpenaiChat,
    },
    Provider {
        name: "moonshot",
        key_variables: &["MOONSHOT_API_KEY"],
        base_url_variable: "MOONSHOT_BASE_URL",
        base_url: "https://api.moonshot.ai/v1",
        dialect: Dialect::OpenaiChat,
    },
    Provider {
        name: "dashscope",
        key_variables: &["DASHSCOPE_API_KEY"],
        base_url_variable: "DASHSCOPE_BASE_URL",
        base_url: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        dialect: Dialect::OpenaiChat,
    },
];

/// OpenAI serves some models on its Responses endpoint only; the same key, another dialect.
pub const OPENAI_RESPONSES: &str = "openai-responses";

/// The upstreams the environment's keys make, in the order of [`PROVIDERS`].
pub fn upstreams(lookup: impl Fn(&str) -> Option<String>) -> Vec<Upstream> {
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let mut found = Vec::new();
    for provider in PROVIDERS {
        let Some(variable) = provider.key_variables.iter().find(|name| set(name).is_some()) else { continue };
        let base_url = set(provider.base_url_variable).unwrap_or_else(|| provider.base_url.to_owned());
        let credential = Credential::named("environment", SecretRef::Env((*variable).to_owned()));
        let upstream = Upstream::at(provider.name, provider.dialect, base_url, vec![credential]);
        if provider.name == "openai" {
            let responses = Upstream { name: OPENAI_RESPONSES.to_owned(), dialect: Dialect::OpenaiResponses, ..upstream.clone() };
            found.extend([upstream, responses]);
        } else {
            found.push(upstream);
        }
    }
    found
}

/// The tenant and key of a personal gateway.
const PERSONAL: &str = "personal";

/// A whole configuration from the provider keys in the environment, or `None` if there are none: every model the catalogue
/// lists for those providers, and one tenant with one key that is minted at the first start.
pub fn personal(lookup: impl Fn(&str) -> Option<String>) -> Option<Config> {
    let upstreams = upstreams(lookup);
    if upstreams.is_empty() {
        return None;
    }
    let mut models: Vec<Model> = Vec::new();
    for listed in catalogue::all() {
        let serves = |name: &str| upstreams.iter().any(|upstream| upstream.name == name);
        // A model two providers list is served by the first of them.
        if !serves(&listed.provider) || models.iter().any(|model| model.name == listed.model) {
            continue;
        }
        let responses_only = listed.provider == "openai" && listed.mode == "responses";
        let upstream = if responses_only { OPENAI_RESPONSES } else { &listed.provider };
        models.push(Model::named(&listed.model, vec![Target::at(upstream, &listed.model)]));
    }
    let tenant = Tenant { keys: vec![Key::minted(PERSONAL)], ..Tenant::named(PERSONAL) };
    Some(Config { upstreams, models, tenants: vec![tenant], ..Config::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(vars: &[(&str, &str)]) -> Vec<(String, String, String)> {
        upstreams(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
            .into_iter()
            .map(|u| (u.name, u.base_url, u.credentials[0].secret.to_string()))
            .collect()
    }

    #[test]
    fn each_key_found_makes_an_upstream_and_the_secret_stays_in_the_environment() {
        let found = names(&[("ANTHROPIC_API_KEY", "a"), ("GEMINI_API_KEY", "g"), ("OPENAI_API_KEY", "")]);
        let wanted = [
            ("anthropic", "https://api.anthropic.com", "env:ANTHROPIC_API_KEY"),
            ("gemini", "https://generativelanguage.googleapis.com", "env:GEMINI_API_KEY"),
        ];
        assert_eq!(found, wanted.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    }

    #[test]
    fn the_vendors_own_base_url_variable_is_obeyed() {
        let found = names(&[("OPENAI_API_KEY", "k"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")]);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|(_, base_url, _)| base_url == "http://127.0.0.1:9/v1"));
    }

    #[test]
    fn a_personal_gateway_has_the_catalogues_models_of_its_providers_and_no_others() {
        let lookup = |name: &str| (name == "ANTHROPIC_API_KEY").then(|| "a".to_owned());
        let config = personal(lookup).unwrap();
        assert!(config.models.iter().any(|model| model.name == "claude-sonnet-5-5"));
        assert!(config.models.iter().all(|model| model.targets[0].upstream == "anthropic"));
        assert!(personal(|_| None).is_none());
    }
}
