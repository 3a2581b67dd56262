//! `[[upstreams]]`, `[[models]]`, `[[routes]]`: where requests may go and how one way is chosen.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tallygate_store::credentials::CredentialSettings;
use tallygate_store::declared::DeclaredTarget;
use tallygate_store::routing::{self, RoutingPolicy};
use tallygate_store::upstreams::UpstreamSettings;
use tallygate_store::{ProxyPool, credentials, upstreams};
use tallygate_types::{Dialect, MoneyError, Pico, UnitPrice};

use super::error::ConfigError;
use super::file::Price;
use super::outbound::{OneOrMany, one_or_many};
use super::secret::SecretRef;

/// A provider endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    pub name: String,
    /// `openai-chat`, `openai-responses`, `anthropic` or `gemini`.
    #[schemars(with = "String")]
    pub dialect: Dialect,
    /// With or without the version path.
    pub base_url: String,
    #[serde(default)]
    pub credentials: Vec<Credential>,
    /// Outbound proxy for every credential, in place of `outbound.proxy`; one, or a list that is tried in turn. With a password
    /// better `env:NAME` or `file:/path`.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub proxy: Vec<SecretRef>,
    /// What is reached without these proxies: as `outbound.no_proxy`.
    #[serde(default)]
    pub no_proxy: Vec<String>,
    /// It runs on machines of your own: where an answer from it was not the first choice, it is marked so.
    #[serde(default)]
    pub local: bool,
    /// How one of its credentials is chosen: as a model's `strategy`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub credential_strategy: routing::Strategy,
    /// How long it may take; what is left out is the server's default.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name of a key")]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect_ms: Option<u64>,
    /// From the request sent to the head of the answer.
    pub first_byte_ms: Option<u64>,
    /// From the head of a stream to its first content.
    pub first_token_ms: Option<u64>,
    /// Silence within a stream.
    pub stream_idle_ms: Option<u64>,
    /// The whole exchange.
    pub total_ms: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    pub name: String,
    pub secret: SecretRef,
    /// Outbound proxy for this credential alone; one or a list.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub proxy: Vec<SecretRef>,
    /// Share among the credentials of its upstream; 0 takes none.
    #[serde(default = "one")]
    pub weight: u32,
    /// What it may be asked for, beneath what its vendor allows.
    #[serde(default)]
    pub limits: CredentialLimits,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialLimits {
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
    /// Requests in flight at once.
    pub concurrency: Option<u32>,
    /// Money a day (UTC) as decimal text, in the currency the models are priced in.
    pub daily_spend: Option<String>,
}

/// A model as tenants ask for it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    /// Other names it answers to, for clients that only know names of one vendor (`claude-...`, `gemini-...`).
    #[serde(default)]
    pub aliases: Vec<String>,
    pub targets: Vec<Target>,
    /// Refuse what a translation would lose instead of reporting it.
    #[serde(default)]
    pub strict: bool,
    /// How a target is chosen among those of a priority: `weighted`, `round_robin`, `least_in_flight`, `latency` or `cost`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub strategy: routing::Strategy,
    /// `auto`: a conversation stays where its prompt is cached; `off`: every request is chosen for anew.
    #[serde(default)]
    #[schemars(with = "String")]
    pub affinity: routing::Affinity,
    /// An A/B test between arms, which targets name.
    #[serde(default)]
    pub split: Option<Split>,
    /// Ask a second target where the first has not begun to answer.
    #[serde(default)]
    pub hedge: Option<Hedge>,
    /// What cannot be priced cannot be sold; left out, the seeded catalogue is asked.
    #[serde(default)]
    pub price: Option<Price>,
}

/// A rule before the models' own targets. The first in the file that matches decides.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub name: String,
    /// Every condition that is set must hold; left out, it is for everything.
    #[serde(default, rename = "match")]
    pub matches: RouteMatch,
    pub targets: Vec<Target>,
    /// As a model's.
    #[serde(default)]
    #[schemars(with = "String")]
    pub strategy: routing::Strategy,
    /// As a model's.
    #[serde(default)]
    #[schemars(with = "String")]
    pub affinity: routing::Affinity,
    #[serde(default)]
    pub split: Option<Split>,
    #[serde(default)]
    pub hedge: Option<Hedge>,
}

/// What a route applies to.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteMatch {
    /// Public names, exact or `prefix*`.
    pub models: Vec<String>,
    /// Names or ids of tenants.
    pub tenants: Vec<String>,
    /// Projects of keys.
    pub projects: Vec<String>,
    /// Any of these, of the key or of `x-tallygate-tags`.
    pub tags: Vec<String>,
    /// All of these, by name in lower case; the value exact or `prefix*`.
    pub headers: BTreeMap<String, String>,
    pub min_input_tokens: Option<u64>,
    pub max_input_tokens: Option<u64>,
}

/// Which arm a unit belongs to is a hash of it: the same on all replicas and after restarts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// What sticks to an arm: `user`, `key`, `tenant`, `conversation` or `header:x-name`.
    #[schemars(with = "String")]
    pub by: routing::SplitBy,
    pub arms: Vec<Arm>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    pub name: String,
    /// Share among the arms.
    pub weight: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    pub after_ms: u64,
    /// Of a hundred requests at most [default: 5].
    #[serde(default)]
    pub max_percent: Option<u32>,
    /// What all second tries of a day may cost, as decimal text.
    #[serde(default)]
    pub daily_spend: Option<String>,
}

/// One place a model is served from. Lower priorities are tried first; weights share the load inside a priority.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub upstream: String,
    /// The model's name there.
    pub model: String,
    #[serde(default = "one")]
    pub weight: u32,
    #[serde(default = "one")]
    pub priority: u32,
    /// The arm of the split it serves; left out, all of them.
    #[serde(default)]
    pub arm: Option<String>,
    /// Charge by the price of this public model: of a local stand-in, for instance.
    #[serde(default)]
    pub price_model: Option<String>,
    /// What it costs, for the strategy `cost`; left out, the model's price.
    #[serde(default)]
    pub cost: Option<TargetCost>,
    /// What it can take; what is left out the profile table is asked for, else it is taken to be able.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// Money per million tokens as decimal text.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetCost {
    pub input: String,
    pub output: String,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Tokens of input and output together.
    pub context_tokens: Option<u64>,
    pub images: Option<bool>,
    pub documents: Option<bool>,
    pub tools: Option<bool>,
}

const fn one() -> u32 {
    1
}

impl Upstream {
    /// One reached directly, with every default.
    pub fn at(name: impl Into<String>, dialect: Dialect, base_url: impl Into<String>, credentials: Vec<Credential>) -> Self {
        Self {
            name: name.into(),
            dialect,
            base_url: base_url.into(),
            credentials,
            proxy: Vec::new(),
            no_proxy: Vec::new(),
            local: false,
            credential_strategy: routing::Strategy::default(),
            timeouts: Timeouts::default(),
        }
    }

    /// As the store takes it; its proxies are fetched.
    pub fn settings(&self) -> Result<UpstreamSettings, ConfigError> {
        let Timeouts { connect_ms, first_byte_ms, first_token_ms, stream_idle_ms, total_ms } = self.timeouts;
        Ok(UpstreamSettings {
            proxy: pool(&self.proxy, &format!("proxy of upstream `{}`", self.name))?,
            no_proxy: self.no_proxy.clone(),
            local: self.local,
            credential_strategy: self.credential_strategy,
            timeouts: upstreams::Timeouts { connect_ms, first_byte_ms, first_token_ms, stream_idle_ms, total_ms },
            ..UpstreamSettings::at(&self.name, self.dialect, &self.base_url)
        })
    }
}

impl Credential {
    pub fn named(name: impl Into<String>, secret: SecretRef) -> Self {
        Self { name: name.into(), secret, proxy: Vec::new(), weight: 1, limits: CredentialLimits::default() }
    }

    /// As the store takes it; `what` names it in errors.
    pub fn settings(&self, what: &str) -> Result<CredentialSettings, ConfigError> {
        let CredentialLimits { requests_per_minute, tokens_per_minute, concurrency, daily_spend } = &self.limits;
        let limits = credentials::CredentialLimits {
            requests_per_minute: *requests_per_minute,
            tokens_per_minute: *tokens_per_minute,
            concurrency: *concurrency,
            daily_spend: money(daily_spend.as_deref()).map_err(|error| invalid(&format!("limits of {what}"), &error))?,
        };
        let proxy = pool(&self.proxy, &format!("proxy of {what}"))?;
        Ok(CredentialSettings { proxy, weight: self.weight, limits, ..CredentialSettings::named(&self.name) })
    }
}

impl Model {
    /// One with every default.
    pub fn named(name: impl Into<String>, targets: Vec<Target>) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            targets,
            strict: false,
            strategy: routing::Strategy::default(),
            affinity: routing::Affinity::default(),
            split: None,
            hedge: None,
            price: None,
        }
    }

    pub fn routing(&self) -> Result<RoutingPolicy, ConfigError> {
        policy(self.strategy, self.affinity, self.split.as_ref(), self.hedge.as_ref())
            .map_err(|error| invalid(&format!("hedge of model `{}`", self.name), &error))
    }
}

impl Route {
    pub fn routing(&self) -> Result<RoutingPolicy, ConfigError> {
        policy(self.strategy, self.affinity, self.split.as_ref(), self.hedge.as_ref())
            .map_err(|error| invalid(&format!("hedge of route `{}`", self.name), &error))
    }
}

impl RouteMatch {
    pub fn settings(&self) -> routing::RouteMatch {
        let Self { models, tenants, projects, tags, headers, min_input_tokens, max_input_tokens } = self.clone();
        routing::RouteMatch { models, tenants, projects, tags, headers, min_input_tokens, max_input_tokens }
    }
}

impl Target {
    /// Of weight 1 and priority 1.
    pub fn at(upstream: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            model: model.into(),
            weight: 1,
            priority: 1,
            arm: None,
            price_model: None,
            cost: None,
            capabilities: Capabilities::default(),
        }
    }

    pub fn declared(&self) -> Result<DeclaredTarget, ConfigError> {
        let per_token = |text: &str| UnitPrice::parse_per_million(text).map(|price| Pico::new(i128::from(price.get())));
        let cost = |cost: &TargetCost| -> Result<_, MoneyError> {
            Ok(routing::TargetCost { input: per_token(&cost.input)?, output: per_token(&cost.output)? })
        };
        let Capabilities { context_tokens, images, documents, tools } = self.capabilities;
        Ok(DeclaredTarget {
            weight: self.weight,
            priority: self.priority,
            arm: self.arm.clone(),
            price_model: self.price_model.clone(),
            cost: self.cost.as_ref().map(cost).transpose().map_err(|error| invalid("cost of a target", &error))?,
            capabilities: routing::Capabilities { context_tokens, images, documents, tools },
            ..DeclaredTarget::at(&self.upstream, &self.model)
        })
    }
}

fn policy(
    strategy: routing::Strategy,
    affinity: routing::Affinity,
    split: Option<&Split>,
    hedge: Option<&Hedge>,
) -> Result<RoutingPolicy, MoneyError> {
    let split = split.map(|split| routing::Split {
        by: split.by.clone(),
        arms: split.arms.iter().map(|arm| routing::Arm { name: arm.name.clone(), weight: arm.weight }).collect(),
    });
    let hedge = match hedge {
        None => None,
        Some(hedge) => Some(routing::Hedge {
            after_ms: hedge.after_ms,
            max_percent: hedge.max_percent.unwrap_or(routing::DEFAULT_HEDGE_PERCENT),
            daily_spend: money(hedge.daily_spend.as_deref())?,
        }),
    };
    Ok(RoutingPolicy { strategy, affinity, split, hedge })
}

fn pool(proxies: &[SecretRef], what: &str) -> Result<ProxyPool, ConfigError> {
    let urls = proxies.iter().map(|proxy| Ok(proxy.resolve(what)?.expose_secret().to_owned()));
    Ok(urls.collect::<Result<Vec<_>, ConfigError>>()?.into())
}

fn money(text: Option<&str>) -> Result<Option<Pico>, MoneyError> {
    text.map(str::parse).transpose()
}

fn invalid(what: &str, error: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::Invalid(format!("{what}: {error}"))
}
