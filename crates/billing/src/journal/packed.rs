//! Records as bytes, for the journal: two are written for each request, and JSON of them took longer than all else a request needs.
//!
//! The fields stand one after another in the order of the lists below. Numbers are in as many groups of seven bits as they need,
//! ids and times in full; members of closed sets go by their names, so that no numbering has to be kept. What consists of
//! fields and stands inside a record carries its length.
//!
//! The lists grow at their ends alone, and a reader leaves what follows the fields it knows. Whoever adds a field to a record
//! says what it is where an earlier program wrote no bytes for it: as it stands, a record that ends too soon is refused.

use std::cell::RefCell;
use std::sync::Arc;

use tallygate_store::BudgetPeriod;
use tallygate_types::{
    ApiKeyId, BudgetId, CredentialId, Currency, Dialect, ModelId, Pico, PriceVersionId, RequestId, TenantId, Timestamp,
    UnitPrice, UpstreamId, Usage, UsageClass,
};
use uuid::Uuid;

use super::Checkpoint;
use super::frame::{Form, Kind};
use super::known::{self, Known};
use crate::budget::{Draw, Draws};
use crate::price::{ClassPrices, PriceVersion};
use crate::record::{AttemptRecord, BeginRecord, Endpoint, Name, Outcome, UsageRecord, UsageSource, Word};

/// What stands in a frame.
pub(super) trait Record: Field + serde::de::DeserializeOwned {
    const KIND: Kind;
}

impl Record for BeginRecord {
    const KIND: Kind = Kind::Begin;
}

impl Record for Checkpoint {
    const KIND: Kind = Kind::Checkpoint;
}

impl Record for UsageRecord {
    const KIND: Kind = Kind::End;
}

/// The bytes are no record of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the payload of a frame.
pub(super) fn read<R: Record>(form: Form, payload: &[u8], known: &mut Known) -> Result<R, Malformed> {
    match form {
        Form::Json => serde_json::from_slice(payload).map_err(|_| Malformed),
        Form::Packed => R::take(&mut Fields { rest: payload, known }),
    }
}

/// What is left of the bytes of a record.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    known: &'a mut Known,
}

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            // Most are short.
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => u64::try_from(self.wide_number()?).map_err(|_| Malformed),
        }
    }

    fn wide_number(&mut self) -> Result<u128, Malformed> {
        /// Groups that fit into 64 bits, which are worked on much faster.
        const SHORT: u32 = u64::BITS / 7 * 7;
        let mut short = 0_u64;
        for shift in (0..SHORT).step_by(7) {
            let [byte] = self.array()?;
            short |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(u128::from(short));
            }
        }
        let mut number = u128::from(short);
        for shift in (SHORT..u128::BITS).step_by(7) {
            let [byte] = self.array()?;
            number |= u128::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    /// The bytes of a text, not yet known to be one.
    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.bytes(length)
    }

    fn class(&mut self) -> Result<UsageClass, Malformed> {
        let name = self.text()?;
        UsageClass::ALL.into_iter().find(|class| class.as_str().as_bytes() == name).ok_or(Malformed)
    }

    fn inner(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u32::from_le_bytes(self.array()?);
        self.bytes(length as usize)
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Puts the length of what `put` writes before it.
fn put_inner(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out);
    // A frame has far fewer bytes than this can tell; one that has not is refused for its size.
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

pub(super) trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed>;
}

macro_rules! fields {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field,)* } = self;
                $($field.put(out);)*
            }

            fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
                Ok(Self { $($field: Field::take(from)?,)* })
            }
        }
    };
}

fields!(BeginRecord {
    request_id,
    attempt,
    accepted_at,
    tenant_id,
    key_id,
    end_user,
    endpoint,
    client_dialect,
    upstream_dialect,
    model_id,
    model,
    upstream_model,
    upstream_id,
    upstream,
    credential_id,
    stream,
    input_estimate,
    price,
    reserved,
    bytes_in,
    trace_id,
    route,
    arm,
    affinity,
    budgets,
});

fields!(Checkpoint { request_id, output_estimate, at });

fields!(UsageRecord {
    request_id,
    attempt,
    accepted_at,
    first_byte_at,
    finished_at,
    tenant_id,
    key_id,
    end_user,
    endpoint,
    client_dialect,
    upstream_dialect,
    model_id,
    model,
    upstream_model,
    returned_model,
    upstream_id,
    upstream,
    credential_id,
    attempts,
    stream,
    outcome,
    status,
    error_code,
    finish_reason,
    usage,
    usage_source,
    estimator,
    raw_usage,
    price,
    charge,
    currency,
    reserved,
    upstream_request_id,
    loss,
    overhead_us,
    bytes_in,
    bytes_out,
    trace_id,
    route,
    arm,
    affinity,
    cache_saved,
    budgets,
});

fields!(AttemptRecord { upstream, credential_id, status, outcome, reason, started_at, duration_us, cost });

fields!(PriceVersion { id, model_id, currency, valid_from, prices, source, created_at, created_by });

macro_rules! ids {
    ($($id:ident)*) => {$(
        impl Field for $id {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.uuid().as_bytes());
            }

            fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
                Ok(Self::from_uuid(Uuid::from_bytes(from.array()?)))
            }
        }
    )*};
}

fields!(Draw { budget, subject, period, since, until });

ids!(RequestId TenantId ApiKeyId ModelId UpstreamId CredentialId PriceVersionId BudgetId);

macro_rules! numbers {
    ($($number:ident)*) => {$(
        impl Field for $number {
            fn put(&self, out: &mut Vec<u8>) {
                put_number(out, u64::from(*self));
            }

            fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
                Self::try_from(from.number()?).map_err(|_| Malformed)
            }
        }
    )*};
}

numbers!(u64 u32 u16);

macro_rules! names {
    ($($name:ident)*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                put_text(out, self.as_str());
            }

            fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
                let text = from.text()?;
                Self::ALL.iter().copied().find(|name| name.as_str().as_bytes() == text).ok_or(Malformed)
            }
        }
    )*};
}

names!(Endpoint Dialect Outcome UsageSource BudgetPeriod);

macro_rules! texts {
    ($($text:ty: $read:expr;)*) => {$(
        impl Field for $text {
            fn put(&self, out: &mut Vec<u8>) {
                put_text(out, self.as_ref());
            }

            fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
                let bytes = from.text()?;
                $read(from.known, bytes).ok_or(Malformed)
            }
        }
    )*};
}

texts! {
    String: |_: &mut Known, bytes| std::str::from_utf8(bytes).ok().map(str::to_owned);
    Box<str>: |_: &mut Known, bytes| std::str::from_utf8(bytes).ok().map(Box::from);
    Word: |_: &mut Known, bytes| known::word(bytes);
    Name: Known::name;
}

impl Field for Currency {
    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self.as_str());
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        std::str::from_utf8(from.text()?).ok().and_then(|code| code.parse().ok()).ok_or(Malformed)
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        match from.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl<F: Field> Field for Option<F> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(if bool::take(from)? { Some(F::take(from)?) } else { None })
    }
}

impl Field for Timestamp {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.micros().to_le_bytes());
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self::from_micros(i64::from_le_bytes(from.array()?)))
    }
}

/// Near zero on either side is short: 0, -1, 1, -2...
impl Field for Pico {
    fn put(&self, out: &mut Vec<u8>) {
        let amount = self.get();
        if let Ok(amount) = i64::try_from(amount) {
            return put_number(out, (amount << 1 ^ amount >> (i64::BITS - 1)) as u64);
        }
        let mut folded = (amount << 1 ^ amount >> (i128::BITS - 1)) as u128;
        while folded > u128::from(u64::MAX) {
            out.push(folded as u8 | 0x80);
            folded >>= 7;
        }
        put_number(out, folded as u64);
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        let folded = from.wide_number()?;
        Ok(Self::new((folded >> 1) as i128 ^ -((folded & 1) as i128)))
    }
}

/// Classes and a number for each, after the count of them.
fn put_classes(out: &mut Vec<u8>, classes: impl Iterator<Item = (UsageClass, u64)>) {
    const { assert!(Usage::CLASSES < 0x80, "the count is one byte") };
    let start = out.len();
    out.push(0);
    for (class, number) in classes {
        put_text(out, class.as_str());
        put_number(out, number);
        out[start] += 1;
    }
}

impl Field for Usage {
    fn put(&self, out: &mut Vec<u8>) {
        put_classes(out, self.iter());
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        let mut usage = Self::default();
        for _ in 0..from.number()? {
            usage.set(from.class()?, from.number()?);
        }
        Ok(usage)
    }
}

impl Field for ClassPrices {
    fn put(&self, out: &mut Vec<u8>) {
        put_classes(out, self.iter().map(|(class, price)| (class, price.get().unsigned_abs())));
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        (0..from.number()?).try_fold(Self::default(), |prices, _| {
            let class = from.class()?;
            let price = i64::try_from(from.number()?).ok().and_then(UnitPrice::new).ok_or(Malformed)?;
            Ok(prices.with(class, price))
        })
    }
}

impl Field for Vec<AttemptRecord> {
    fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.len() as u64);
        for attempt in self {
            put_inner(out, |out| attempt.put(out));
        }
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        /// Room made at once: the count is not yet known to be true.
        const USUAL: u64 = 4;
        let count = from.number()?;
        let mut attempts = Self::with_capacity(count.min(USUAL) as usize);
        for _ in 0..count {
            let rest = from.inner()?;
            attempts.push(AttemptRecord::take(&mut Fields { rest, known: from.known })?);
        }
        Ok(attempts)
    }
}

impl Field for Draws {
    fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.as_slice().len() as u64);
        for draw in self.as_slice() {
            put_inner(out, |out| draw.put(out));
        }
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        // An earlier program wrote none.
        if from.rest.is_empty() {
            return Ok(Self::default());
        }
        let draws = (0..from.number()?).map(|_| {
            let rest = from.inner()?;
            Draw::take(&mut Fields { rest, known: from.known })
        });
        Ok(Self::new(draws.collect::<Result<_, _>>()?))
    }
}

impl Field for Arc<PriceVersion> {
    fn put(&self, out: &mut Vec<u8>) {
        /// Prices whose bytes a thread keeps; beyond it all are forgotten and made once more.
        const MAX_KEPT: usize = 16;
        thread_local! {
            /// With the prices themselves, so that no other comes to stand at the address of one.
            static KEPT: RefCell<Vec<(Arc<PriceVersion>, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
        }
        KEPT.with_borrow_mut(|kept| {
            if let Some((_, bytes)) = kept.iter().find(|(price, _)| Self::ptr_eq(price, self)) {
                return out.extend_from_slice(bytes);
            }
            let start = out.len();
            put_inner(out, |out| (**self).put(out));
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.push((Self::clone(self), out[start..].to_vec()));
        });
    }

    fn take(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        let bytes = from.inner()?;
        let id = *bytes.first_chunk().ok_or(Malformed)?;
        if let Some(price) = from.known.price(&id, bytes) {
            return Ok(price);
        }
        let price = Self::new(PriceVersion::take(&mut Fields { rest: bytes, known: from.known })?);
        from.known.hold_price(id, bytes, &price);
        Ok(price)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn packed(record: &impl Field) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        bytes
    }

    fn unpacked<R: Record>(bytes: &[u8]) -> Result<R, Malformed> {
        read(Form::Packed, bytes, &mut Known::default())
    }

    #[test]
    fn a_record_reads_back_and_costs_few_bytes() {
        let begin = testing::begin(7, 1_000, Pico::new(i128::from(i64::MAX)));
        let full = UsageRecord {
            error_code: Some("x".into()),
            estimator: Some("e".into()),
            upstream_request_id: Some("id".into()),
            loss: Some(String::new()),
            cache_saved: Pico::new(-5),
            ..testing::record(7)
        };
        let mut empty = UsageRecord::from_begin(
            &BeginRecord { price: None, model_id: None, end_user: None, route: None, ..begin.clone() },
            Timestamp::from_micros(-1),
        );
        empty.model = "".into();
        assert_eq!(unpacked::<BeginRecord>(&packed(&begin)), Ok(begin.clone()));
        for record in [&full, &empty] {
            assert_eq!(unpacked::<UsageRecord>(&packed(record)).as_ref(), Ok(record));
        }
        assert!(packed(&full).len() * 2 < serde_json::to_vec(&full).unwrap().len(), "{}", packed(&full).len());
    }

    #[test]
    fn a_record_that_is_cut_is_refused_wherever_and_what_a_later_program_adds_is_left() {
        let record = testing::record(7);
        let mut bytes = packed(&record);
        // What an earlier program wrote ends before the budgets.
        let earlier = UsageRecord { budgets: Draws::default(), ..record.clone() };
        let end_of_earlier = packed(&earlier).len() - 1;
        for cut in 0..bytes.len() {
            let expected = if cut == end_of_earlier { Ok(earlier.clone()) } else { Err(Malformed) };
            assert_eq!(unpacked::<UsageRecord>(&bytes[..cut]), expected, "{cut}");
        }
        bytes.extend_from_slice(b"more");
        assert_eq!(unpacked::<UsageRecord>(&bytes), Ok(record));
    }

    #[test]
    fn no_flipped_bit_does_worse_than_to_be_refused_or_read_as_another_value() {
        let bytes = packed(&testing::record(7));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = unpacked::<UsageRecord>(&damaged);
        }
    }

    #[test]
    fn records_of_one_price_share_it() {
        let mut known = Known::default();
        let [first, second] = [1, 2].map(|n| {
            let read: UsageRecord = read(Form::Packed, &packed(&testing::record(n)), &mut known).unwrap();
            read.price.unwrap()
        });
        assert!(Arc::ptr_eq(&first, &second));
        // The same id with another price is another price.
        let mut dear = (*testing::price()).clone();
        dear.created_by = "another".into();
        let dear = Arc::new(dear);
        for expected in [&dear, &testing::price(), &dear] {
            let record = UsageRecord { price: Some(Arc::clone(expected)), ..testing::record(3) };
            let read = read::<UsageRecord>(Form::Packed, &packed(&record), &mut known).unwrap();
            assert_eq!(read.price.as_ref(), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn an_amount_reads_back(amount in prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from), -300..300_i128]) {
            let bytes = packed(&Pico::new(amount));
            let mut known = Known::default();
            prop_assert_eq!(Pico::take(&mut Fields { rest: &bytes, known: &mut known }), Ok(Pico::new(amount)));
        }
    }
}
