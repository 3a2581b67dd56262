//! What the types cannot say: names that must be unique, references that must lead somewhere, values that must parse.

use std::collections::HashSet;

use tallygate_types::{Currency, Pico, UnitPrice};

use super::error::{ConfigError, nearest};
use super::file::{Config, Price, Retention};

/// A declared key shorter than this could be guessed.
const MIN_DECLARED_KEY_CHARS: usize = 24;
/// The bill of last month is closed and looked into during this one.
const MIN_USAGE_DAYS: u32 = 62;

pub fn references(config: &Config) -> Result<(), ConfigError> {
    unique("upstreams", config.upstreams.iter().map(|u| u.name.as_str()))?;
    unique("models", config.models.iter().map(|m| m.name.as_str()))?;
    unique("tenants", config.tenants.iter().map(|t| t.name.as_str()))?;
    for upstream in &config.upstreams {
        unique(&format!("credentials of upstream `{}`", upstream.name), upstream.credentials.iter().map(|c| c.name.as_str()))?;
    }
    for model in &config.models {
        for target in &model.targets {
            let known = || config.upstreams.iter().map(|u| u.name.as_str());
            if !known().any(|name| name == target.upstream) {
                let advice = nearest(&target.upstream, known()).map_or(String::new(), |name| format!("; did you mean `{name}`?"));
                return Err(ConfigError::Invalid(format!(
                    "model `{}` has a target on upstream `{}`, which is not declared{advice}",
                    model.name, target.upstream
                )));
            }
        }
        if let Some(price) = &model.price {
            price_parses(price).map_err(|error| ConfigError::Invalid(format!("price of model `{}`: {error}", model.name)))?;
        }
    }
    for tenant in &config.tenants {
        unique(&format!("keys of tenant `{}`", tenant.name), tenant.keys.iter().map(|k| k.name.as_str()))?;
        if let Some(budget) = &tenant.budget {
            let invalid =
                |error: &dyn std::fmt::Display| ConfigError::Invalid(format!("budget of tenant `{}`: {error}", tenant.name));
            budget.amount.parse::<Pico>().map_err(|error| invalid(&error))?;
            budget.currency.parse::<Currency>().map_err(|error| invalid(&error))?;
            if budget.period != "month" {
                return Err(invalid(&format!("period `{}` is not known; write `month`", budget.period)));
            }
        }
        for key in &tenant.keys {
            if let Some(secret) = &key.secret {
                declared_key_is_long_enough(&tenant.name, &key.name, secret)?;
            }
        }
    }
    config.outbound.check()?;
    retention_is_long_enough(&config.retention)?;
    if config.limits.shared != "memory" {
        return Err(ConfigError::Invalid(format!(
            "limits.shared is `{}`; this version keeps rate limits in `memory` only",
            config.limits.shared
        )));
    }
    Ok(())
}

fn retention_is_long_enough(retention: &Retention) -> Result<(), ConfigError> {
    match retention.usage_days {
        Some(days) if days < MIN_USAGE_DAYS => Err(ConfigError::Invalid(format!(
            "retention.usage_days is {days}; this month and the last need {MIN_USAGE_DAYS} at least"
        ))),
        _ => Ok(()),
    }
}

fn declared_key_is_long_enough(tenant: &str, key: &str, secret: &super::SecretRef) -> Result<(), ConfigError> {
    use secrecy::ExposeSecret;
    let what = format!("key `{key}` of tenant `{tenant}`");
    // An unset variable is reported when the key is declared, not by `config check` on another machine.
    let Ok(value) = secret.resolve(&what) else { return Ok(()) };
    if value.expose_secret().chars().count() < MIN_DECLARED_KEY_CHARS {
        return Err(ConfigError::Invalid(format!("{what} is shorter than {MIN_DECLARED_KEY_CHARS} characters")));
    }
    Ok(())
}

fn price_parses(price: &Price) -> Result<(), tallygate_types::MoneyError> {
    price.currency.parse::<Currency>()?;
    let optional = [
        &price.cache_read,
        &price.cache_write_5m,
        &price.cache_write_1h,
        &price.reasoning,
        &price.input_audio,
        &price.input_image,
        &price.output_audio,
        &price.output_image,
    ];
    for text in [&price.input, &price.output].into_iter().chain(optional.into_iter().flatten()) {
        UnitPrice::parse_per_million(text)?;
    }
    Ok(())
}

fn unique<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ConfigError::Invalid(format!("two {kind} are named `{name}`; names must be unique")));
        }
    }
    Ok(())
}
