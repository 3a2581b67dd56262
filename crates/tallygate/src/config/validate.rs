//! What the types cannot say: names that must be unique, references that must lead somewhere, values that must parse.

use std::collections::HashSet;

use tallygate_types::{Currency, Pico, UnitPrice};

use super::error::{ConfigError, nearest};
use super::file::{Config, Price, Retention};
use super::routing::{Split, Target};

/// A declared key shorter than this could be guessed.
const MIN_DECLARED_KEY_CHARS: usize = 24;
/// The bill of last month is closed and looked into during this one.
const MIN_USAGE_DAYS: u32 = 62;

pub fn references(config: &Config) -> Result<(), ConfigError> {
    unique("upstreams", config.upstreams.iter().map(|u| u.name.as_str()))?;
    unique("models", config.models.iter().map(|m| m.name.as_str()))?;
    unique("routes", config.routes.iter().map(|r| r.name.as_str()))?;
    unique("tenants", config.tenants.iter().map(|t| t.name.as_str()))?;
    for upstream in &config.upstreams {
        unique(&format!("credentials of upstream `{}`", upstream.name), upstream.credentials.iter().map(|c| c.name.as_str()))?;
        for credential in &upstream.credentials {
            money_parses(credential.limits.daily_spend.as_deref()).map_err(|error| {
                let what = format!("credential `{}` of upstream `{}`", credential.name, upstream.name);
                ConfigError::Invalid(format!("limits of {what}: {error}"))
            })?;
        }
    }
    for model in &config.models {
        targets_lead_somewhere(config, &format!("model `{}`", model.name), &model.targets, model.split.as_ref())?;
        model.routing()?;
        if let Some(price) = &model.price {
            price_parses(price).map_err(|error| ConfigError::Invalid(format!("price of model `{}`: {error}", model.name)))?;
        }
    }
    for route in &config.routes {
        targets_lead_somewhere(config, &format!("route `{}`", route.name), &route.targets, route.split.as_ref())?;
        route.routing()?;
    }
    let models: Vec<_> = config.models.iter().map(|m| m.name.as_str()).collect();
    for tenant in &config.tenants {
        unique(&format!("keys of tenant `{}`", tenant.name), tenant.keys.iter().map(|k| k.name.as_str()))?;
        unique(&format!("projects of tenant `{}`", tenant.name), tenant.projects.iter().map(|p| p.name.as_str()))?;
        tenant.check(&models)?;
        for key in &tenant.keys {
            if let Some(secret) = &key.secret {
                declared_key_is_long_enough(&tenant.name, &key.name, secret)?;
            }
        }
    }
    config.outbound.check()?;
    config.health.check()?;
    retention_is_long_enough(&config.retention)?;
    config.budgets.check()?;
    config.alerts.check()?;
    match config.limits.resolved() {
        // An unset variable is reported at start, not by `config check` on another machine.
        Ok(_) | Err(ConfigError::SecretVariable { .. } | ConfigError::SecretFile { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Upstreams, models and arms that targets name.
fn targets_lead_somewhere(config: &Config, of: &str, targets: &[Target], split: Option<&Split>) -> Result<(), ConfigError> {
    let upstreams: Vec<_> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
    let models: Vec<_> = config.models.iter().map(|m| m.name.as_str()).collect();
    let arms: Vec<_> = split.iter().flat_map(|split| &split.arms).map(|arm| arm.name.as_str()).collect();
    for target in targets {
        let named = [
            (Some(&target.upstream), &upstreams, "has a target on upstream"),
            (target.price_model.as_ref(), &models, "has a target charged by model"),
            (target.arm.as_ref(), &arms, "has a target for the arm"),
        ];
        for (name, known, what) in named {
            let Some(name) = name.filter(|name| !known.contains(&name.as_str())) else { continue };
            let advice = nearest(name, known.iter().copied()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(ConfigError::Invalid(format!("{of} {what} `{name}`, which is not declared{advice}")));
        }
        target.declared().map_err(|error| ConfigError::Invalid(format!("{of}: {error}")))?;
    }
    Ok(())
}

fn money_parses(text: Option<&str>) -> Result<(), tallygate_types::MoneyError> {
    text.map_or(Ok(()), |text| text.parse::<Pico>().map(|_| ()))
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
