//! Lists come in pages, ordered by id (which is order of creation), newest first.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;

/// Rows of a page when the caller does not say.
pub const DEFAULT_PAGE_ROWS: u32 = 50;
/// Rows of a page at most.
pub const MAX_PAGE_ROWS: u32 = 500;

/// One page; `next` is there when more rows follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub next: Option<Cursor>,
}

/// Where a page ended. Opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// Which page is wanted.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    pub after: Option<Cursor>,
    pub limit: Option<u32>,
}

impl Cursor {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cursor {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PageRequest {
    /// Everything up to `limit` rows, from the start.
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit: Some(limit) }
    }

    /// Rows to return: between 1 and [`MAX_PAGE_ROWS`].
    pub fn rows(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE_ROWS).clamp(1, MAX_PAGE_ROWS) as usize
    }

    /// Rows to ask the database for: one more than the page holds shows whether another follows.
    pub fn fetch_rows(&self) -> i64 {
        self.rows() as i64 + 1
    }

    /// The id the page starts below; with newest-first order, the highest there is when none was given.
    pub fn before(&self) -> Result<Uuid, StoreError> {
        match &self.after {
            None => Ok(Uuid::max()),
            Some(cursor) => Uuid::try_parse(&cursor.0)
                .map_err(|_| StoreError::invalid("after", "not a cursor of this list; pass on `next_cursor` as it came")),
        }
    }
}

impl<T> Page<T> {
    /// Cuts the one row too many off and makes a cursor of the last row that stays.
    pub fn cut(mut rows: Vec<T>, page: &PageRequest, cursor: impl FnOnce(&T) -> Cursor) -> Self {
        let more = rows.len() > page.rows();
        rows.truncate(page.rows());
        let next = if more { rows.last().map(cursor) } else { None };
        Self { data: rows, next }
    }

    /// The same, by the id of the last row.
    pub fn by_id(rows: Vec<T>, page: &PageRequest, id: impl FnOnce(&T) -> Uuid) -> Self {
        Self::cut(rows, page, |row| Cursor(id(row).as_simple().to_string()))
    }
}

/// A `LIKE` pattern that finds `text` anywhere, with the wildcards in it meant literally (`ESCAPE '\'`).
pub(crate) fn contains_pattern(text: &str) -> String {
    let escaped = text.to_lowercase().replace('\0', "").replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
    format!("%{escaped}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_whether_more_rows_follow() {
        let request = PageRequest::first(2);
        let cursor = |row: &i32| Cursor::new(row.to_string());
        assert_eq!(Page::cut(vec![1, 2, 3], &request, cursor), Page { data: vec![1, 2], next: Some(Cursor::new("2")) });
        assert_eq!(Page::cut(vec![1, 2], &request, cursor), Page { data: vec![1, 2], next: None });
    }

    #[test]
    fn a_page_is_never_empty_by_request_nor_larger_than_the_bound() {
        assert_eq!(PageRequest::first(0).rows(), 1);
        assert_eq!(PageRequest::first(1_000_000).rows(), 500);
        assert_eq!(PageRequest::default().rows(), 50);
    }

    #[test]
    fn wildcards_in_a_search_are_literal() {
        assert_eq!(contains_pattern(r"50%_A\"), r"%50\%\_a\\%");
    }
}
