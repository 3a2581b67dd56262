//! Outbound proxies in their column: a URL with a password is sealed, and shown with the password masked.
//!
//! The column holds one URL, or a pool as a JSON list of them; where a password is in it, `MASKED sealed:HEX`, so that
//! reading a list opens nothing.

use std::fmt;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::secrets::Sealer;
use crate::{StoreError, Tx, check};

const SEALED: &str = " sealed:";
const MASK: &str = "***";
/// Proxies of one pool at most.
pub const MAX_PROXIES: usize = 16;

/// Outbound proxies, tried in turn; empty is no proxy of one's own. Written as one URL or as a list.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ProxyPool(Vec<String>);

impl ProxyPool {
    pub fn urls(&self) -> &[String] {
        &self.0
    }

    pub fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for ProxyPool {
    fn from(url: &str) -> Self {
        Self(vec![url.to_owned()])
    }
}

impl From<String> for ProxyPool {
    fn from(url: String) -> Self {
        Self(vec![url])
    }
}

impl From<Vec<String>> for ProxyPool {
    fn from(urls: Vec<String>) -> Self {
        Self(urls)
    }
}

/// The URLs may hold passwords: only how many there are is shown.
impl fmt::Debug for ProxyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyPool({})", self.0.len())
    }
}

impl Serialize for ProxyPool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_none(),
            [one] => serializer.serialize_str(one),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ProxyPool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected the URL of a proxy or a list of them")]
        enum OneOrMany {
            None,
            One(String),
            Many(Vec<String>),
        }
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::None => Self::default(),
            OneOrMany::One(url) => Self(vec![url]),
            OneOrMany::Many(urls) => Self(urls),
        })
    }
}

/// What a reader may see of the column.
pub(crate) fn shown(table: &'static str, column: Option<&str>) -> Result<ProxyPool, StoreError> {
    let Some(column) = column else { return Ok(ProxyPool::default()) };
    listed(table, column.split_once(SEALED).map_or(column, |(masked, _)| masked))
}

/// The column for proxies as the caller wrote them. The masked text of one that is stored stands for it.
pub(crate) fn column(
    tx: &Tx,
    table: &'static str,
    row: Uuid,
    wanted: &ProxyPool,
    stored: Option<&str>,
) -> Result<Option<String>, StoreError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    if wanted.0.len() > MAX_PROXIES {
        return Err(StoreError::invalid("proxy", format!("must be at most {MAX_PROXIES} proxies")));
    }
    let known = shown(table, stored)?;
    if known == *wanted {
        return Ok(stored.map(str::to_owned));
    }
    let (mut urls, mut masks) = (Vec::with_capacity(wanted.0.len()), Vec::with_capacity(wanted.0.len()));
    for text in &wanted.0 {
        let mut url = check::proxy(text)?;
        if url.password() == Some(MASK) {
            let place = known.0.iter().position(|mask| mask == text);
            let place =
                place.ok_or_else(|| StoreError::invalid("proxy", "holds a masked password; write the password itself"))?;
            urls.extend(open(tx.sealer(), table, row, stored)?.0.get(place).cloned());
            masks.push(text.clone());
            continue;
        }
        urls.push(text.clone());
        masks.push(if url.password().is_none() {
            text.clone()
        } else {
            url.set_password(Some(MASK)).map_err(|()| StoreError::invalid("proxy", "cannot hold a password"))?;
            url.as_str().trim_end_matches('/').to_owned()
        });
    }
    if urls == masks {
        return written(&urls).map(Some);
    }
    let sealed = hex::encode(tx.seal(table, row, &written(&urls)?)?);
    Ok(Some(format!("{}{SEALED}{sealed}", written(&masks)?)))
}

/// The URLs to connect by.
pub(crate) fn open(sealer: &Sealer, table: &'static str, row: Uuid, column: Option<&str>) -> Result<ProxyPool, StoreError> {
    match column.and_then(|text| text.split_once(SEALED)) {
        None => shown(table, column),
        Some((_, sealed)) => {
            let sealed = hex::decode(sealed).map_err(|e| StoreError::corrupt(table, e))?;
            listed(table, sealer.open(table, row, &sealed)?.expose_secret())
        }
    }
}

/// One URL stands for itself: no URL begins like a list.
fn listed(table: &'static str, text: &str) -> Result<ProxyPool, StoreError> {
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|e| StoreError::corrupt(table, e));
    }
    Ok(ProxyPool(vec![text.to_owned()]))
}

fn written(urls: &[String]) -> Result<String, StoreError> {
    match urls {
        [one] => Ok(one.clone()),
        many => serde_json::to_string(many).map_err(|e| StoreError::invalid("proxy", e.to_string())),
    }
}
