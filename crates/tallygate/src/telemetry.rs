//! Logs: JSON lines for machines, text on a terminal; one subscriber for the whole process.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, format};

use crate::access_line::AccessLines;
use crate::config::{ConfigError, Log, LogFormat};
use crate::log_lines::LogLines;

/// How long the last lines may take at the end of the process.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

static LINES: OnceLock<LogLines> = OnceLock::new();

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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    // A second call (in tests) keeps the first subscriber.
    let _already_installed = if as_text {
        builder.with_target(false).try_init()
    } else {
        let others = format().json().flatten_event(true).with_current_span(false).with_span_list(false);
        builder.fmt_fields(JsonFields::new()).event_format(AccessLines { others }).try_init()
    };
    Ok(())
}
