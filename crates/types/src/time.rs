//! Points in time, and the clocks that give them.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};

use crate::text::deserialize_parsed;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Bytes of `2026-11-22T09:30:00.123456Z`.
const TEXT_BYTES: usize = 27;

/// Microseconds since the Unix epoch, UTC. Its text is RFC 3339 (`2026-11-22T09:30:00.123456Z`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// The text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time")]
pub struct NotATime(String);

/// A point in time and its monotonic twin, for durations.
pub type Moment = (Timestamp, Instant);

/// Gives the time. The data plane and billing ask a `Clock`, so that tests can set it.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Both of one reading, where a clock can tell one from the other.
    fn moment(&self) -> Moment {
        (self.now(), Instant::now())
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Timestamp {
    pub const UNIX_EPOCH: Self = Self(0);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_microsecond()))
    }

    /// The date of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        jiff::fmt::rfc2822::parse(text).ok().map(|zoned| Self(zoned.timestamp().as_microsecond()))
    }

    /// The text of the years 0 to 9999, by hand: times are written some ten times a request, and the general way takes ten
    /// times as long.
    pub fn text(self) -> Option<[u8; TEXT_BYTES]> {
        let (seconds, micros) = (self.seconds(), self.0.rem_euclid(MICROS_PER_SECOND));
        let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
        if !(0..=9999).contains(&year) {
            return None;
        }
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        put(&mut text[..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], of_day / 3_600);
        put(&mut text[14..16], of_day / 60 % 60);
        put(&mut text[17..19], of_day % 60);
        put(&mut text[20..26], micros);
        Some(text)
    }

    /// For calendar arithmetic; `None` outside the years −9999 to 9999.
    pub fn to_jiff(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(self.0).ok()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::UNIX_EPOCH.saturating_add(since_epoch)
    }
}

impl ManualClock {
    pub const fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Writes `number` in decimal over the whole of `digits`.
fn put(digits: &mut [u8], number: i64) {
    // It has six digits at most, and in 32 bits they come apart faster.
    let mut number = number as u32;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day since the epoch, in the proleptic Gregorian calendar. The calendar is taken to begin with
/// March, so that a leap day is the last day of a year (Howard Hinnant, `civil_from_days`).
const fn civil(day: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    /// From 1 March of year 0 to the epoch.
    const EPOCH: i64 = 719_468;
    let shifted = day + EPOCH;
    let (era, of_era) = (shifted.div_euclid(DAYS_PER_ERA), shifted.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_year - (153 * month_from_march + 2) / 5 + 1)
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        Self::parse(text).ok_or_else(|| NotATime(text.to_owned()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.text() {
            return f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?);
        }
        match self.to_jiff() {
            Some(timestamp) => write!(f, "{timestamp:.6}"),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.text() {
            Some(text) => serializer.serialize_str(std::str::from_utf8(&text).map_err(S::Error::custom)?),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_parsed(deserializer, "an RFC 3339 time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_read() {
        let read = |text| Timestamp::parse_http_date(text).map(Timestamp::seconds);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(read("in a while"), None);
    }

    #[test]
    fn a_timestamp_reads_back_from_rfc_3339() {
        let at = Timestamp::parse("2026-11-22T09:30:00.000001Z").unwrap();
        assert_eq!(at.to_string(), "2026-11-22T09:30:00.000001Z");
        assert_eq!(Timestamp::parse("2026-11-22T10:30:00.000001+01:00"), Some(at));
    }

    #[test]
    fn the_text_written_by_hand_is_the_librarys() {
        let days = [-719_468, -719_163, -1, 0, 58, 59, 365, 789, 11_016, 11_017, 20_779, 47_540, 2_900_000];
        for micros in
            days.into_iter().flat_map(|day| [0, 1, 59_999_999, 86_399_999_999].map(|of_day| day * 86_400_000_000 + of_day))
        {
            let at = Timestamp::from_micros(micros);
            assert_eq!(at.to_string(), format!("{:.6}", at.to_jiff().unwrap()), "{micros}");
            assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        }
    }

    #[test]
    fn time_never_runs_backwards_in_a_difference() {
        let clock = ManualClock::new(Timestamp::from_micros(5));
        clock.advance(Duration::from_micros(10));
        assert_eq!(clock.now().since(Timestamp::from_micros(5)), Duration::from_micros(10));
        assert_eq!(Timestamp::from_micros(5).since(clock.now()), Duration::ZERO);
    }
}
