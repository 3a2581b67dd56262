//! What of routing is data: how targets are chosen among, what a rule matches, what a target can and costs. Nothing here
//! decides anything.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tallygate_types::Pico;

use crate::value::text_enum;
use crate::{StoreError, check};

/// Arms of one split at most.
pub const MAX_ARMS: usize = 16;
/// An arm's weight at most, so that a sum of weights stays far from overflow.
pub const MAX_ARM_WEIGHT: u32 = 1_000_000;
/// Entries of one list of a match at most.
pub const MAX_MATCH_ENTRIES: usize = 1_000;
/// Headers of one match at most.
pub const MAX_MATCH_HEADERS: usize = 16;
/// Characters of a header's value at most.
const MAX_HEADER_VALUE_CHARS: usize = 1_000;
/// No answer is waited for longer than a day before it is hedged; milliseconds.
const MAX_HEDGE_AFTER_MS: u64 = 86_400_000;
/// Of a hundred requests, so many are hedged unless the policy says otherwise.
pub const DEFAULT_HEDGE_PERCENT: u32 = 5;

text_enum! {
    /// How one is chosen among equals: targets of a priority, credentials of an upstream.
    #[derive(Default)]
    pub enum Strategy("strategy") {
        /// By weight, exact over a cycle.
        #[default]
        Weighted = "weighted",
        /// In turn, whatever the weights; zero takes none.
        RoundRobin = "round_robin",
        /// The less busy of two drawn by weight.
        LeastInFlight = "least_in_flight",
        /// The faster (peak EWMA) of two drawn by weight.
        Latency = "latency",
        /// The cheapest.
        Cost = "cost",
    }
}

text_enum! {
    /// Whether a conversation stays where its prompt is cached.
    #[derive(Default)]
    pub enum Affinity("affinity") {
        #[default]
        Auto = "auto",
        Off = "off",
    }
}

/// How the targets of a model or route are chosen among.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingPolicy {
    pub strategy: Strategy,
    pub affinity: Affinity,
    pub split: Option<Split>,
    pub hedge: Option<Hedge>,
}

/// An A/B test. Which arm a unit belongs to is a hash of the name of the model or route and of the unit: no state, the same on
/// all replicas and after restarts. A target that names no arm serves all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub by: SplitBy,
    pub arms: Vec<Arm>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    pub name: String,
    /// Share among the arms; 0 takes none.
    pub weight: u32,
}

/// What sticks to an arm. A request that does not name it is assigned by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitBy {
    /// The end user the body names, or `x-tallygate-user`.
    User,
    Key,
    Tenant,
    Conversation,
    /// The value of a header, its name in lower case.
    Header(String),
}

/// Ask a second target where the first has not begun to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hedge {
    pub after_ms: u64,
    /// Of a hundred requests at most.
    #[serde(default = "default_hedge_percent")]
    pub max_percent: u32,
    /// What all second tries of a day may cost.
    #[serde(default)]
    pub daily_spend: Option<Pico>,
}

/// What a route applies to. Every condition that is set must hold; an empty list is no condition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteMatch {
    /// Public names, exact or `prefix*`.
    pub models: Vec<String>,
    /// Names or ids of tenants.
    pub tenants: Vec<String>,
    /// Projects of keys.
    pub projects: Vec<String>,
    /// Any of these.
    pub tags: Vec<String>,
    /// All of these, by name in lower case; the value exact or `prefix*`.
    pub headers: BTreeMap<String, String>,
    pub min_input_tokens: Option<u64>,
    pub max_input_tokens: Option<u64>,
}

/// What one token costs at a target, for the strategy `cost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TargetCost {
    pub input: Pico,
    pub output: Pico,
}

/// What a target can take. `None` is not known, and taken to be able.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub context_tokens: Option<u64>,
    pub images: Option<bool>,
    pub documents: Option<bool>,
    pub tools: Option<bool>,
}

const fn default_hedge_percent() -> u32 {
    DEFAULT_HEDGE_PERCENT
}

impl RoutingPolicy {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if let Some(split) = &self.split {
            split.check()?;
        }
        match &self.hedge {
            Some(hedge) => hedge.check(),
            None => Ok(()),
        }
    }

    /// The names of the arms, none without a split.
    pub fn arm_names(&self) -> impl Iterator<Item = &str> {
        self.split.iter().flat_map(|split| split.arms.iter().map(|arm| arm.name.as_str()))
    }
}

impl Split {
    fn check(&self) -> Result<(), StoreError> {
        if let SplitBy::Header(header) = &self.by {
            check::header_name("split.by", header)?;
        }
        if !(1..=MAX_ARMS).contains(&self.arms.len()) {
            return Err(StoreError::invalid("split.arms", format!("must be between 1 and {MAX_ARMS}")));
        }
        let mut names = HashSet::new();
        for arm in &self.arms {
            check::label("split.arms.name", &arm.name)?;
            if !names.insert(arm.name.as_str()) {
                return Err(StoreError::invalid("split.arms", format!("`{}` stands twice", arm.name)));
            }
            if arm.weight > MAX_ARM_WEIGHT {
                return Err(StoreError::invalid("split.arms.weight", format!("must be at most {MAX_ARM_WEIGHT}")));
            }
        }
        if self.arms.iter().all(|arm| arm.weight == 0) {
            return Err(StoreError::invalid("split.arms.weight", "one arm at least must have a weight above 0"));
        }
        Ok(())
    }
}

impl Hedge {
    fn check(&self) -> Result<(), StoreError> {
        if !(1..=MAX_HEDGE_AFTER_MS).contains(&self.after_ms) {
            return Err(StoreError::invalid("hedge.after_ms", format!("must be between 1 and {MAX_HEDGE_AFTER_MS}")));
        }
        if !(1..=100).contains(&self.max_percent) {
            return Err(StoreError::invalid(
                "hedge.max_percent",
                "must be between 1 and 100; leave `hedge` out to ask once only",
            ));
        }
        check::amount("hedge.daily_spend", self.daily_spend)
    }
}

impl RouteMatch {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let lists = [
            ("match.models", &self.models),
            ("match.tenants", &self.tenants),
            ("match.projects", &self.projects),
            ("match.tags", &self.tags),
        ];
        for (field, list) in lists {
            if list.len() > MAX_MATCH_ENTRIES {
                return Err(StoreError::invalid(field, format!("must have at most {MAX_MATCH_ENTRIES} entries")));
            }
            list.iter().try_for_each(|text| check::name(field, text))?;
        }
        self.models.iter().try_for_each(|model| check_pattern("match.models", model))?;
        if self.headers.len() > MAX_MATCH_HEADERS {
            return Err(StoreError::invalid("match.headers", format!("must be at most {MAX_MATCH_HEADERS}")));
        }
        for (name, value) in &self.headers {
            check::header_name("match.headers", name)?;
            if value.is_empty() || value.chars().count() > MAX_HEADER_VALUE_CHARS || value.chars().any(char::is_control) {
                let reason = format!("`{name}` needs a value of 1 to {MAX_HEADER_VALUE_CHARS} visible characters; `*` is any");
                return Err(StoreError::invalid("match.headers", reason));
            }
            check_pattern("match.headers", value)?;
        }
        match (self.min_input_tokens, self.max_input_tokens) {
            (Some(min), Some(max)) if min > max => Err(StoreError::invalid(
                "match.min_input_tokens",
                format!("is above max_input_tokens, {max}: nothing would match"),
            )),
            (min, max) if min.max(max).is_some_and(|tokens| i64::try_from(tokens).is_err()) => {
                Err(StoreError::invalid("match.min_input_tokens", "too large"))
            }
            _ => Ok(()),
        }
    }
}

/// `*` may end a pattern and stands nowhere else.
fn check_pattern(field: &'static str, pattern: &str) -> Result<(), StoreError> {
    match pattern.find('*') {
        Some(at) if at + 1 < pattern.len() => {
            Err(StoreError::invalid(field, format!("`{pattern}`: `*` may stand at the end only")))
        }
        _ => Ok(()),
    }
}

impl TargetCost {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        check::amount("targets.cost", Some(self.input))?;
        check::amount("targets.cost", Some(self.output))
    }
}

impl fmt::Display for SplitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Key => f.write_str("key"),
            Self::Tenant => f.write_str("tenant"),
            Self::Conversation => f.write_str("conversation"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

impl FromStr for SplitBy {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Ok(match text {
            "user" => Self::User,
            "key" => Self::Key,
            "tenant" => Self::Tenant,
            "conversation" => Self::Conversation,
            _ => {
                let name = text.strip_prefix("header:").ok_or_else(|| {
                    let reason = format!("`{text}` is unknown; known are user, key, tenant, conversation and header:x-name");
                    StoreError::invalid("split.by", reason)
                })?;
                Self::Header(name.trim().to_ascii_lowercase())
            }
        })
    }
}

impl Serialize for SplitBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SplitBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: &str) -> RoutingPolicy {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_empty_policy_is_every_default_and_a_full_one_reads_back() {
        assert_eq!(policy("{}"), RoutingPolicy::default());
        let text = r#"{"strategy":"latency","affinity":"off","split":{"by":"header:x-cohort","arms":[{"name":"a","weight":9},{"name":"b","weight":1}]},"hedge":{"after_ms":800,"max_percent":5,"daily_spend":"2.5"}}"#;
        let full = policy(text);
        assert_eq!(full.hedge.unwrap().max_percent, DEFAULT_HEDGE_PERCENT);
        assert_eq!(serde_json::to_string(&full).unwrap(), text);
        full.check().unwrap();
    }

    #[test]
    fn what_cannot_work_is_refused_and_the_field_named() {
        let cases = [
            (r#"{"split":{"by":"user","arms":[]}}"#, "split.arms: must be between 1 and 16"),
            (
                r#"{"split":{"by":"user","arms":[{"name":"a","weight":1},{"name":"a","weight":1}]}}"#,
                "split.arms: `a` stands twice",
            ),
            (
                r#"{"split":{"by":"user","arms":[{"name":"a","weight":0}]}}"#,
                "split.arms.weight: one arm at least must have a weight above 0",
            ),
            (r#"{"split":{"by":"header:x y","arms":[{"name":"a","weight":1}]}}"#, "split.by: `x y` is not the name of a header"),
            (r#"{"hedge":{"after_ms":0}}"#, "hedge.after_ms: must be between 1 and 86400000"),
            (
                r#"{"hedge":{"after_ms":1,"max_percent":0}}"#,
                "hedge.max_percent: must be between 1 and 100; leave `hedge` out to ask once only",
            ),
            (r#"{"hedge":{"after_ms":1,"daily_spend":"-1"}}"#, "hedge.daily_spend: must not be negative nor above 9 million"),
        ];
        for (json, expected) in cases {
            assert_eq!(policy(json).check().unwrap_err().to_string(), expected);
        }
        assert!("cookie".parse::<SplitBy>().unwrap_err().to_string().contains("header:x-name"));
    }

    #[test]
    fn a_match_names_what_can_never_be_met() {
        let cases = [
            (r#"{"models":["a*b"]}"#, "match.models: `a*b`: `*` may stand at the end only"),
            (
                r#"{"min_input_tokens":9,"max_input_tokens":3}"#,
                "match.min_input_tokens: is above max_input_tokens, 3: nothing would match",
            ),
            (r#"{"headers":{"X-A":"1"}}"#, "match.headers: `X-A` is not the name of a header in lower case"),
            (r#"{"headers":{"x-a":""}}"#, "match.headers: `x-a` needs a value of 1 to 1000 visible characters; `*` is any"),
            (r#"{"tags":[" a"]}"#, "match.tags: must not be empty nor begin or end with space"),
        ];
        for (json, expected) in cases {
            assert_eq!(serde_json::from_str::<RouteMatch>(json).unwrap().check().unwrap_err().to_string(), expected);
        }
        let good = r#"{"models":["claude-*","*"],"headers":{"x-team":"search*"},"min_input_tokens":100}"#;
        serde_json::from_str::<RouteMatch>(good).unwrap().check().unwrap();
    }
}
