//! The line that every request leaves in the log. Neither a secret nor a body is in it.

use tallygate_types::{ApiKeyId, Pico, Timestamp};

/// The target of the lines, by which an operator's filter knows them.
pub const ACCESS_TARGET: &str = "tallygate::access";

/// What is said of a request that has ended. What it never had is empty.
#[derive(Debug)]
pub struct AccessLine<'a> {
    pub at: Timestamp,
    pub request_id: &'a str,
    pub tenant: &'a str,
    pub key_id: ApiKeyId,
    pub endpoint: &'static str,
    pub model: &'a str,
    pub upstream: &'a str,
    pub attempt: u32,
    pub status: u16,
    pub outcome: &'static str,
    pub duration_ms: u64,
    /// Of a stream.
    pub first_token_ms: Option<u64>,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cost: Pico,
    pub error_code: &'a str,
}

/// Where the lines go. It must not wait for anything.
pub trait AccessLog: Send + Sync + 'static {
    fn write(&self, line: &AccessLine<'_>);
}

/// Makes each line an event among the others of the process.
#[derive(Debug, Clone, Copy)]
pub struct TracedAccess;

impl AccessLog for TracedAccess {
    fn write(&self, line: &AccessLine<'_>) {
        tracing::info!(
            target: ACCESS_TARGET,
            request_id = line.request_id,
            tenant = line.tenant,
            key_id = %line.key_id,
            endpoint = line.endpoint,
            model = line.model,
            upstream = line.upstream,
            attempt = line.attempt,
            status = line.status,
            outcome = line.outcome,
            dur_ms = line.duration_ms,
            ttft_ms = line.first_token_ms,
            tokens_in = line.tokens_in,
            tokens_out = line.tokens_out,
            cost = %line.cost,
            err_code = line.error_code,
            "request"
        );
    }
}
