//! The last good configuration on the local disk, for a start while the database is away.
//!
//! One file beside the usage journal, replaced whole: a line that says the version and the digest of what follows, then the
//! rows and prices as JSON. Secrets in it are sealed and keys are digests; it is of no use without the installation's secrets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tallygate_billing::PriceVersion;
use tallygate_store::Rows;

const FILE: &str = "last-good.json";
/// Changes when a file of an older build could be misread.
const FORMAT: &str = "tallygate-last-good-1";
const MODE: u32 = 0o600;

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct LastGood {
    path: PathBuf,
}

/// What is kept.
#[derive(Deserialize)]
pub struct Kept {
    pub rows: Rows,
    pub prices: Vec<PriceVersion>,
}

#[derive(Serialize)]
struct Keeping<'a> {
    rows: &'a Rows,
    prices: &'a [PriceVersion],
}

impl LastGood {
    pub fn beside(journal: &Path) -> Self {
        Self { path: journal.join(FILE) }
    }

    /// The bytes of the file.
    pub fn text(rows: &Rows, prices: &[PriceVersion]) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec(&Keeping { rows, prices })?;
        let mut text = format!("{FORMAT} {} {}\n", rows.version(), hex::encode(digest(&SHA256, &body))).into_bytes();
        text.extend(body);
        Ok(text)
    }

    /// Replaces the file. Blocks on the disk.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        let new = self.path.with_extension("new");
        // One left behind may have another mode.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    pub fn read(&self) -> Result<Kept> {
        let text = fs::read(&self.path).with_context(|| format!("`{}`", self.path.display()))?;
        let end = text.iter().position(|byte| *byte == b'\n').context("the last good configuration has no first line")?;
        let (head, body) = (String::from_utf8_lossy(&text[..end]).into_owned(), &text[end + 1..]);
        let mut words = head.split(' ');
        if words.next() != Some(FORMAT) {
            bail!("the last good configuration was kept by another version of tallygate");
        }
        if words.nth(1) != Some(hex::encode(digest(&SHA256, body)).as_str()) {
            bail!("the last good configuration is damaged: its digest does not match");
        }
        serde_json::from_slice(body).context("the last good configuration cannot be read")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_kept_is_private_replaced_whole_and_refused_if_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let kept = LastGood::beside(folder.path());
        assert!(kept.read().is_err_and(|error| format!("{error:#}").contains("last-good.json")));
        let body = br#"{"rows":{"version":7,"secrets":["a","b"],"tenants":[],"keys":[],"upstreams":[],"credentials":[],"models":[],"aliases":[],"targets":[],"routes":[]},"prices":[]}"#;
        let first: Kept = serde_json::from_slice(body).unwrap();
        for _ in 0..2 {
            kept.write(&LastGood::text(&first.rows, &first.prices).unwrap()).unwrap();
        }
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(kept.read().unwrap().rows.version(), 7);
        let mut text = fs::read(&path).unwrap();
        *text.last_mut().unwrap() = b' ';
        fs::write(&path, &text).unwrap();
        assert!(kept.read().is_err_and(|error| error.to_string().contains("damaged")));
        fs::write(&path, "tallygate-last-good-0 7 x\n{}").unwrap();
        assert!(kept.read().is_err_and(|error| error.to_string().contains("another version")));
    }
}
