//! A notification as a mail in plain text.

use lettre::message::{Mailbox, header::ContentType};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde_json::Value;
use tallygate_billing::alerts::Notification;
use tokio::time::timeout;

use super::MAIL_TIMEOUT;
use crate::config::{ConfigError, Mail};

/// Of a mail server's words.
const MAX_ERROR_CHARS: usize = 300;

/// The way to a mail server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    /// The operator's.
    pub to: Vec<Mailbox>,
}

impl Mailer {
    pub fn new(config: &Mail) -> Result<Self, ConfigError> {
        Ok(Self { transport: config.transport()?, from: config.from()?, to: config.to()? })
    }

    /// One mail to all of `to`. `way` tells two mails about the same apart.
    pub async fn send(&self, notification: &Notification, way: &str, to: Vec<Mailbox>) -> Result<(), String> {
        let domain = self.from.email.domain();
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(subject(&notification.event))
            // The same for each attempt, so that a mail that comes twice can be told.
            .message_id(Some(format!("<{}.{way}@{domain}>", notification.id)))
            .header(ContentType::TEXT_PLAIN);
        for mailbox in to {
            builder = builder.to(mailbox);
        }
        let message = builder.body(text(&notification.event)).map_err(|error| error.to_string())?;
        match timeout(MAIL_TIMEOUT, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string().chars().take(MAX_ERROR_CHARS).collect()),
            Err(_) => Err(format!("the mail server took more than {} s", MAIL_TIMEOUT.as_secs())),
        }
    }
}

/// A member of the event as people read it.
fn word(event: &Value, path: &str) -> String {
    match event.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Whose budget it is, in words.
fn whose(event: &Value) -> String {
    let of = |name: &str| word(event, &format!("/budget/{name}"));
    match of("scope").as_str() {
        "project" => format!("the project {}", of("project_id")),
        "key" => format!("the API key {}", of("key_id")),
        "model" => format!("the model {}", of("model")),
        "end_user" => format!("the end user {}", of("end_user")),
        _ => "the tenant".to_owned(),
    }
}

fn subject(event: &Value) -> String {
    let word = |path| word(event, path);
    let (tenant, currency) = (word("/tenant/name"), word("/currency"));
    if word("/type") == "balance.low" {
        return format!("{tenant}: {} {currency} are left of the balance", word("/remaining"));
    }
    let period = match word("/budget/period").as_str() {
        "day" => "daily budget",
        "month" => "monthly budget",
        _ => "budget",
    };
    format!("{tenant}: {} % of the {period} of {} are spent", word("/percent"), whose(event))
}

fn text(event: &Value) -> String {
    let word = |path| word(event, path);
    let currency = word("/currency");
    let mut lines = vec![
        subject(event),
        String::new(),
        format!("Tenant:    {} ({})", word("/tenant/name"), word("/tenant/id")),
        format!("Budget:    {} of {}", word("/budget/id"), whose(event)),
        format!("Amount:    {} {currency}", word("/amount")),
        format!("Spent:     {} {currency}", word("/spent")),
        format!("Remaining: {} {currency}", word("/remaining")),
    ];
    let (starts, ends) = (word("/budget/starts_at"), word("/budget/ends_at"));
    if !ends.is_empty() {
        lines.push(format!("Period:    {starts} to {ends}"));
    }
    let consequence = match (word("/type").as_str(), word("/budget/mode").as_str()) {
        ("balance.low", _) => "Requests are refused when the balance is used up.",
        (_, "hard") => "Requests are refused when the budget is spent.",
        _ => "Requests are served on when the budget is spent.",
    };
    lines.extend([String::new(), consequence.to_owned(), format!("Event {}", word("/id"))]);
    lines.join("\n") + "\n"
}
