//! What vendors' errors mean for the account that was used, as rows of a table; the rows of each dialect are in its folder.
//!
//! A status alone misleads: the same 429 is a busy minute at one vendor and an empty purse at another, the same 400 a client's
//! mistake or a dead key. So codes, types and the vendor's own phrases are read too, and the first row that fits decides.

use tallygate_types::Timestamp;

use crate::failure::{FailureClass, FailureScope};

/// One row: all that is given must fit; an empty list fits anything.
pub(crate) struct Row {
    pub statuses: &'static [u16],
    /// The error's code or type.
    pub codes: &'static [&'static str],
    /// Lower case; any of them in the message.
    pub texts: &'static [&'static str],
    pub class: FailureClass,
    pub scope: FailureScope,
}

/// An upstream's error, as far as rows look at it.
pub(crate) struct Said<'a> {
    pub status: u16,
    pub code: &'a str,
    pub kind: &'a str,
    pub message: &'a str,
}

impl Row {
    pub const fn of(class: FailureClass) -> Self {
        Self { statuses: &[], codes: &[], texts: &[], class, scope: FailureScope::Account }
    }

    pub const fn statuses(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    pub const fn codes(self, codes: &'static [&'static str]) -> Self {
        Self { codes, ..self }
    }

    pub const fn texts(self, texts: &'static [&'static str]) -> Self {
        Self { texts, ..self }
    }

    pub const fn of_model(self) -> Self {
        Self { scope: FailureScope::Model, ..self }
    }

    fn fits(&self, said: &Said<'_>, message: &str) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&said.status))
            && (self.codes.is_empty() || self.codes.iter().any(|code| *code == said.code || *code == said.kind))
            && (self.texts.is_empty() || self.texts.iter().any(|text| message.contains(text)))
    }
}

/// The first row that fits.
pub(crate) fn find<'a>(rows: &'a [Row], said: &Said<'_>) -> Option<&'a Row> {
    let message = said.message.to_lowercase();
    rows.iter().find(|row| row.fits(said, &message))
}

/// The moment in texts like "You will regain access on 2026-12-01 at 00:00 UTC".
pub(crate) fn date_in(message: &str) -> Option<Timestamp> {
    const LEADS: [&str; 3] = ["regain access on ", "resets on ", "reset on "];
    let at = LEADS.iter().find_map(|lead| message.find(lead).map(|at| at + lead.len()))?;
    let mut words = message[at..].split_whitespace();
    let day = words.next()?.trim_end_matches(['.', ',']);
    let time = words.nth(1).filter(|time| time.contains(':')).unwrap_or("00:00");
    Timestamp::parse(day).or_else(|| Timestamp::parse(&format!("{day}T{}:00Z", time.trim_end_matches(['.', ',']))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_on_which_access_returns_is_read() {
        let at = |text| Timestamp::parse(text);
        for (text, moment) in [
            ("You will regain access on 2026-12-01 at 00:00 UTC.", at("2026-12-01T00:00:00Z")),
            ("You will regain access on 2026-12-01 at 07:30 UTC", at("2026-12-01T07:30:00Z")),
            ("The limit resets on 2026-12-01.", at("2026-12-01T00:00:00Z")),
            ("It resets on 2026-12-01T05:00:00Z", at("2026-12-01T05:00:00Z")),
            ("You will regain access on Monday", None),
            ("You will regain access on ", None),
        ] {
            assert_eq!(date_in(text), moment, "{text}");
        }
    }
}
