//! The files of a journal directory: `lock`, `node`, `<sequence>.journal`, and what was damaged under `quarantine/`.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::JournalError;

const EXTENSION: &str = "journal";
const QUARANTINE: &str = "quarantine";

pub(super) fn path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016}.{EXTENSION}"))
}

/// The sequences of the segments present, ascending.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let mut sequences = Vec::new();
    for entry in fs::read_dir(dir).map_err(JournalError::io("list", dir))? {
        let path = entry.map_err(JournalError::io("list", dir))?.path();
        if path.extension().is_some_and(|e| e == EXTENSION)
            && let Some(sequence) = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok())
        {
            sequences.push(sequence);
        }
    }
    sequences.sort_unstable();
    Ok(sequences)
}

pub(super) fn create(dir: &Path, sequence: u64) -> Result<File, JournalError> {
    let path = path(dir, sequence);
    OpenOptions::new().append(true).create_new(true).open(&path).map_err(JournalError::io("create", &path))
}

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn remove(dir: &Path, sequence: u64) -> Result<(), JournalError> {
    let path = path(dir, sequence);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(JournalError::io("remove", &path)(error)),
        _ => Ok(()),
    }
}

/// All of it.
pub(super) fn read(dir: &Path, sequence: u64) -> Result<Vec<u8>, JournalError> {
    let path = path(dir, sequence);
    fs::read(&path).map_err(JournalError::io("read", &path))
}

/// What stands from `offset` on, as far as `bytes` takes it; how many there were.
pub(super) fn read_at(dir: &Path, sequence: u64, offset: u64, bytes: &mut [u8]) -> Result<usize, JournalError> {
    let path = path(dir, sequence);
    let mut file = File::open(&path).map_err(JournalError::io("open", &path))?;
    file.seek(SeekFrom::Start(offset)).map_err(JournalError::io("read", &path))?;
    let mut count = 0;
    while count < bytes.len() {
        match file.read(&mut bytes[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(JournalError::io("read", &path)(error)),
        }
    }
    Ok(count)
}

pub(super) fn length(dir: &Path, sequence: u64) -> Result<u64, JournalError> {
    let path = path(dir, sequence);
    fs::metadata(&path).map(|meta| meta.len()).map_err(JournalError::io("stat", &path))
}

/// Cuts a segment down to `length`, durably.
pub(super) fn truncate(dir: &Path, sequence: u64, length: u64) -> Result<(), JournalError> {
    let path = path(dir, sequence);
    let file = OpenOptions::new().write(true).open(&path).map_err(JournalError::io("open", &path))?;
    file.set_len(length).and_then(|()| file.sync_all()).map_err(JournalError::io("truncate", &path))
}

/// Keeps a copy of damaged bytes for people to look at.
pub(super) fn quarantine(dir: &Path, sequence: u64, offset: u64, bytes: &[u8]) -> Result<PathBuf, JournalError> {
    set_aside(dir, &format!("{sequence:016}-{offset}.bin"), bytes)
}

pub(super) fn set_aside(dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, JournalError> {
    let folder = dir.join(QUARANTINE);
    fs::create_dir_all(&folder).map_err(JournalError::io("create", &folder))?;
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(JournalError::io("write", &path))?;
    Ok(path)
}

/// Takes the directory for this process alone, until the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(JournalError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(JournalError::Locked { dir: dir.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(JournalError::io("lock", &path)(error)),
    }
}

/// The name under which this journal's progress stands in the database; made once a directory. Where somebody removed the
/// segments, their numbers begin anew, and under the old name they would count as shipped: such a journal is another one.
pub(super) fn node(dir: &Path, has_segments: bool) -> Result<String, JournalError> {
    let path = dir.join("node");
    if !has_segments {
        return write_node(&path);
    }
    match fs::read_to_string(&path) {
        Ok(text) => match Uuid::try_parse(text.trim()) {
            Ok(node) => Ok(node.to_string()),
            // Damaged: a new name costs nothing but shipping again what the database already has.
            Err(_) => write_node(&path),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => write_node(&path),
        Err(error) => Err(JournalError::io("read", &path)(error)),
    }
}

fn write_node(path: &Path) -> Result<String, JournalError> {
    let node = Uuid::now_v7().to_string();
    fs::write(path, format!("{node}\n")).map_err(JournalError::io("write", path))?;
    Ok(node)
}
