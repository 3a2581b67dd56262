//! Rows as the JSON they are kept in, written as they come.

use std::io::{self, Write};

use serde::Serialize;

use crate::StoreError;
use crate::rows::{KeyRow, Rest, Sink, TenantRow};

/// Writes what [`crate::Rows`] reads: `{"tenants":[…],"keys":[…],"version":1,…}`.
pub(crate) struct RowsText<W> {
    out: W,
    place: Place,
}

/// Where in the text the next row goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Tenants,
    Keys,
}

impl<W: Write> RowsText<W> {
    pub const fn new(out: W) -> Self {
        Self { out, place: Place::Start }
    }

    pub fn finish(mut self, rest: &Rest) -> Result<(), StoreError> {
        self.go_to(Place::Keys).map_err(said)?;
        // The opening brace of what remains stands where a comma belongs.
        let text = serde_json::to_string(rest).map_err(|error| said(error.into()))?;
        write!(self.out, "],{}", text.trim_start_matches('{')).map_err(said)
    }

    /// True if a row of this kind is there already.
    fn go_to(&mut self, place: Place) -> io::Result<bool> {
        if self.place == place {
            return Ok(true);
        }
        if self.place == Place::Start {
            self.out.write_all(br#"{"tenants":["#)?;
        }
        if place == Place::Keys {
            self.out.write_all(br#"],"keys":["#)?;
        }
        self.place = place;
        Ok(false)
    }

    fn row(&mut self, place: Place, row: &impl Serialize) -> io::Result<()> {
        if self.go_to(place)? {
            self.out.write_all(b",")?;
        }
        Ok(serde_json::to_writer(&mut self.out, row)?)
    }
}

impl<W: Write + Send> Sink for RowsText<W> {
    fn tenant(&mut self, row: TenantRow) -> Result<(), StoreError> {
        self.row(Place::Tenants, &row).map_err(said)
    }

    fn key(&mut self, row: KeyRow) -> Result<(), StoreError> {
        self.row(Place::Keys, &row).map_err(said)
    }
}

fn said(error: io::Error) -> StoreError {
    StoreError::Unavailable(format!("the copy of the configuration: {error}"))
}
