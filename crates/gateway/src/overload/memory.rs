//! How much memory there is and how much of it is used: by the control group of this process, or by itself against a limit
//! that was configured.

use std::fs;
use std::path::{Path, PathBuf};

const PROC_CGROUP: &str = "/proc/self/cgroup";
const CGROUPS: &str = "/sys/fs/cgroup";
const STATUS: &str = "/proc/self/status";
/// What the kernel writes where there is no limit is near the largest number of pages.
const NO_LIMIT_FROM_BYTES: u64 = 1 << 60;

/// See the module.
pub struct Watched {
    limit_bytes: u64,
    usage: Usage,
}

enum Usage {
    /// The resident memory of this process.
    Own,
    /// A control group's, without what the kernel would give back first.
    Group { current: PathBuf, stat: PathBuf, reclaimable: &'static str },
}

impl Watched {
    pub fn find(configured: Option<u64>) -> Option<Self> {
        match configured {
            Some(0) => None,
            Some(limit_bytes) => Some(Self { limit_bytes, usage: Usage::Own }),
            None => Self::of_group(Path::new(CGROUPS), &fs::read_to_string(PROC_CGROUP).ok()?),
        }
    }

    pub const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub fn used_bytes(&self) -> Option<u64> {
        match &self.usage {
            Usage::Own => resident(&fs::read_to_string(STATUS).ok()?),
            Usage::Group { current, stat, reclaimable } => {
                let current = number(current)?;
                let stat = fs::read_to_string(stat).unwrap_or_default();
                Some(current.saturating_sub(field(&stat, reclaimable).unwrap_or(0)))
            }
        }
    }

    /// The tightest limit of this process's group and the groups around it. `membership` is the text of `/proc/self/cgroup`:
    /// `0::<path>` for version 2, `<n>:memory:<path>` for version 1.
    fn of_group(root: &Path, membership: &str) -> Option<Self> {
        let path = |matches: fn(&str, &str) -> bool| {
            membership.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':');
                let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
                matches(id, controllers).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let second = path(|id, controllers| id == "0" && controllers.is_empty())
            .and_then(|path| Self::tightest(root, &path, "memory.max", "memory.current", "inactive_file"));
        let first = || {
            let path = path(|_, controllers| controllers.split(',').any(|name| name == "memory"))?;
            let root = root.join("memory");
            Self::tightest(&root, &path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        };
        second.or_else(first)
    }

    fn tightest(root: &Path, path: &str, limit: &str, current: &str, reclaimable: &'static str) -> Option<Self> {
        let folder = root.join(path);
        folder
            .ancestors()
            .take_while(|folder| folder.starts_with(root))
            .filter_map(|folder| Some((number(&folder.join(limit)).filter(|bytes| *bytes < NO_LIMIT_FROM_BYTES)?, folder)))
            .min_by_key(|(bytes, _)| *bytes)
            .map(|(limit_bytes, folder)| Self {
                limit_bytes,
                usage: Usage::Group { current: folder.join(current), stat: folder.join("memory.stat"), reclaimable },
            })
    }
}

/// `max` is no number, and so no limit.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// `VmRSS:     1234 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_tightest_limit_around_the_process_counts_without_what_can_be_reclaimed() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a/memory.max", "1000\n");
        write(root.path(), "a/memory.current", "900\n");
        write(root.path(), "a/memory.stat", "anon 1\ninactive_file 300\nactive_file 7\n");
        write(root.path(), "a/b/memory.max", "max\n");
        write(root.path(), "a/b/memory.current", "800\n");
        let watched = Watched::of_group(root.path(), "0::/a/b\n").unwrap();
        assert_eq!((watched.limit_bytes(), watched.used_bytes()), (1_000, Some(600)));
        assert!(Watched::of_group(root.path(), "0::/elsewhere\n").is_none());
    }

    #[test]
    fn version_1_is_understood() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "memory/memory.limit_in_bytes", "9223372036854771712\n");
        write(root.path(), "memory/x/memory.limit_in_bytes", "2000\n");
        write(root.path(), "memory/x/memory.usage_in_bytes", "1500\n");
        write(root.path(), "memory/x/memory.stat", "total_inactive_file 500\n");
        let watched = Watched::of_group(root.path(), "5:cpu,memory:/x\n0::/\n").unwrap();
        assert_eq!((watched.limit_bytes(), watched.used_bytes()), (2_000, Some(1_000)));
        assert!(Watched::of_group(root.path(), "5:memory:/y\n").is_none());
    }

    #[test]
    fn a_configured_limit_is_held_against_the_process_itself() {
        let watched = Watched::find(Some(1 << 40)).unwrap();
        assert!(watched.used_bytes().unwrap() > 1 << 20);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
    }
}
