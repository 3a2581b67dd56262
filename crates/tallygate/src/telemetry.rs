//! Logs: JSON lines for machines, text on a terminal; one subscriber for the whole process.

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tallygate_gateway::{ACCESS_TARGET, AccessLog, TracedAccess};
use tracing::{Level, event_enabled};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, format};

use crate::access_line::JsonAccess;
use crate::config::{ConfigError, Log, LogFormat};
use crate::log_lines::LogLines;

/// How long the last lines may take at the end of the process.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

static LINES: OnceLock<LogLines> = OnceLock::new();
static ACCESS: OnceLock<Arc<dyn AccessLog>> = OnceLock::new();

/// Where the lines of requests go.
pub fn access_log() -> Arc<dyn AccessLog> {
    Arc::clone(ACCESS.get_or_init(|| Arc::new(TracedAccess)))
}

/// Writes what is left to write.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(FLUSH_DEADLINE);
    }
}

/// Installs the subscriber. Logs go to standard error, so that standard output stays what a command prints.
pub fn install(log: &Log) -> Result<(), ConfigError> {
    let filter =
        EnvFilter::try_new(&log.level).map_err(|error| ConfigError::Invalid(format!("log.level `{}`: {error}", log.level)))?;
    let as_text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let lines = LogLines::to(std::io::stderr())
        .map_err(|error| ConfigError::Invalid(format!("log: its thread cannot be started: {error}")))?;
    let lines = LINES.get_or_init(|| lines).clone();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone());
    // A second call (in tests) keeps the first subscriber.
    if as_text {
        let _already_installed = builder.with_target(false).try_init();
        return Ok(());
    }
    let events = format().json().flatten_event(true).with_current_span(false).with_span_list(false);
    let is_installed = builder.fmt_fields(JsonFields::new()).event_format(events).try_init().is_ok();
    // The filter never changes, and requests are in no span that could open it: it is asked once. Lines that it keeps back go
    // the way of events, where this costs nothing.
    if is_installed && event_enabled!(target: ACCESS_TARGET, Level::INFO) {
        ACCESS.get_or_init(|| Arc::new(JsonAccess(lines)));
    }
    Ok(())
}
