//! Slows the guessing of passwords, by account and by address, in the database, so that a restart forgets nothing. Never a
//! permanent lock: that would let anyone lock anyone out.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tallygate_types::Timestamp;

use crate::{DbTime, Source, StoreError, Tx, query};

/// Failures of an account before it has to wait.
pub const FREE_FAILURES: i64 = 5;
/// The first wait; each further failure doubles it.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
pub const LONGEST_WAIT: Duration = Duration::from_mins(15);
/// Failures of one address in a window before it has to wait for the window's end.
pub const FAILURES_PER_ADDRESS: i64 = 10;
pub const ADDRESS_WINDOW: Duration = Duration::from_mins(1);
/// An account that did not fail for this long starts anew.
const ACCOUNT_FORGETS_AFTER: Duration = Duration::from_hours(1);

/// What is slowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// By e-mail address as typed, whether or not such a user exists.
    Account(String),
    Address(IpAddr),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Characters of an address kept; a longer one is no address.
        const MAX_EMAIL_CHARS: usize = 200;
        match self {
            Self::Account(email) => {
                write!(f, "account:")?;
                email
                    .trim()
                    .to_lowercase()
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(MAX_EMAIL_CHARS)
                    .try_for_each(|c| write!(f, "{c}"))
            }
            // One IPv6 customer has a /64 at least.
            Self::Address(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_none() => {
                let network = v6.to_bits() & !u128::from(u64::MAX);
                write!(f, "ip:{}/64", std::net::Ipv6Addr::from_bits(network))
            }
            Self::Address(address) => write!(f, "ip:{}", address.to_canonical()),
        }
    }
}

/// How long the subject has to wait from `now`; `None` if it may try.
pub async fn wait(source: impl Source, subject: &Subject, now: Timestamp) -> Result<Option<Duration>, StoreError> {
    let blocked: Option<Option<DbTime>> = query!(source, |conn| {
        sqlx::query_scalar("SELECT blocked_until FROM login_throttle WHERE subject = $1")
            .bind(subject.to_string())
            .fetch_optional(conn)
            .await
    })??;
    let wait = blocked.flatten().map(|DbTime(until)| until.since(now));
    Ok(wait.filter(|wait| !wait.is_zero()))
}

/// Notes a failure; returns how long the subject has to wait now.
pub async fn note_failure(tx: &mut Tx, subject: &Subject) -> Result<Option<Duration>, StoreError> {
    let now = tx.now();
    let window = match subject {
        Subject::Account(_) => ACCOUNT_FORGETS_AFTER,
        Subject::Address(_) => ADDRESS_WINDOW,
    };
    let forgotten = Timestamp::from_micros(now.micros().saturating_sub(window.as_micros() as i64));
    // For an address the time of the window's first failure is kept, for an account the time of the last.
    let slides = matches!(subject, Subject::Account(_));
    let (failures, since): (i64, DbTime) = query!(&mut *tx, |conn| {
        sqlx::query_as(
            "INSERT INTO login_throttle AS t (subject, failures, last_failed_at, blocked_until) VALUES ($1, 1, $2, NULL)
             ON CONFLICT (subject) DO UPDATE SET
                 failures = CASE WHEN t.last_failed_at <= $3 THEN 1 ELSE t.failures + 1 END,
                 last_failed_at = CASE WHEN $4 OR t.last_failed_at <= $3 THEN $2 ELSE t.last_failed_at END
             RETURNING failures, last_failed_at",
        )
        .bind(subject.to_string())
        .bind(DbTime(now))
        .bind(DbTime(forgotten))
        .bind(slides)
        .fetch_one(conn)
        .await
    })??;
    let until = match subject {
        Subject::Account(_) => account_wait(failures).map(|wait| now.saturating_add(wait)),
        Subject::Address(_) => (failures >= FAILURES_PER_ADDRESS).then(|| since.0.saturating_add(ADDRESS_WINDOW)),
    };
    query!(&mut *tx, |conn| {
        sqlx::query("UPDATE login_throttle SET blocked_until = $2 WHERE subject = $1")
            .bind(subject.to_string())
            .bind(until.map(DbTime))
            .execute(conn)
            .await
            .map(|_| ())
    })??;
    Ok(until.map(|until| until.since(now)).filter(|wait| !wait.is_zero()))
}

/// Forgets the failures of a subject that has proven itself. For accounts only: an address keeps its count, or one good
/// account would pay for guesses at others.
pub async fn clear(tx: &mut Tx, subject: &Subject) -> Result<(), StoreError> {
    query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM login_throttle WHERE subject = $1").bind(subject.to_string()).execute(conn).await.map(|_| ())
    })??;
    Ok(())
}

/// Removes rows nothing depends on any more. Returns how many.
pub async fn purge(tx: &mut Tx) -> Result<u64, StoreError> {
    let now = tx.now().micros();
    let before = Timestamp::from_micros(now.saturating_sub(ACCOUNT_FORGETS_AFTER.as_micros() as i64));
    Ok(query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM login_throttle WHERE last_failed_at < $1")
            .bind(DbTime(before))
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??)
}

fn account_wait(failures: i64) -> Option<Duration> {
    let doublings = u32::try_from(failures.checked_sub(FREE_FAILURES)?).ok()?.checked_sub(1)?;
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    Some(FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_one_second_to_fifteen_minutes() {
        let waits: Vec<_> = (1..=8).map(|n| account_wait(n).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [None, None, None, None, None, Some(1), Some(2), Some(4)]);
        assert_eq!(account_wait(1_000_000), Some(Duration::from_mins(15)));
    }

    #[test]
    fn addresses_of_one_customer_are_one_subject() {
        let of = |text: &str| Subject::Address(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), "ip:192.0.2.1");
        assert_eq!(Subject::Account(" Ada@Example.com".into()).to_string(), "account:ada@example.com");
    }
}
