//! The last good configuration on the local disk, for a start while the database is away.
//!
//! One file beside the usage journal, replaced whole: a line that says the version and the digest of what follows, then the
//! rows and prices as JSON. Secrets in it are sealed and keys are digests; it is of no use without the installation's secrets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use serde::Deserialize;
use tallygate_billing::{PriceVersion, prices};
use tallygate_store::{Rows, Store};

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

impl LastGood {
    pub fn beside(journal: &Path) -> Self {
        Self { path: journal.join(FILE) }
    }

    /// Replaces the file by what `fill` writes; `fill` says which version that is. Blocks on the disk.
    pub fn write(&self, fill: impl FnOnce(&mut Body) -> Result<i64>) -> Result<i64> {
        let new = self.path.with_extension("new");
        // One left behind may have another mode.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new)?;
        // What the first line says is known at the end only.
        file.write_all(first_line(0, &[0; SHA256_OUTPUT_LEN]).as_bytes())?;
        let mut body = BufWriter::new(Digested { file, digest: Context::new(&SHA256) });
        let version = fill(&mut body)?;
        let Digested { mut file, digest } = body.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        file.write_all(first_line(version, digest.finish().as_ref()).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
        Ok(version)
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

/// What follows the first line.
pub type Body = BufWriter<Digested>;

/// The new file, and the digest of what was written to it.
pub struct Digested {
    file: File,
    digest: Context,
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Of the same length for every version.
fn first_line(version: i64, digest: &[u8]) -> String {
    format!("{FORMAT} {version:020} {}\n", hex::encode(digest))
}

/// Copies the configuration as it stands in the database, a row at a time; its version.
pub async fn copy(store: &Store, out: &mut Body) -> Result<i64> {
    out.write_all(br#"{"rows":"#)?;
    let version = store.copy_rows(&mut *out).await?;
    out.write_all(br#","prices":"#)?;
    serde_json::to_writer(&mut *out, &prices::list(store, None).await?)?;
    out.write_all(b"}")?;
    Ok(version)
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
        for _ in 0..2 {
            let written = kept.write(|out| {
                out.write_all(body)?;
                Ok(7)
            });
            assert_eq!(written.unwrap(), 7);
        }
        assert!(kept.write(|_| bail!("the database is away")).is_err());
        assert_eq!(kept.read().unwrap().rows.version(), 7);
        fs::remove_file(folder.path().join("last-good.new")).unwrap();
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
