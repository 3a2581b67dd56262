//! The operator's table of model profiles (`[translation] profiles`): read at start, and again whenever the file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use arc_swap::ArcSwap;
use tallygate_adapter::{MAX_PROFILES_BYTES, Profiles};
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The file, and the table as it is now.
pub struct ProfileFile {
    path: Option<PathBuf>,
    seen: Option<Stamp>,
    pub current: Arc<ArcSwap<Profiles>>,
}

/// What tells that a file was written anew.
type Stamp = (SystemTime, u64);

impl ProfileFile {
    /// Reads the file, if there is one; a file that is not understood is an error here.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let (profiles, seen) = match path {
            Some(path) => (Arc::new(read(path)?), stamp(path).ok()),
            None => (Arc::clone(Profiles::builtin()), None),
        };
        Ok(Self { path: path.map(Path::to_owned), seen, current: Arc::new(ArcSwap::new(profiles)) })
    }

    /// Follows the file until `stop`. A file that is not understood, or is gone, changes nothing: the last good one stays.
    pub async fn follow(mut self, stop: CancellationToken) {
        if self.path.is_none() {
            return;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => self.look(),
            }
        }
    }

    /// Blocks for the reading of a small local file, and only after it was written.
    fn look(&mut self) {
        let Some(path) = &self.path else { return };
        let now = stamp(path).ok();
        if now == self.seen {
            return;
        }
        self.seen = now;
        match read(path) {
            Ok(profiles) => {
                self.current.store(Arc::new(profiles));
                tracing::info!(path = %path.display(), "model profiles loaded");
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "model profiles not taken; the last good ones stay"),
        }
    }
}

/// The table of the file at `path` over the compiled-in one.
pub fn read(path: &Path) -> Result<Profiles> {
    let describe = || format!("translation.profiles: {}", path.display());
    let bytes = std::fs::metadata(path).with_context(describe)?.len();
    ensure!(bytes <= MAX_PROFILES_BYTES as u64, "{}: larger than {MAX_PROFILES_BYTES} bytes", describe());
    let text = std::fs::read_to_string(path).with_context(describe)?;
    Profiles::builtin().with_overrides(&text).with_context(describe)
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.modified()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "[[openai.models]]\nmatch = [\"house\"]\nlike = \"gpt-4o\"\n";

    #[test]
    fn a_file_written_anew_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        std::fs::write(&path, "").unwrap();
        let mut file = ProfileFile::load(Some(&path)).unwrap();
        let before = file.current.load_full();
        file.look();
        assert!(Arc::ptr_eq(&before, &file.current.load_full()), "nothing was written");

        std::fs::write(&path, ROW).unwrap();
        file.look();
        let good = file.current.load_full();
        assert!(!Arc::ptr_eq(&before, &good));

        std::fs::write(&path, format!("{ROW}resoning = true\n")).unwrap();
        file.look();
        assert!(Arc::ptr_eq(&good, &file.current.load_full()));
        std::fs::remove_file(&path).unwrap();
        file.look();
        assert!(Arc::ptr_eq(&good, &file.current.load_full()));
    }

    #[test]
    fn a_file_that_is_not_understood_stops_the_start_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        std::fs::write(&path, "[[openai.models]]\nlike = \"plain\"\n").unwrap();
        let error = format!("{:#}", ProfileFile::load(Some(&path)).err().unwrap());
        let place = format!("translation.profiles: {}", path.display());
        assert_eq!(error, format!("{place}: model profiles, openai row 1: `match` names no model"));
        assert!(ProfileFile::load(Some(Path::new("/nowhere/at/all"))).is_err());
    }
}
