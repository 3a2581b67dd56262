//! Tells of budgets that are nearly spent, by webhook and by mail. Every process looks for what is due; who takes a notification on
//! has it alone for a while (`billing::alerts`). What a process that dies had taken on, another tells after that while.

mod mail;
mod webhook;

#[cfg(test)]
mod receivers;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use prometheus::{IntCounterVec, Opts, Registry};
use tallygate_billing::alerts::{self, Claimed, Fate};
use tallygate_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use self::mail::Mailer;
use self::webhook::Hook;
use crate::config::Alerts;

/// How often it is looked for what is due.
const POLL: Duration = Duration::from_secs(2);
/// For as long nobody else takes a notification on: longer than all ways of telling take together.
const LEASE: Duration = Duration::from_mins(2);
/// For one mail, and one word of it.
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(20);
/// After so many attempts, over some two hours, it is given up.
const MAX_ATTEMPTS: u32 = 12;
/// After the first attempt; twice as long after each, and at most an hour. The last half of it is random, so that not all come at
/// once when a receiver is back.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// The ways of telling, by the names they have in a notification.
const WEBHOOK: &str = "webhook";
const MAIL: &str = "mail";
const TENANT_MAIL: &str = "tenant_mail";

type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// See the module.
pub struct Teller {
    store: Arc<Store>,
    hook: Option<Hook>,
    mailer: Option<Mailer>,
    attempts: IntCounterVec,
    notifications: IntCounterVec,
}

impl Teller {
    /// Fails if what the configuration points at is not there.
    pub fn new(store: Arc<Store>, config: &Alerts, registry: &Registry) -> Result<Self> {
        let counter = |name, help, labels: &[&str]| -> Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Self {
            store,
            hook: config.webhook.as_ref().map(Hook::new).transpose()?,
            mailer: config.mail.as_ref().map(Mailer::new).transpose()?,
            attempts: counter("alert_attempts_total", "Attempts at telling of a budget, by way and result", &["way", "result"])?,
            notifications: counter("alert_notifications_total", "Notifications done with, by what became of them", &["state"])?,
        })
    }

    /// Tells until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let endless = async {
            loop {
                let is_more = self.tell_next().await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "what is to be told of budgets could not be read");
                    false
                });
                if !is_more {
                    tokio::time::sleep(POLL).await;
                }
            }
        };
        stop.run_until_cancelled(endless).await;
    }

    /// Tells what has been due for longest; false if nothing is.
    async fn tell_next(&self) -> Result<bool, StoreError> {
        let Some(claimed) = alerts::claim(&self.store, LEASE).await? else { return Ok(false) };
        let (delivered, fate) = self.tell(&claimed).await;
        let (id, attempt) = (claimed.notification.id, claimed.notification.attempts);
        match &fate {
            Fate::Sent => self.notifications.with_label_values(&["sent"]).inc(),
            Fate::Recorded => self.notifications.with_label_values(&["recorded"]).inc(),
            Fate::Again { at, error } => {
                tracing::warn!(%id, attempt, %error, again_at = %at, "not everybody could be told of a budget");
            }
            Fate::GivenUp { error } => {
                self.notifications.with_label_values(&["failed"]).inc();
                tracing::error!(%id, attempt, %error, "telling of a budget is given up");
            }
        }
        if !alerts::finish(&self.store, &claimed.notification, &delivered, &fate).await? {
            tracing::warn!(%id, "telling of a budget took so long that another does it, too");
        }
        Ok(true)
    }

    /// Tells by every way by which it is not told yet. By which it is then, and what becomes of it.
    async fn tell(&self, claimed: &Claimed) -> (Vec<String>, Fate) {
        let notification = &claimed.notification;
        let ways = self.ways(claimed);
        if ways.is_empty() {
            return (Vec::new(), Fate::Recorded);
        }
        let mut delivered = notification.delivered.clone();
        let mut errors = Vec::new();
        for (way, sending) in ways {
            if delivered.iter().any(|done| done == way) {
                continue;
            }
            let result = match sending.await {
                Ok(()) => {
                    delivered.push(way.to_owned());
                    "ok"
                }
                Err(error) => {
                    errors.push(format!("{way}: {error}"));
                    "failed"
                }
            };
            self.attempts.with_label_values(&[way, result]).inc();
        }
        let error = errors.join("; ");
        let fate = match (errors.is_empty(), notification.attempts) {
            (true, _) => Fate::Sent,
            (false, MAX_ATTEMPTS..) => Fate::GivenUp { error },
            (false, attempts) => Fate::Again { at: self.store.clock().now().saturating_add(pause(attempts)), error },
        };
        (delivered, fate)
    }

    fn ways<'a>(&'a self, claimed: &'a Claimed) -> Vec<(&'static str, Sending<'a>)> {
        let Claimed { notification, emails } = claimed;
        let mut ways: Vec<(&'static str, Sending<'a>)> = Vec::new();
        if let Some(hook) = &self.hook {
            let at = self.store.clock().now();
            ways.push((WEBHOOK, Box::pin(hook.send(notification, at))));
        }
        if let Some(mailer) = &self.mailer {
            if !mailer.to.is_empty() {
                ways.push((MAIL, Box::pin(mailer.send(notification, MAIL, mailer.to.clone()))));
            }
            if !emails.is_empty() {
                // They were checked when the tenant was saved.
                let to = emails.iter().filter_map(|email| email.parse().ok()).collect();
                ways.push((TENANT_MAIL, Box::pin(mailer.send(notification, TENANT_MAIL, to))));
            }
        }
        ways
    }
}

/// Before the attempt after so many.
fn pause(attempts: u32) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(MAX_PAUSE);
    rand::random_range(whole / 2..=whole)
}
