//! Processes of the run: started pinned, counted through `/proc`, ended with the run.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// Clock ticks of `/proc/PID/stat` in a second, on every Linux that is met.
const TICK: Duration = Duration::from_millis(10);
const REALTIME_PRIORITY: &str = "10";
/// A process that works less than this share of the time is idle.
const IDLE_SHARE: f64 = 0.03;
const IDLE_LOOK: Duration = Duration::from_millis(200);
/// Looks in a row that must find it idle.
const IDLE_LOOKS: usize = 3;
const IDLE_WITHIN: Duration = Duration::from_mins(3);

/// Where things run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    /// What is measured.
    Gateway = 0,
    /// The load and the provider.
    Load = 1,
}

/// Whether this machine lets us pin at real-time priority, so that other work stays off the two cores.
#[derive(Debug, Clone, Copy)]
pub struct Pinning {
    is_pinned: bool,
    pub is_realtime: bool,
}

impl Pinning {
    /// Wherever there is room: nothing is measured.
    pub const NONE: Self = Self { is_pinned: false, is_realtime: false };

    pub fn find(is_ordinary: bool) -> Result<Self> {
        let runs = |command: &[&str]| {
            let status = Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        for core in [Core::Gateway, Core::Load] {
            ensure!(runs(&["taskset", "-c", &(core as u8).to_string(), "true"]), "the bench needs `taskset` and two cores");
        }
        Ok(Self { is_pinned: true, is_realtime: !is_ordinary && runs(&["chrt", "-r", REALTIME_PRIORITY, "true"]) })
    }

    pub fn command(self, core: Core, program: &Path) -> Command {
        if !self.is_pinned {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", &(core as u8).to_string()]);
        if self.is_realtime {
            command.args(["chrt", "-r", REALTIME_PRIORITY]);
        }
        command.arg(program);
        command
    }
}

/// Keeps both cores from halting while these live.
pub fn keep_cores() -> Result<[Process; 2]> {
    let spin = |core: Core| {
        let mut command = Command::new("taskset");
        command.args(["-c", &(core as u8).to_string(), "chrt", "-i", "0"]);
        command.arg(std::env::current_exe()?).arg("spin");
        Process::start_connected(command)
    };
    Ok([spin(Core::Gateway)?, spin(Core::Load)?])
}

/// Killed when dropped.
pub struct Process(Child);

impl Process {
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null());
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self(child))
    }

    /// With a standard input to end it by, and a standard output to hear from it.
    pub fn start_connected(mut command: Command) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self(child))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// The next line it prints.
    pub fn line(&mut self) -> Result<String> {
        let output = self.0.stdout.as_mut().context("its output is not connected")?;
        let mut line = String::new();
        BufReader::with_capacity(1, output).read_line(&mut line)?;
        Ok(line)
    }

    /// Tells it to end, by closing its input, and waits for what it still prints.
    pub fn finish(mut self) -> Result<String> {
        drop(self.0.stdin.take());
        let mut text = String::new();
        if let Some(output) = &mut self.0.stdout {
            output.read_to_string(&mut text)?;
        }
        ensure!(self.0.wait()?.success(), "it failed");
        Ok(text)
    }

    /// Asks it to end by SIGTERM, and waits until it has.
    pub fn terminate(mut self, within: Duration) -> Result<()> {
        // The shell has `kill` built in; not every machine has it as a program.
        let status = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.pid().to_string()]).status()?;
        ensure!(status.success(), "it could not be told to end");
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "it ended with {status}");
                return Ok(());
            }
            ensure!(Instant::now() < until, "it has not ended {within:?} after it was told to");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The thread that a SQLite connection works on. Its work is the database's, as that of PostgreSQL's processes is.
const DATABASE_THREAD: &str = "sqlx-sqlite-wor";

/// CPU time of a process and its children so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub total: Duration,
    pub user: Duration,
    /// Of threads that are a database: not in the others.
    pub database: Duration,
}

impl Cpu {
    pub fn of(pid: u32) -> Self {
        tree(pid).into_iter().map(Self::of_one).fold(Self::default(), |sum, one| Self {
            total: sum.total + one.total,
            user: sum.user + one.user,
            database: sum.database + one.database,
        })
    }

    fn of_one(pid: u32) -> Self {
        let (mut own, mut database) = (Duration::ZERO, Self::default());
        for thread in threads(pid) {
            let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            let worked = Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0));
            if fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim_end() == DATABASE_THREAD) {
                database.total += worked;
                database.user += ticks(&thread).0;
            } else {
                own += worked;
            }
        }
        let (user, system) = ticks(Path::new(&format!("/proc/{pid}")));
        // The threads' own clocks count nanoseconds but leave with them; the process's counts ticks and forgets nothing.
        Self {
            total: own.max((user + system).saturating_sub(database.total)),
            user: user.saturating_sub(database.user),
            database: database.total,
        }
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            user: self.user.saturating_sub(earlier.user),
            database: self.database.saturating_sub(earlier.database),
        }
    }

    /// Everything.
    pub fn sum(self) -> Duration {
        self.total + self.database
    }
}

/// User and system time of a process or a thread.
fn ticks(of: &Path) -> (Duration, Duration) {
    let stat = fs::read_to_string(of.join("stat")).unwrap_or_default();
    // The name may hold spaces; what follows it does not.
    let ticks: Vec<u32> =
        stat.rsplit(')').next().unwrap_or_default().split(' ').skip(12).take(2).filter_map(|t| t.parse().ok()).collect();
    let [user, system] = ticks[..] else { return Default::default() };
    (TICK * user, TICK * system)
}

/// Memory in use by a process and its children, in bytes.
pub fn resident(pid: u32) -> u64 {
    let of_one = |pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().split(' ').next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    tree(pid).into_iter().map(of_one).sum()
}

fn threads(pid: u32) -> impl Iterator<Item = std::path::PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        for thread in threads(pid) {
            let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
            found.extend(children.split(' ').filter_map(|child| child.trim().parse::<u32>().ok()));
        }
        at += 1;
    }
    found
}

/// Waits until none of the processes works any more: some go on long after the load has left.
pub fn wait_until_idle(pids: &[u32]) -> Result<()> {
    let sum = || pids.iter().map(|pid| Cpu::of(*pid).sum()).sum::<Duration>();
    let until = Instant::now() + IDLE_WITHIN;
    let (mut before, mut quiet) = (sum(), 0);
    while quiet < IDLE_LOOKS {
        ensure!(Instant::now() < until, "still at work {IDLE_WITHIN:?} after the load has left");
        sleep(IDLE_LOOK);
        let now = sum();
        // The processes' clocks tick; a single tick is no work.
        let is_quiet = now.saturating_sub(before) <= IDLE_LOOK.mul_f64(IDLE_SHARE).max(TICK);
        quiet = if is_quiet { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub fn wait_for_listener(address: SocketAddr, process: &mut Process) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < until, "nothing listens on {address}");
        ensure!(!process.has_ended(), "it ended before it listened on {address}");
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// One request by hand; the whole answer, header included.
pub fn ask(address: SocketAddr, request: &str) -> Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    if answer.is_empty() {
        bail!("{address} answered nothing");
    }
    Ok(answer)
}
