//! What a translation could not say exactly.

use std::fmt;

/// How a field came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The nearest equivalent was sent.
    Approximated,
    /// Not sent; harmless to lose.
    Dropped,
    /// Not sent, and the request is refused for it.
    Rejected,
}

/// One field of the client's request (dotted path in the client's dialect) that did not come through exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pub field: String,
    pub verdict: Verdict,
    pub detail: String,
}

/// All losses of one translation, in the order they were met. `Display` is the value of the `x-tallygate-loss` header:
/// `dropped=seed,logit_bias; approximated=temperature`, ASCII, at most [`LossReport::HEADER_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LossReport {
    pub items: Vec<Loss>,
}

impl LossReport {
    /// Bound of the header value, in bytes.
    pub const HEADER_BYTES: usize = 1024;
    /// Bound of the report, in items: a hostile request may carry any number of unknown fields.
    pub const MAX_ITEMS: usize = 128;

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn dropped(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.add(field.into(), Verdict::Dropped, detail.into());
    }

    pub fn approximated(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.add(field.into(), Verdict::Approximated, detail.into());
    }

    pub fn rejected(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.add(field.into(), Verdict::Rejected, detail.into());
    }

    /// The same field with the same verdict is noted once.
    fn add(&mut self, field: String, verdict: Verdict, detail: String) {
        let is_known = self.items.iter().any(|item| item.verdict == verdict && item.field == field);
        if !is_known && self.items.len() < Self::MAX_ITEMS {
            self.items.push(Loss { field, verdict, detail });
        }
    }
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approximated => "approximated",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for LossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for verdict in [Verdict::Rejected, Verdict::Dropped, Verdict::Approximated] {
            let mut fields = self.items.iter().filter(|item| item.verdict == verdict).map(|item| item.field.as_str()).peekable();
            if fields.peek().is_none() {
                continue;
            }
            text.push_str(if text.is_empty() { "" } else { "; " });
            text.push_str(verdict.as_str());
            for (position, field) in fields.enumerate() {
                text.push(if position == 0 { '=' } else { ',' });
                // A field name comes from the client: only what a header value may hold, and no separator of ours.
                text.extend(field.chars().map(|c| if c.is_ascii_graphic() && c != ',' && c != ';' { c } else { '_' }));
                if text.len() > Self::HEADER_BYTES {
                    text.truncate(Self::HEADER_BYTES - 3);
                    return write!(f, "{text}...");
                }
            }
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_groups_fields_by_verdict_and_says_each_once() {
        let mut loss = LossReport::default();
        loss.dropped("seed", "no equivalent");
        loss.approximated("temperature", "clamped to 1");
        loss.dropped("logit_bias", "no equivalent");
        loss.dropped("seed", "again");
        assert_eq!(loss.to_string(), "dropped=seed,logit_bias; approximated=temperature");
    }

    #[test]
    fn hostile_field_names_stay_inside_the_header() {
        let mut loss = LossReport::default();
        loss.dropped("a\r\nb;c,é", "");
        assert_eq!(loss.to_string(), "dropped=a__b_c__");
        for i in 0..1000 {
            loss.dropped(format!("{i}{}", "x".repeat(90)), "");
        }
        assert_eq!(loss.items.len(), LossReport::MAX_ITEMS);
        assert_eq!(loss.to_string().len(), LossReport::HEADER_BYTES);
    }
}
