//! Money as an integer of pico-units (10⁻¹² of a currency's major unit). No float, no rounding, every operation checked.
//!
//! Pico is fine enough that published prices per token are whole numbers, so a charge is an exact sum of products; only
//! an invoice total is ever rounded.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::deserialize_parsed;

/// Pico-units in one major unit of a currency.
const PICO_PER_UNIT: i128 = 1_000_000_000_000;
const PICO_DIGITS: usize = 12;
/// A sign, a point, and the digits of 128 bits.
const TEXT_BYTES: usize = 2 + 39;
/// A price per million tokens has this many decimals before it stops being a whole pico per token.
const PER_MILLION_DIGITS: usize = 6;

/// The text is not an amount, or the amount cannot be held exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("`{0}` is not a decimal amount; write digits with at most one point, such as `12.50`")]
    NotDecimal(String),
    #[error("`{text}` has more than {digits} decimals and cannot be held exactly")]
    TooFine { text: String, digits: usize },
    #[error("`{0}` is out of range")]
    OutOfRange(String),
    #[error("`{0}` is not an ISO 4217 currency code of three capital letters, such as `USD`")]
    Currency(String),
    #[error("a price must not be negative: `{0}`")]
    NegativePrice(String),
}

/// An amount of money in pico-units of some currency; the currency stands beside it.
///
/// Its text is a decimal in major units without trailing zeros (`"0.0036"`), which is how the API carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Pico(i128);

/// See [`Pico::text`].
pub struct PicoText {
    bytes: [u8; TEXT_BYTES],
    start: usize,
}

/// What one unit (one token, say) of a usage class costs, in whole pico-units. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnitPrice(i64);

/// An ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Pico {
    pub const ZERO: Self = Self(0);

    pub const fn new(pico: i128) -> Self {
        Self(pico)
    }

    pub const fn get(self) -> i128 {
        self.0
    }

    /// The amount as the databases store it; `None` beyond ±9.2 million units.
    pub fn to_i64(self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }

    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// The amount rounded half to even to `decimals` places, for an invoice total.
    pub fn round_half_even(self, decimals: u32) -> Self {
        let step = 10_i128.pow((PICO_DIGITS as u32).saturating_sub(decimals));
        let (whole, rest) = (self.0.div_euclid(step), self.0.rem_euclid(step));
        let up = rest * 2 > step || (rest * 2 == step && whole % 2 != 0);
        Self((whole + i128::from(up)) * step)
    }

    /// The amount with exactly `decimals` places (at most 12), after rounding half to even: `"0.00"`.
    pub fn to_fixed(self, decimals: u32) -> String {
        let rounded = self.round_half_even(decimals);
        let (sign, magnitude) = (if rounded.0 < 0 { "-" } else { "" }, rounded.0.unsigned_abs());
        let whole = magnitude / PICO_PER_UNIT.unsigned_abs();
        if decimals == 0 {
            return format!("{sign}{whole}");
        }
        let fraction = format!("{:012}", magnitude % PICO_PER_UNIT.unsigned_abs());
        format!("{sign}{whole}.{}", &fraction[..(decimals as usize).min(PICO_DIGITS)])
    }
}

impl FromStr for Pico {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse_decimal(text, PICO_DIGITS).map(Self)
    }
}

impl Pico {
    /// Its text, where no place on the heap is wanted for it. From its end, and without the machinery of `format!`: amounts are
    /// written some times a request.
    pub fn text(self) -> PicoText {
        let magnitude = self.0.unsigned_abs();
        // Of all amounts but the very largest; 128 bits are slow to divide.
        let (mut whole, mut fraction) = match u64::try_from(magnitude) {
            Ok(magnitude) => (u128::from(magnitude / PICO_PER_UNIT as u64), magnitude % PICO_PER_UNIT as u64),
            Err(_) => (magnitude / PICO_PER_UNIT.unsigned_abs(), (magnitude % PICO_PER_UNIT.unsigned_abs()) as u64),
        };
        let mut text = [0; TEXT_BYTES];
        let mut at = TEXT_BYTES;
        let mut put = |byte: u8| {
            at -= 1;
            text[at] = byte;
        };
        if fraction > 0 {
            let mut digits = PICO_DIGITS;
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                digits -= 1;
            }
            for _ in 0..digits {
                put(b'0' + (fraction % 10) as u8);
                fraction /= 10;
            }
            put(b'.');
        }
        while u64::try_from(whole).is_err() {
            put(b'0' + (whole % 10) as u8);
            whole /= 10;
        }
        let mut whole = whole as u64;
        loop {
            put(b'0' + (whole % 10) as u8);
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        if self.0 < 0 {
            put(b'-');
        }
        PicoText { bytes: text, start: at }
    }
}

impl PicoText {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl Deref for PicoText {
    type Target = str;

    fn deref(&self) -> &str {
        // A sign, a point and digits.
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

impl fmt::Display for Pico {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl UnitPrice {
    pub const ZERO: Self = Self(0);

    /// `pico` pico-units for one unit; `None` if negative.
    pub const fn new(pico: i64) -> Option<Self> {
        if pico < 0 { None } else { Some(Self(pico)) }
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads a price as people write it: money per million units, decimal text.
    pub fn parse_per_million(text: &str) -> Result<Self, MoneyError> {
        let pico = parse_decimal(text, PER_MILLION_DIGITS)?;
        if pico < 0 {
            return Err(MoneyError::NegativePrice(text.to_owned()));
        }
        i64::try_from(pico).map(Self).map_err(|_| MoneyError::OutOfRange(text.to_owned()))
    }

    /// The price as people write it, without trailing zeros: `"0.15"`.
    pub fn to_per_million(self) -> String {
        // One pico a unit is a millionth of a major unit per million: the same digits, six places apart.
        Pico(i128::from(self.0) * 1_000_000).to_string()
    }

    /// The exact price of `units`.
    pub fn checked_mul(self, units: u64) -> Option<Pico> {
        i128::from(self.0).checked_mul(i128::from(units)).map(Pico)
    }
}

impl Currency {
    pub const USD: Self = Self(*b"USD");

    pub fn as_str(&self) -> &str {
        // Only capital ASCII letters get in.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Decimals of the currency's minor unit (ISO 4217 exponent).
    pub fn decimals(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX" | b"UYI"
            | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(MoneyError::Currency(text.to_owned())),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! serde_as_text {
    ($($name:ident: $expected:literal),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_parsed(deserializer, $expected)
            }
        }
    )*};
}

serde_as_text!(Pico: "a decimal amount as text", Currency: "a currency code");

/// Reads `-?digits[.digits]` into an integer scaled by 10^`digits`.
fn parse_decimal(text: &str, digits: usize) -> Result<i128, MoneyError> {
    let not_decimal = || MoneyError::NotDecimal(text.to_owned());
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || (unsigned.contains('.') && fraction.is_empty()) {
        return Err(not_decimal());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > digits {
        return Err(MoneyError::TooFine { text: text.to_owned(), digits });
    }
    let scaled = format!("{whole}{fraction:0<digits$}");
    let magnitude: i128 = scaled.parse().map_err(|_| MoneyError::OutOfRange(text.to_owned()))?;
    Ok(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_price_per_million_is_a_whole_pico_per_token() {
        for (text, pico) in [("3.00", 3_000_000), ("0.15", 150_000), ("0", 0), ("0.000001", 1), ("15", 15_000_000)] {
            assert_eq!(UnitPrice::parse_per_million(text).unwrap().get(), pico, "{text}");
        }
        assert_eq!(UnitPrice::parse_per_million("0.150").unwrap().to_per_million(), "0.15");
    }

    #[test]
    fn what_cannot_be_held_exactly_is_refused() {
        assert!(matches!(UnitPrice::parse_per_million("0.0000001"), Err(MoneyError::TooFine { .. })));
        assert!(matches!(UnitPrice::parse_per_million("-1"), Err(MoneyError::NegativePrice(_))));
        for text in ["", ".", "1.", ".5", "1,5", "1e3", "+1", "--1", "1.2.3", " 1"] {
            assert!(matches!(text.parse::<Pico>(), Err(MoneyError::NotDecimal(_))), "{text}");
        }
        assert!(matches!("9".repeat(60).parse::<Pico>(), Err(MoneyError::OutOfRange(_))));
    }

    #[test]
    fn an_invoice_total_rounds_half_to_even() {
        for (text, cents) in [("0.005", "0.00"), ("0.015", "0.02"), ("0.0151", "0.02"), ("-0.005", "0.00"), ("-0.015", "-0.02")] {
            assert_eq!(text.parse::<Pico>().unwrap().to_fixed(2), cents, "{text}");
        }
        assert_eq!("1234.5".parse::<Pico>().unwrap().to_fixed(0), "1234");
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!("USD".parse(), Ok(Currency::USD));
        assert!("usd".parse::<Currency>().is_err());
        assert!("US".parse::<Currency>().is_err());
        assert_eq!("JPY".parse::<Currency>().unwrap().decimals(), 0);
    }

    proptest! {
        #[test]
        fn an_amount_reads_back_from_its_text(wide in -i128::MAX..=i128::MAX, narrow in any::<i64>(), is_wide in any::<bool>()) {
            let amount = Pico::new(if is_wide { wide } else { narrow.into() });
            prop_assert_eq!(amount.to_string().parse::<Pico>(), Ok(amount));
        }

        #[test]
        fn a_price_reads_back_from_its_text(pico in 0..i64::MAX) {
            let price = UnitPrice::new(pico).unwrap();
            prop_assert_eq!(UnitPrice::parse_per_million(&price.to_per_million()), Ok(price));
        }
    }
}
