//! The attempts of a record as JSON. Nearly every record has one, in plain words: those are written by hand, as `serde_json`
//! would write them, in a third of its time.

use tallygate_store::StoreError;
use tallygate_types::{CredentialId, IdText};

use super::json;
use crate::record::{AttemptRecord, UsageRecord};
use crate::sql::clean;

/// What `text` becomes in JSON is itself. It has no NUL either, which PostgreSQL takes in no form.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

/// The attempts of `record`, in `out`.
pub fn write<'a>(out: &'a mut Vec<u8>, record: &UsageRecord) -> Result<&'a str, StoreError> {
    out.clear();
    out.push(b'[');
    for (n, attempt) in record.attempts.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        if !put_plain(out, attempt) {
            *out = by_serde(&record.attempts)?.into_bytes();
            out.pop();
            break;
        }
    }
    out.push(b']');
    // Looked at once: each part of it is text.
    str::from_utf8(out).map_err(|error| StoreError::Invalid { field: "attempts", reason: error.to_string() })
}

/// Adds an attempt if nothing in it has to be escaped; otherwise what was added is of no use.
fn put_plain(out: &mut Vec<u8>, attempt: &AttemptRecord) -> bool {
    let AttemptRecord { upstream, credential_id, status, outcome, reason, started_at, duration_us, cost } = attempt;
    let texts = [Some(&**upstream), Some(&**outcome), reason.as_deref()];
    let Some(started_at) = started_at.text() else { return false };
    if cost.is_some() || !texts.into_iter().flatten().all(is_plain) {
        return false;
    }
    let credential_id = credential_id.map(CredentialId::text);
    put_field(out, b"{\"upstream\":", Some(upstream.as_bytes()));
    put_field(out, b",\"credential_id\":", credential_id.as_ref().map(IdText::bytes));
    out.extend_from_slice(b",\"status\":");
    match status {
        Some(status) => put_number(out, u64::from(*status)),
        None => out.extend_from_slice(b"null"),
    }
    put_field(out, b",\"outcome\":", Some(outcome.as_bytes()));
    put_field(out, b",\"reason\":", reason.as_deref().map(str::as_bytes));
    put_field(out, b",\"started_at\":", Some(&started_at));
    out.extend_from_slice(b",\"duration_us\":");
    put_number(out, *duration_us);
    out.push(b'}');
    true
}

fn put_field(out: &mut Vec<u8>, name: &[u8], text: Option<&[u8]>) {
    out.extend_from_slice(name);
    match text {
        Some(text) => {
            out.push(b'"');
            out.extend_from_slice(text);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    const MAX_DIGITS: usize = 20;
    let (mut digits, mut at) = ([b'0'; MAX_DIGITS], MAX_DIGITS - 1);
    while number >= 10 {
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
    }
    digits[at] = b'0' + number as u8;
    out.extend_from_slice(&digits[at..]);
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
            let mut written = b"of the record before".to_vec();
            prop_assert_eq!(write(&mut written, &record).unwrap(), serde_json::to_string(&record.attempts).unwrap());
        }
    }

    #[test]
    fn the_usual_attempt_is_plain() {
        let record = testing::record(1);
        assert!(put_plain(&mut Vec::new(), &record.attempts[0]));
        assert_eq!(
            write(&mut Vec::new(), &record).unwrap(),
            "[{\"upstream\":\"anthropic-main\",\"credential_id\":\"crd_00000000000000000000000000000006\",\"status\":200,\
             \"outcome\":\"ok\",\"reason\":null,\"started_at\":\"2026-11-10T12:00:01.000000Z\",\"duration_us\":900000}]"
        );
    }
}
