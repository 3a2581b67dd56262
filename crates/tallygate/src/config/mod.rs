//! Configuration: one TOML file, the environment over it, secrets by reference.
//!
//! Reading happens in three steps, each with its own errors: [`file`] types the file (unknown keys are errors that name
//! file, line and the nearest known key), [`env`] lays `TALLYGATE__SECTION__KEY` variables over it, and the accessors of
//! [`SecretRef`] fetch what the file only points at.

mod alerts;
mod budgets;
mod env;
mod error;
mod file;
mod health;
mod outbound;
mod routing;
mod secret;
mod tenancy;
mod validate;

use std::path::{Path, PathBuf};

pub use alerts::{Alerts, Mail, Webhook};
pub use error::ConfigError;
pub use file::{Config, Log, LogFormat, Price, Responses, ResponsesMode};
pub use routing::{Credential, Model, Route, Target, Upstream};
pub use secret::SecretRef;
pub use tenancy::{Budget, Key, Limits, NamedScope, Period, ScopedBudget, Tenant};

/// The file `serve` reads when none is named and it exists in the working directory.
pub const DEFAULT_FILE: &str = "tallygate.toml";

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    /// No file: defaults and the environment only.
    Defaults,
}

/// Reads `path`, or [`DEFAULT_FILE`] if it exists, or nothing; then lays the environment over it and checks references.
pub fn load(path: Option<&Path>) -> Result<(Config, Origin), ConfigError> {
    let path = match path {
        Some(path) => Some(path.to_owned()),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|default| default.exists()),
    };
    let (text, origin) = match path {
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
            (text, Origin::File(path))
        }
        None => (String::new(), Origin::Defaults),
    };
    let name = match &origin {
        Origin::File(path) => path.display().to_string(),
        Origin::Defaults => "defaults".to_owned(),
    };
    let config = parse(&text, &name, std::env::vars())?;
    Ok((config, origin))
}

fn parse(text: &str, name: &str, vars: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let typed: Config = toml::from_str(text).map_err(|error| error::located(name, text, &error))?;
    let config = env::overlay(typed, text, vars)?;
    validate::references(&config)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
[server]
listen = "127.0.0.1:8080"

[store]
url = "sqlite:data/tallygate.db"

[[upstreams]]
name = "anthropic-main"
dialect = "anthropic"
base_url = "https://api.anthropic.com"
credentials = [{ name = "a1", secret = "env:ANTHROPIC_API_KEY" }]

[[models]]
name = "smart"
targets = [{ upstream = "anthropic-main", model = "claude-sonnet-5-5", weight = 9, priority = 1 }]
[models.price]
currency = "USD"
input = "3.00"
cache_read = "0.30"
output = "15.00"

[[tenants]]
name = "acme"
limits = { requests_per_minute = 600, tokens_per_minute = 200000, concurrency = 50 }
budget = { amount = "100.00", currency = "USD", period = "month" }
keys = [{ name = "ci", secret = "env:ACME_KEY" }]
"#;

    fn with_env(text: &str, vars: &[(&str, &str)]) -> Result<Config, String> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse(text, "tallygate.toml", vars).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_example_reads_and_omitted_keys_take_their_documented_defaults() {
        let config = with_env(EXAMPLE, &[]).unwrap();
        assert_eq!(config.upstreams[0].credentials[0].secret.to_string(), "env:ANTHROPIC_API_KEY");
        assert_eq!(config.models[0].targets[0].weight, 9);
        assert_eq!(config.tenants[0].limits.requests_per_minute, Some(600));
        assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:8081");
        let defaults = with_env("", &[]).unwrap();
        assert_eq!(defaults.server.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(defaults.server.metrics_listen.to_string(), "127.0.0.1:9090");
        assert_eq!(defaults.store.url, "sqlite:data/tallygate.db");
    }

    #[test]
    fn trusted_proxies_are_networks_from_the_file_or_the_environment() {
        let trusted = |text: &str, vars: &[(&str, &str)]| {
            let networks = with_env(text, vars)?.server.trusted_proxies;
            Ok::<_, String>(networks.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(trusted("", &[]), Ok(Vec::new()));
        let two = Ok(vec!["10.0.0.0/8".to_owned(), "::1/128".to_owned()]);
        assert_eq!(trusted("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n", &[]), two);
        assert_eq!(trusted("", &[("TALLYGATE__SERVER__TRUSTED_PROXIES", r#"["10.0.0.0/8", "::1"]"#)]), two);
        let error = trusted("[server]\ntrusted_proxies = [\"10\"]\n", &[]).unwrap_err();
        assert!(error.contains("`10` is not a network"), "{error}");
    }

    #[test]
    fn what_is_kept_reads_with_its_defaults_and_bounds() {
        let text = "[retention]\nusage_days = 90\n[media]\nprivate_hosts = [\"images.internal:8080\"]\n[[tenants]]\nname = \"acme\"\n\
                    responses = { mode = \"stored\", lifetime_hours = 24 }\n";
        let config = with_env(text, &[]).unwrap();
        assert_eq!(
            (config.retention.usage_days, config.media.private_hosts),
            (Some(90), vec!["images.internal:8080".to_owned()])
        );
        let responses = &config.tenants[0].responses;
        assert_eq!((responses.mode, responses.lifetime_hours, responses.max_count), (ResponsesMode::Stored, Some(24), None));
        let error = with_env("[retention]\nusage_days = 61\n", &[]).unwrap_err();
        assert_eq!(error, "retention.usage_days is 61; this month and the last need 62 at least");
        assert!(with_env("[[tenants]]\nname = \"a\"\nresponses = { mode = \"kept\" }\n", &[]).unwrap_err().contains("stored"));
    }

    #[test]
    fn what_is_held_against_failures_reads_with_its_defaults_and_bounds() {
        let config = with_env("[health]\nopen_ms = 250\n", &[]).unwrap();
        assert_eq!(config.health.bounds().open, std::time::Duration::from_millis(250));
        let (read, default) = (with_env("", &[]).unwrap().health.bounds(), tallygate_gateway::HealthBounds::default());
        assert_eq!(format!("{read:?}"), format!("{default:?}"));
        let refused = |line: &str| with_env(&format!("[health]\n{line}\n"), &[]).unwrap_err();
        assert_eq!(refused("failures_to_open = 0"), "health.failures_to_open must be at least 1");
        assert_eq!(refused("retry_percent = 101"), "health.retry_percent is a percentage: at most 100");
    }

    #[test]
    fn outbound_proxies_are_one_or_many_and_checked() {
        let shown = |text: &str| {
            with_env(text, &[]).map(|config| config.outbound.proxy.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(shown("[outbound]\nproxy = \"env:PROXY\"\n"), Ok(vec!["env:PROXY".to_owned()]));
        assert_eq!(
            shown("[outbound]\nproxy = [\"http://u:p@h:1\", \"file:/p\"]\n"),
            Ok(vec!["***".to_owned(), "file:/p".to_owned()])
        );
        let error = shown("[outbound]\nproxy = \"ftp://h\"\n").unwrap_err();
        assert!(error.starts_with("outbound.proxy: proxies of the kind `ftp://` are not supported"), "{error}");
        let error = shown("[outbound]\nno_proxy = [\"10.0.0.0/99\"]\n").unwrap_err();
        assert!(error.starts_with("outbound.no_proxy: `10.0.0.0/99` is not a host"), "{error}");
        let config = with_env("[outbound]\nca_file = \"/nowhere/ca.pem\"\n", &[]).unwrap();
        assert!(config.outbound.resolve().unwrap_err().to_string().starts_with("outbound.ca_file `/nowhere/ca.pem`: "));
    }

    #[test]
    fn routes_and_what_hangs_on_targets_are_read_and_their_references_checked() {
        let text = r#"
[[upstreams]]
name = "main"
dialect = "openai-chat"
base_url = "https://api.openai.com"
credential_strategy = "least_in_flight"
proxy = ["socks5://127.0.0.1:1080", "env:PROXY"]
no_proxy = ["10.0.0.0/8"]
timeouts = { first_token_ms = 9000 }
credentials = [{ name = "a1", secret = "env:KEY", weight = 3, limits = { requests_per_minute = 60, daily_spend = "12.50" } }]

[[models]]
name = "smart"
strategy = "latency"
split = { by = "header:x-cohort", arms = [{ name = "old", weight = 9 }, { name = "new", weight = 1 }] }
hedge = { after_ms = 800, daily_spend = "1.00" }
targets = [
  { upstream = "main", model = "gpt-5", arm = "old" },
  { upstream = "main", model = "gpt-6", arm = "new", cost = { input = "0.80", output = "4" }, capabilities = { images = false } },
]

[[routes]]
name = "batch"
match = { tags = ["batch"], headers = { x-team = "search*" } }
strategy = "cost"
targets = [{ upstream = "main", model = "gpt-5-mini", price_model = "smart" }]
"#;
        let config = with_env(text, &[]).unwrap();
        let credential = config.upstreams[0].credentials[0].settings("it").unwrap();
        assert_eq!((credential.weight, credential.limits.daily_spend.unwrap().to_string()), (3, "12.5".to_owned()));
        let routing = config.models[0].routing().unwrap();
        assert_eq!(routing.split.unwrap().by.to_string(), "header:x-cohort");
        assert_eq!(routing.hedge.unwrap().max_percent, 5);
        let target = config.models[0].targets[1].declared().unwrap();
        assert_eq!((target.cost.unwrap().input.get(), target.capabilities.images), (800_000, Some(false)));
        assert_eq!(config.routes[0].matches.settings().headers["x-team"], "search*");

        let wrong = |from: &str, to: &str| with_env(&text.replace(from, to), &[]).unwrap_err();
        assert_eq!(
            wrong("\"12.50\"", "\"much\""),
            "limits of credential `a1` of upstream `main`: `much` is not a decimal amount; write digits with at most one point, such as `12.50`"
        );
        assert!(wrong("price_model = \"smart\"", "price_model = \"smat\"").ends_with("did you mean `smart`?"));
        assert!(wrong("arm = \"new\", cost", "arm = \"nwe\", cost").contains("did you mean `new`?"));
        assert!(wrong("strategy = \"cost\"", "strategy = \"cheap\"").contains("unknown variant `cheap`"));
        assert!(wrong("tags = [\"batch\"]", "tag = [\"batch\"]").contains("did you mean `tags`?"));
        assert!(wrong("header:x-cohort", "moon").contains("header:x-name"));
    }

    #[test]
    fn an_unknown_key_names_file_line_and_the_nearest_known_key() {
        let error = with_env("[server]\nlisten = \"127.0.0.1:1\"\nadmin_lisen = \"127.0.0.1:2\"\n", &[]).unwrap_err();
        assert_eq!(error, "tallygate.toml:3:1: unknown key `admin_lisen`; did you mean `admin_listen`?");
        let error = with_env("[[upstreams]]\nnam = \"x\"\n", &[]).unwrap_err();
        assert_eq!(error, "tallygate.toml:2:1: unknown key `nam`; did you mean `name`?");
        let error = with_env("[sever]\n", &[]).unwrap_err();
        assert_eq!(error, "tallygate.toml:1:2: unknown key `sever`; did you mean `server`?");
    }

    #[test]
    fn a_wrong_value_names_file_line_and_what_was_expected() {
        let error = with_env("[server]\nlisten = \"nowhere\"\n", &[]).unwrap_err();
        assert!(error.starts_with("tallygate.toml:2:10: "), "{error}");
        let error = with_env("[server\n", &[]).unwrap_err();
        assert!(error.starts_with("tallygate.toml:1:"), "{error}");
    }

    #[test]
    fn the_environment_lies_over_the_file_and_its_mistakes_name_the_variable() {
        let vars =
            [("TALLYGATE__SERVER__LISTEN", "127.0.0.1:9"), ("TALLYGATE__SERVER__DRAIN_TIMEOUT_SECONDS", "7"), ("PATH", "x")];
        let config = with_env(EXAMPLE, &vars).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:9");
        assert_eq!(config.server.drain_timeout_seconds, 7);
        let error = with_env("", &[("TALLYGATE__SERVER__LISTN", "127.0.0.1:9")]).unwrap_err();
        assert_eq!(error, "environment variable TALLYGATE__SERVER__LISTN: unknown key `listn`; did you mean `listen`?");
    }

    #[test]
    fn a_target_of_an_unknown_upstream_is_refused_with_the_nearest_name() {
        let text = EXAMPLE.replace("upstream = \"anthropic-main\"", "upstream = \"anthropic-man\"");
        let error = with_env(&text, &[]).unwrap_err();
        assert_eq!(
            error,
            "model `smart` has a target on upstream `anthropic-man`, which is not declared; did you mean `anthropic-main`?"
        );
    }

    #[test]
    fn a_name_declared_twice_is_refused() {
        let text = format!("{EXAMPLE}\n[[tenants]]\nname = \"acme\"\n");
        assert_eq!(with_env(&text, &[]).unwrap_err(), "two tenants are named `acme`; names must be unique");
    }
}
