//! The attempts of a record as JSON. Nearly every record has one, in plain words: those are written by hand, as `serde_json`
//! would write them, in a third of its time.

use tallygate_store::StoreError;
use tallygate_types::CredentialId;

use super::json;
use crate::record::{AttemptRecord, UsageRecord};
use crate::sql::clean;

/// What `text` becomes in JSON is itself. It has no NUL either, which PostgreSQL takes in no form.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

/// Adds the attempts of `record` to `out`.
pub fn put(out: &mut String, record: &UsageRecord) -> Result<(), StoreError> {
    let start = out.len();
    out.push('[');
    for (n, attempt) in record.attempts.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        if !put_plain(out, attempt) {
            out.truncate(start);
            out.push_str(&by_serde(&record.attempts)?);
            return Ok(());
        }
    }
    out.push(']');
    Ok(())
}

/// Adds an attempt if nothing in it has to be escaped; otherwise what was added is of no use.
fn put_plain(out: &mut String, attempt: &AttemptRecord) -> bool {
    let AttemptRecord { upstream, credential_id, status, outcome, reason, started_at, duration_us, cost } = attempt;
    let texts = [Some(&**upstream), Some(&**outcome), reason.as_deref()];
    let Some(started_at) = started_at.text() else { return false };
    let Ok(started_at) = str::from_utf8(&started_at) else { return false };
    if cost.is_some() || !texts.into_iter().flatten().all(is_plain) {
        return false;
    }
    let credential_id = credential_id.map(CredentialId::text);
    put_field(out, "{\"upstream\":", Some(upstream));
    put_field(out, ",\"credential_id\":", credential_id.as_deref());
    out.push_str(",\"status\":");
    match status {
        Some(status) => put_number(out, u64::from(*status)),
        None => out.push_str("null"),
    }
    put_field(out, ",\"outcome\":", Some(outcome));
    put_field(out, ",\"reason\":", reason.as_deref());
    put_field(out, ",\"started_at\":", Some(started_at));
    out.push_str(",\"duration_us\":");
    put_number(out, *duration_us);
    out.push('}');
    true
}

fn put_field(out: &mut String, name: &str, text: Option<&str>) {
    out.push_str(name);
    match text {
        Some(text) => {
            out.push('"');
            out.push_str(text);
            out.push('"');
        }
        None => out.push_str("null"),
    }
}

fn put_number(out: &mut String, mut number: u64) {
    const MAX_DIGITS: usize = 20;
    let (mut digits, mut at) = ([b'0'; MAX_DIGITS], MAX_DIGITS - 1);
    while number >= 10 {
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
    }
    digits[at] = b'0' + number as u8;
    // Digits.
    out.push_str(str::from_utf8(&digits[at..]).unwrap_or_default());
}

fn by_serde(attempts: &[AttemptRecord]) -> Result<String, StoreError> {
    /// How JSON writes a NUL, which PostgreSQL takes no better so.
    const NUL: &str = "\\u0000";
    let text = json(&attempts)?;
    if !text.contains(NUL) {
        return Ok(text);
    }
    let mut attempts = attempts.to_vec();
    for attempt in &mut attempts {
        attempt.upstream = clean(&attempt.upstream).into();
        attempt.outcome = clean(&attempt.outcome).into_owned().into();
        attempt.reason = attempt.reason.as_deref().map(|reason| clean(reason).into_owned().into());
    }
    json(&attempts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tallygate_types::{Pico, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::testing;

    fn attempt() -> impl Strategy<Value = AttemptRecord> {
        let text = || prop_oneof!["[a-z -]{0,9}", "[\u{1}-\u{9FFF}]{0,3}"];
        let ids = (any::<Option<u128>>(), any::<Option<u16>>(), any::<Option<i128>>());
        (text(), ids, text(), proptest::option::of(text()), any::<i64>(), any::<u64>()).prop_map(
            |(upstream, (credential, status, cost), outcome, reason, started_at, duration_us)| AttemptRecord {
                upstream: upstream.into(),
                credential_id: credential.map(Uuid::from_u128).map(CredentialId::from_uuid),
                status,
                outcome: outcome.into(),
                reason: reason.map(Into::into),
                started_at: Timestamp::from_micros(started_at >> 8),
                duration_us,
                cost: cost.filter(|cost| cost % 2 == 0).map(Pico::new),
            },
        )
    }

    proptest! {
        #[test]
        fn attempts_are_written_as_by_serde(attempts in proptest::collection::vec(attempt(), 0..4)) {
            let record = UsageRecord { attempts, ..testing::record(1) };
            let mut written = String::from("before");
            put(&mut written, &record).unwrap();
            prop_assert_eq!(written, format!("before{}", serde_json::to_string(&record.attempts).unwrap()));
        }
    }

    #[test]
    fn the_usual_attempt_is_plain() {
        let record = testing::record(1);
        assert!(put_plain(&mut String::new(), &record.attempts[0]));
        let mut written = String::new();
        put(&mut written, &record).unwrap();
        assert_eq!(
            written,
            "[{\"upstream\":\"anthropic-main\",\"credential_id\":\"crd_00000000000000000000000000000006\",\"status\":200,\
             \"outcome\":\"ok\",\"reason\":null,\"started_at\":\"2026-11-10T12:00:01.000000Z\",\"duration_us\":900000}]"
        );
    }
}
