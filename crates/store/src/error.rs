//! What can go wrong between a caller and the database, said so that the caller can act on it.

use std::path::PathBuf;

/// A failed operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such row, or one the caller's [`TenantScope`](crate::TenantScope) does not reach: the two look the same on purpose.
    #[error("there is no {kind} `{id}`")]
    NotFound { kind: &'static str, id: String },
    #[error("a {kind} with this {field} exists already: `{value}`")]
    AlreadyExists { kind: &'static str, field: &'static str, value: String },
    /// The row changed since the caller read it; `current` is its version now.
    #[error("the {kind} was changed by someone else; its version is now {current}")]
    VersionMismatch { kind: &'static str, current: i64 },
    /// `by` names what still uses it: `"2 models (smart, fast)"`.
    #[error("the {kind} is in use by {by}")]
    InUse { kind: &'static str, by: String },
    #[error("{field}: {reason}")]
    Invalid { field: &'static str, reason: String },
    #[error("the setup token is unknown, used or older than {minutes} minutes; make a new one with `tallygate setup-token`")]
    SetupToken { minutes: u64 },
    /// The database cannot be reached or did not answer in time. The caller may try again.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    #[error("`{}` is in use by another process, which holds the lock file `{}`; stop it, or give this one another database", database.display(), lock.display())]
    Locked { database: PathBuf, lock: PathBuf },
    #[error("store.url: {0}")]
    Url(String),
    #[error("secrets of the installation: {0}")]
    Secrets(String),
    /// The schema is not the one this build was made for; it refuses to work on it.
    #[error("database schema: {0}")]
    Schema(String),
    /// A stored value that no version of this crate writes.
    #[error("{table}: {reason}")]
    Corrupt { table: &'static str, reason: String },
    #[error("database: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Whether the values written are at fault, so that the same row fails for ever while others go through. Everything else
    /// (a read-only database, a lost permission or table, a broken connection) is the database's own state, and passes.
    pub fn is_about_the_row(&self) -> bool {
        match self {
            Self::Invalid { .. } => true,
            Self::Database(cause) => match cause.downcast_ref::<sqlx::Error>() {
                Some(sqlx::Error::Encode(_)) => true,
                Some(sqlx::Error::Database(database)) => database.code().is_some_and(|code| blames_values(&code)),
                _ => false,
            },
            _ => false,
        }
    }

    pub(crate) fn not_found(kind: &'static str, id: impl ToString) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    pub(crate) fn corrupt(table: &'static str, reason: impl ToString) -> Self {
        Self::Corrupt { table, reason: reason.to_string() }
    }

    /// Names the field of a unique-index violation; the needle is part of the index's or the column's name.
    pub(crate) fn unique(error: sqlx::Error, kind: &'static str, fields: &[(&'static str, &'static str, &str)]) -> Self {
        if let sqlx::Error::Database(database) = &error
            && database.is_unique_violation()
        {
            // PostgreSQL names the index, SQLite the columns.
            let said = database.constraint().map_or_else(|| database.message().to_owned(), str::to_owned);
            if let Some((_, field, value)) = fields.iter().find(|(needle, ..)| said.contains(needle)) {
                return Self::AlreadyExists { kind, field, value: (*value).to_owned() };
            }
        }
        error.into()
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error.to_string())
            }
            // PostgreSQL holds no NUL in text; SQLite would, so that a row could not move from one to the other.
            sqlx::Error::Database(database) if database.code().is_some_and(|code| code == "22021") => {
                Self::invalid("text", "must not contain the NUL character")
            }
            sqlx::Error::Database(database) if database.code().is_some_and(|code| is_passing(&code)) => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Database(Box::new(error)),
        }
    }
}

/// Characters of every SQLSTATE; SQLite's codes are shorter numbers.
const SQLSTATE_CHARS: usize = 5;

/// Whether an error code of either engine is about its state of the moment, not about the statement.
fn is_passing(code: &str) -> bool {
    if code.len() == SQLSTATE_CHARS {
        // Connection; resources; intervention (shutdown, starting up, cancelled by a timeout); serialization, deadlock.
        return ["08", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "40001" || code == "40P01";
    }
    // SQLite: BUSY, LOCKED, IOERR, FULL, CANTOPEN; the low byte of an extended code.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14))
}

/// Whether an error code of either engine is about the values of a row. Not a unique conflict: that is about another row.
fn blames_values(code: &str) -> bool {
    /// CONSTRAINT_PRIMARYKEY, CONSTRAINT_UNIQUE, CONSTRAINT_ROWID.
    const SQLITE_UNIQUE: [u32; 3] = [1555, 2067, 2579];
    if code.len() == SQLSTATE_CHARS {
        // Data exception; integrity constraint violation.
        return (code.starts_with("22") || code.starts_with("23")) && code != "23505";
    }
    // SQLite: TOOBIG, CONSTRAINT, MISMATCH.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20) && !SQLITE_UNIQUE.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for code in ["08006", "53300", "57P01", "57P03", "57014", "40001", "40P01", "5", "517", "6", "266", "13", "14"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["23505", "42P01", "22021", "19", "2067", "1", ""] {
            assert!(!is_passing(code), "{code}");
        }
    }

    #[test]
    fn only_what_is_about_the_values_is_the_rows_fault() {
        for code in ["22003", "22P02", "23502", "23514", "18", "19", "275", "1299", "3091", "20"] {
            assert!(blames_values(code), "{code}");
        }
        for code in ["25006", "28P01", "28000", "42501", "42P01", "55P03", "58030", "XX000", "23505", "40001", "57014"] {
            assert!(!blames_values(code), "{code}");
        }
        for code in ["1", "5", "7", "8", "264", "10", "11", "13", "26", "1555", "2067", ""] {
            assert!(!blames_values(code), "{code}");
        }
        assert!(StoreError::invalid("charge", "too much").is_about_the_row());
        assert!(StoreError::from(sqlx::Error::Encode("out of range".into())).is_about_the_row());
        for error in [sqlx::Error::Protocol("?".into()), sqlx::Error::Tls("?".into()), sqlx::Error::PoolTimedOut] {
            assert!(!StoreError::from(error).is_about_the_row());
        }
    }

    #[test]
    fn an_error_keeps_its_cause() {
        let error = StoreError::from(sqlx::Error::RowNotFound);
        assert!(std::error::Error::source(&error).is_some() && matches!(error, StoreError::Database(_)));
        assert!(matches!(StoreError::from(sqlx::Error::PoolTimedOut), StoreError::Unavailable(_)));
    }
}
