//! A WHERE clause grown from the filters that are set, for queries that run on both engines.

use std::borrow::Cow;

use tallygate_store::DbTime;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub enum Bind {
    Uuid(Uuid),
    Text(String),
    Time(DbTime),
    Int(i64),
}

/// Conditions joined by AND and the values they compare with. Only literals of this crate become SQL text.
#[derive(Debug, Default)]
pub struct Filter {
    text: String,
    pub binds: Vec<Bind>,
}

impl Filter {
    /// Adds `condition`, in which each `?` stands for the next of `binds`.
    pub fn and(&mut self, condition: &'static str, binds: impl IntoIterator<Item = Bind>) {
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.binds.extend(binds);
        let first = self.binds.len() + 1 - condition.matches('?').count();
        for (n, part) in condition.split('?').enumerate() {
            if n > 0 {
                self.text.push('$');
                self.text.push_str(&(first + n - 1).to_string());
            }
            self.text.push_str(part);
        }
    }

    pub fn and_uuid(&mut self, condition: &'static str, value: Option<Uuid>) {
        if let Some(value) = value {
            self.and(condition, [Bind::Uuid(value)]);
        }
    }

    pub fn and_text(&mut self, condition: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.and(condition, [Bind::Text(value.to_owned())]);
        }
    }

    pub fn and_time(&mut self, condition: &'static str, value: Option<tallygate_types::Timestamp>) {
        if let Some(value) = value {
            self.and(condition, [Bind::Time(DbTime(value))]);
        }
    }

    pub fn sql(&self) -> &str {
        &self.text
    }

    /// The placeholder of one more value.
    pub fn push(&mut self, value: Bind) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }
}

/// Binds a filter's values to a query, in order.
macro_rules! bind_all {
    ($query:expr, $filter:expr) => {{
        let mut query = $query;
        for bind in &$filter.binds {
            query = match bind {
                $crate::sql::Bind::Uuid(value) => query.bind(*value),
                $crate::sql::Bind::Text(value) => query.bind(value.clone()),
                $crate::sql::Bind::Time(value) => query.bind(*value),
                $crate::sql::Bind::Int(value) => query.bind(*value),
            };
        }
        query
    }};
}
pub(crate) use bind_all;

/// Text as PostgreSQL takes it, which holds no NUL.
pub fn clean(text: &str) -> Cow<'_, str> {
    match memchr::memchr(0, text.as_bytes()) {
        Some(_) => Cow::Owned(text.replace('\0', "\u{FFFD}")),
        None => Cow::Borrowed(text),
    }
}

/// Counts as the databases store them.
pub fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Counts as they were stored; they are never negative.
pub fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_across_conditions() {
        let mut filter = Filter::default();
        filter.and_text("outcome = ?", Some("ok"));
        filter.and_text("model = ?", None);
        filter.and("(a, b) < (?, ?)", [Bind::Int(1), Bind::Int(2)]);
        filter.and("error_code IS NULL", []);
        assert_eq!(filter.sql(), " WHERE outcome = $1 AND (a, b) < ($2, $3) AND error_code IS NULL");
        assert_eq!(filter.push(Bind::Int(9)), "$4");
    }
}
