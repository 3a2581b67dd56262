//! Outbound proxies in their column: a URL with a password is sealed, and shown with the password masked.
//!
//! The column holds either the URL itself, or `MASKED sealed:HEX`, so that reading a list opens nothing.

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::{StoreError, Tx, check};

const SEALED: &str = " sealed:";
const MASK: &str = "***";

/// What a reader may see of the column.
pub(crate) fn shown(column: Option<String>) -> Option<String> {
    column.map(|text| match text.split_once(SEALED) {
        Some((masked, _)) => masked.to_owned(),
        None => text,
    })
}

/// The column for a proxy as the caller wrote it. The masked text of what is stored already leaves it as it is.
pub(crate) fn column(
    tx: &Tx,
    table: &str,
    row: Uuid,
    wanted: Option<&str>,
    stored: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let Some(wanted) = wanted else { return Ok(None) };
    if let Some((masked, _)) = stored.and_then(|stored| stored.split_once(SEALED))
        && masked == wanted
    {
        return Ok(stored.map(str::to_owned));
    }
    let mut url = check::proxy(wanted)?;
    if url.password().is_none() {
        return Ok(Some(wanted.to_owned()));
    }
    if url.password() == Some(MASK) {
        return Err(StoreError::invalid("proxy", "holds a masked password; write the password itself"));
    }
    let sealed = hex::encode(tx.seal(table, row, wanted)?);
    url.set_password(Some(MASK)).map_err(|()| StoreError::invalid("proxy", "cannot hold a password"))?;
    Ok(Some(format!("{}{SEALED}{sealed}", url.as_str().trim_end_matches('/'))))
}

/// The URL to connect by.
pub(crate) fn open(tx: &Tx, table: &'static str, row: Uuid, column: Option<String>) -> Result<Option<String>, StoreError> {
    match column.as_deref().and_then(|text| text.split_once(SEALED)) {
        None => Ok(column),
        Some((_, sealed)) => {
            let sealed = hex::decode(sealed).map_err(|e| StoreError::corrupt(table, e))?;
            Ok(Some(tx.open(table, row, &sealed)?.expose_secret().to_owned()))
        }
    }
}
