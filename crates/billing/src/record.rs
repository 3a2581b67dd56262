//! What is kept of one client call: the row of the usage table, and the journal's BEGIN record it grows from.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tallygate_types::{
    ApiKeyId, CredentialId, Currency, Dialect, ModelId, Pico, RequestId, TenantId, Timestamp, UpstreamId, Usage, UsageClass,
};

use crate::budget::Draws;
use crate::estimate;
use crate::price::PriceVersion;

macro_rules! names {
    ($(#[$doc:meta])* $name:ident: $kind:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|name| name.as_str() == text).ok_or_else(|| UnknownName {
                    kind: $kind,
                    text: text.to_owned(),
                    known: &[$($text,)*],
                })
            }
        }
    };
}

/// The text names no member of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{text}`; known are {}", known.join(", "))]
pub struct UnknownName {
    kind: &'static str,
    text: String,
    known: &'static [&'static str],
}

names! {
    /// The operation a client called.
    Endpoint: "endpoint" {
        ChatCompletions = "chat_completions",
        Responses = "responses",
        Messages = "messages",
        GenerateContent = "generate_content",
        Embeddings = "embeddings",
        CountTokens = "count_tokens",
        Completions = "completions",
        Moderations = "moderations",
        Images = "images",
        Audio = "audio",
        Rerank = "rerank",
        Models = "models",
    }
}

names! {
    /// How a call ended, from the tenant's side.
    Outcome: "outcome" {
        Ok = "ok",
        /// Refused for something the client sent.
        ClientError = "client_error",
        RateLimited = "rate_limited",
        /// Refused for a budget.
        QuotaExceeded = "quota_exceeded",
        UpstreamError = "upstream_error",
        Timeout = "timeout",
        /// The client left before the end.
        ClientGone = "client_gone",
        Internal = "internal",
        /// An operator ended it.
        Cancelled = "cancelled",
        /// The gateway's process died under it; settled at the next start.
        Crash = "crash",
    }
}

names! {
    /// Where the token counts come from.
    UsageSource: "usage source" {
        Provider = "provider",
        Estimated = "estimated",
        Crash = "crash",
        /// Nothing was used.
        None = "none",
    }
}

/// A name out of the configuration: all records share it.
pub type Name = Arc<str>;

/// A word of ours, or, rarely, somebody else's in its place.
pub type Word = Cow<'static, str>;

/// One try at one upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// The upstream's name.
    pub upstream: Name,
    pub credential_id: Option<CredentialId>,
    /// The HTTP status it answered with, if it answered.
    pub status: Option<u16>,
    /// `ok`, or the class of the failure.
    pub outcome: Word,
    pub reason: Option<Word>,
    pub started_at: Timestamp,
    pub duration_us: u64,
    /// What it cost beside the request's charge: an estimate, borne by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Pico>,
}

/// One finished client call. Identified by (`request_id`, `attempt`): the pair is written to the database once, however
/// often it is shipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageRecord {
    pub request_id: RequestId,
    /// The number of the attempt that was delivered, from 1; 0 if the call never reached an upstream.
    pub attempt: u32,
    /// Decides the price and the billing period.
    pub accepted_at: Timestamp,
    pub first_byte_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    pub tenant_id: TenantId,
    pub key_id: ApiKeyId,
    pub end_user: Option<String>,
    pub endpoint: Endpoint,
    pub client_dialect: Dialect,
    pub upstream_dialect: Option<Dialect>,
    pub model_id: Option<ModelId>,
    /// The public name; as the client wrote it if there is no such model.
    pub model: Name,
    /// The name sent to the upstream.
    pub upstream_model: Option<Name>,
    /// The name the upstream answered with.
    pub returned_model: Option<String>,
    pub upstream_id: Option<UpstreamId>,
    pub upstream: Option<Name>,
    pub credential_id: Option<CredentialId>,
    pub attempts: Vec<AttemptRecord>,
    pub stream: bool,
    pub outcome: Outcome,
    /// The HTTP status the client got.
    pub status: u16,
    pub error_code: Option<Word>,
    pub finish_reason: Option<Word>,
    pub usage: Usage,
    pub usage_source: UsageSource,
    /// [`estimate::ESTIMATOR`] where `usage_source` is not the provider.
    pub estimator: Option<Word>,
    /// The provider's usage object as it came.
    pub raw_usage: Option<String>,
    /// The prices in force at `accepted_at`, kept whole so that the charge can be derived again.
    pub price: Option<Arc<PriceVersion>>,
    pub charge: Pico,
    pub currency: Option<Currency>,
    pub reserved: Pico,
    pub upstream_request_id: Option<String>,
    /// What translation approximated or dropped.
    pub loss: Option<String>,
    /// Time spent in the gateway itself.
    pub overhead_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub trace_id: Option<String>,
    /// The name of the route that decided; none: the model's own targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Name>,
    /// The arm of its split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Name>,
    /// What the session was known by, with `:moved` behind it where it was served elsewhere than it belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Word>,
    /// See [`ClassPrices::cache_saved`](crate::ClassPrices::cache_saved).
    #[serde(default)]
    pub cache_saved: Pico,
    /// The budgets that its charge is drawn from.
    #[serde(default, skip_serializing_if = "Draws::is_empty")]
    pub budgets: Draws,
}

/// What is known when a call is dispatched. Should the process die, this and the last checkpoint settle it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeginRecord {
    pub request_id: RequestId,
    pub attempt: u32,
    pub accepted_at: Timestamp,
    pub tenant_id: TenantId,
    pub key_id: ApiKeyId,
    pub end_user: Option<String>,
    pub endpoint: Endpoint,
    pub client_dialect: Dialect,
    pub upstream_dialect: Option<Dialect>,
    pub model_id: Option<ModelId>,
    pub model: Name,
    pub upstream_model: Option<Name>,
    pub upstream_id: Option<UpstreamId>,
    pub upstream: Option<Name>,
    pub credential_id: Option<CredentialId>,
    pub stream: bool,
    /// Input tokens as estimated before dispatch.
    pub input_estimate: Usage,
    pub price: Option<Arc<PriceVersion>>,
    pub reserved: Pico,
    pub bytes_in: u64,
    pub trace_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Word>,
    /// The budgets that it draws on.
    #[serde(default, skip_serializing_if = "Draws::is_empty")]
    pub budgets: Draws,
}

/// The status recorded for a call whose client saw the connection break.
const STATUS_CONNECTION_LOST: u16 = 499;

impl UsageRecord {
    /// The record a call ends with when nothing went wrong and nothing was used; the caller fills in the rest.
    pub fn from_begin(begin: &BeginRecord, finished_at: Timestamp) -> Self {
        begin.clone().into_record(finished_at)
    }
}

impl BeginRecord {
    /// See [`UsageRecord::from_begin`].
    pub fn into_record(self, finished_at: Timestamp) -> UsageRecord {
        UsageRecord {
            request_id: self.request_id,
            attempt: self.attempt,
            accepted_at: self.accepted_at,
            first_byte_at: None,
            finished_at,
            tenant_id: self.tenant_id,
            key_id: self.key_id,
            end_user: self.end_user,
            endpoint: self.endpoint,
            client_dialect: self.client_dialect,
            upstream_dialect: self.upstream_dialect,
            model_id: self.model_id,
            model: self.model,
            upstream_model: self.upstream_model,
            returned_model: None,
            upstream_id: self.upstream_id,
            upstream: self.upstream,
            credential_id: self.credential_id,
            attempts: Vec::new(),
            stream: self.stream,
            outcome: Outcome::Ok,
            status: 200,
            error_code: None,
            finish_reason: None,
            usage: Usage::default(),
            usage_source: UsageSource::None,
            estimator: None,
            raw_usage: None,
            currency: self.price.as_ref().map(|price| price.currency),
            price: self.price,
            charge: Pico::ZERO,
            reserved: self.reserved,
            upstream_request_id: None,
            loss: None,
            overhead_us: 0,
            bytes_in: self.bytes_in,
            bytes_out: 0,
            trace_id: self.trace_id,
            route: self.route,
            arm: self.arm,
            affinity: self.affinity,
            cache_saved: Pico::ZERO,
            budgets: self.budgets,
        }
    }

    /// Settles a call that was in flight when the process died: the input estimate and the output delivered up to the last
    /// checkpoint, never above the reservation.
    ///
    /// The cap takes tokens away, not money, so that the charge stays a plain sum of products.
    pub fn settle_crash(&self, output_estimate: u64, last_seen_at: Timestamp) -> UsageRecord {
        let mut record = UsageRecord::from_begin(self, last_seen_at);
        record.outcome = Outcome::Crash;
        record.status = STATUS_CONNECTION_LOST;
        record.error_code = Some("gateway_crash".into());
        record.usage_source = UsageSource::Crash;
        record.estimator = Some(estimate::ESTIMATOR.into());
        record.usage = self.input_estimate.with(UsageClass::OutputText, output_estimate);
        let Some(price) = &self.price else { return record };
        record.usage = price.fit(&record.usage, self.reserved);
        match price.charge(&record.usage) {
            Ok(charge) => record.charge = charge.total,
            // A price that cannot charge its own model was refused before dispatch; the flag tells finance all the same.
            Err(error) => record.error_code = Some(format!("gateway_crash: {error}").into()),
        }
        record
    }
}
