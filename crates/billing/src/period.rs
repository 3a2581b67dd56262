//! Calendar months in a tenant's time zone, as half-open spans of instants.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};
use serde::Serialize;
use tallygate_types::Timestamp;

/// From `start` inclusive to `end` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Period {
    pub start: Timestamp,
    pub end: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    #[error("`{0}` is not a month; write year and month, such as `2026-11`")]
    NotAMonth(String),
    #[error("`{0}` is not a time zone; write an IANA name, such as `Europe/Berlin`")]
    Zone(String),
    #[error("the time is out of range")]
    OutOfRange,
}

impl Period {
    /// The month that `at` falls in.
    pub fn month_of(at: Timestamp, zone: &str) -> Result<Self, PeriodError> {
        let zone = time_zone(zone)?;
        let first = at.to_jiff().ok_or(PeriodError::OutOfRange)?.to_zoned(zone.clone()).date().first_of_month();
        Self::between(first, 1.month(), &zone)
    }

    /// The month written as `2026-11`.
    pub fn month(text: &str, zone: &str) -> Result<Self, PeriodError> {
        let not_a_month = || PeriodError::NotAMonth(text.to_owned());
        let (year, month) = text.split_once('-').filter(|(y, m)| y.len() == 4 && m.len() == 2).ok_or_else(not_a_month)?;
        let number = |part: &str| part.parse::<u16>().ok().filter(|n| *n > 0 && !part.starts_with('+'));
        let (year, month) = number(year).zip(number(month)).ok_or_else(not_a_month)?;
        let first = Date::new(year as i16, month as i8, 1).map_err(|_| not_a_month())?;
        Self::between(first, 1.month(), &time_zone(zone)?)
    }

    /// The day that `at` falls in.
    pub fn day_of(at: Timestamp, zone: &TimeZone) -> Result<Self, PeriodError> {
        let day = at.to_jiff().ok_or(PeriodError::OutOfRange)?.to_zoned(zone.clone()).date();
        Self::between(day, 1.day(), zone)
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    fn between(first: Date, length: Span, zone: &TimeZone) -> Result<Self, PeriodError> {
        let next = first.checked_add(length).map_err(|_| PeriodError::OutOfRange)?;
        Ok(Self { start: start_of(first, zone)?, end: start_of(next, zone)? })
    }
}

/// The first instant of a day: not always midnight, which some zones skip when their summer begins.
fn start_of(day: Date, zone: &TimeZone) -> Result<Timestamp, PeriodError> {
    let start = day.to_zoned(zone.clone()).and_then(|zoned| zoned.start_of_day()).map_err(|_| PeriodError::OutOfRange)?;
    Ok(Timestamp::from_micros(start.timestamp().as_microsecond()))
}

pub(crate) fn time_zone(name: &str) -> Result<TimeZone, PeriodError> {
    TimeZone::get(name).map_err(|_| PeriodError::Zone(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(period: Result<Period, PeriodError>) -> (String, String) {
        let period = period.unwrap();
        (period.start.to_string(), period.end.to_string())
    }

    #[test]
    fn a_month_begins_and_ends_at_the_tenants_midnight() {
        for (month, zone, start, end) in [
            ("2026-11", "UTC", "2026-11-01T00:00:00.000000Z", "2026-12-01T00:00:00.000000Z"),
            // Summer time ends within it: 745 hours.
            ("2026-10", "Europe/Berlin", "2026-09-30T22:00:00.000000Z", "2026-10-31T23:00:00.000000Z"),
            ("2026-03", "America/New_York", "2026-03-01T05:00:00.000000Z", "2026-04-01T04:00:00.000000Z"),
            ("2026-02", "Asia/Kolkata", "2026-01-31T18:30:00.000000Z", "2026-02-28T18:30:00.000000Z"),
            ("2026-12", "Pacific/Auckland", "2026-11-30T11:00:00.000000Z", "2026-12-31T11:00:00.000000Z"),
        ] {
            assert_eq!(text(Period::month(month, zone)), (start.into(), end.into()), "{month} {zone}");
        }
    }

    #[test]
    fn an_instant_falls_in_the_month_of_its_zone() {
        let at = Timestamp::parse("2026-10-31T23:30:00Z").unwrap();
        assert_eq!(Period::month_of(at, "UTC"), Period::month("2026-10", "UTC"));
        assert_eq!(Period::month_of(at, "Europe/Berlin"), Period::month("2026-11", "Europe/Berlin"));
        let period = Period::month_of(at, "UTC").unwrap();
        assert!(period.contains(period.start) && !period.contains(period.end));
    }

    #[test]
    fn what_is_no_month_or_zone_is_said() {
        for text in ["2026", "2026-13", "2026-00", "26-11", "2026-11-01", "2026-+1", "November"] {
            assert_eq!(Period::month(text, "UTC"), Err(PeriodError::NotAMonth(text.into())), "{text}");
        }
        assert_eq!(Period::month("2026-11", "Mars/Base"), Err(PeriodError::Zone("Mars/Base".into())));
    }
}
