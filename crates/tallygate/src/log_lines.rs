//! Log lines on their way to standard error, many in one write.
//!
//! Every request leaves a line, and a write for each would be the dearest thing a small request does; worse, a reader that is
//! slow to empty the pipe would hold up whoever has something to say. So lines are gathered in memory and a thread of their
//! own writes them a moment later. What does not fit is dropped and counted: a request is worth more than the line about it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered. What is worse than information goes out at once.
const LINGER: Duration = Duration::from_millis(20);
/// Lines in memory, at most.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// See the module. All clones are one.
#[derive(Clone)]
pub struct LogLines {
    shared: Arc<Shared>,
}

struct Shared {
    gathered: Mutex<Gathered>,
    /// There is something to write, or no more time to wait for more.
    wake: Condvar,
    /// Nothing is left to write.
    written: Condvar,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    dropped: u64,
    is_urgent: bool,
    is_writing: bool,
}

/// Takes the text of one event.
pub struct Line<'a> {
    shared: &'a Shared,
    is_urgent: bool,
}

impl LogLines {
    /// Starts the thread that writes to `sink`.
    pub fn to(sink: impl io::Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { gathered: Mutex::default(), wake: Condvar::new(), written: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("log".into()).spawn(move || for_thread.write_all_to(sink))?;
        Ok(Self { shared })
    }

    /// Takes the line that `put` adds. One that finds no room is taken away again.
    pub fn append(&self, put: impl FnOnce(&mut Vec<u8>)) {
        self.shared.append(false, put);
    }

    /// Waits until every line so far is written, or for `deadline`: for the end of the process.
    pub fn flush(&self, deadline: Duration) {
        let mut gathered = self.shared.gathered();
        gathered.is_urgent = true;
        self.shared.wake.notify_one();
        let is_left = |gathered: &mut Gathered| gathered.is_writing || !gathered.bytes.is_empty();
        let waited = self.shared.written.wait_timeout_while(gathered, deadline, is_left);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Shared {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, is_urgent: bool, put: impl FnOnce(&mut Vec<u8>)) {
        let mut gathered = self.gathered();
        let before = gathered.bytes.len();
        put(&mut gathered.bytes);
        if gathered.bytes.len() > MAX_BYTES {
            gathered.bytes.truncate(before);
            gathered.dropped += 1;
            return;
        }
        gathered.is_urgent |= is_urgent;
        let is_half_full = gathered.bytes.len() >= MAX_BYTES / 2;
        drop(gathered);
        // Between the first line and the write the thread sleeps by the clock: waking it for each line would cost as much as
        // writing each.
        if before == 0 || is_urgent || is_half_full {
            self.wake.notify_one();
        }
    }

    fn write_all_to(&self, mut sink: impl io::Write) {
        let mut bytes = Vec::new();
        loop {
            let dropped = self.take(&mut bytes);
            // Nobody is left to be told that nobody can be told anything.
            let _ = sink.write_all(&bytes).and_then(|()| sink.flush());
            bytes.clear();
            if dropped > 0 {
                tracing::warn!(lines = dropped, "standard error is read too slowly; log lines were dropped");
            }
        }
    }

    /// Waits for lines, and a little longer for more of them; how many were dropped since the last time.
    fn take(&self, bytes: &mut Vec<u8>) -> u64 {
        let mut gathered = self.gathered();
        gathered.is_writing = false;
        if gathered.bytes.is_empty() {
            self.written.notify_all();
        }
        gathered = self.wake.wait_while(gathered, |gathered| gathered.bytes.is_empty()).unwrap_or_else(PoisonError::into_inner);
        (gathered, _) = self
            .wake
            .wait_timeout_while(gathered, LINGER, |gathered| !gathered.is_urgent && gathered.bytes.len() < MAX_BYTES / 2)
            .unwrap_or_else(PoisonError::into_inner);
        // The two buffers take turns, so that neither is made anew.
        std::mem::swap(bytes, &mut gathered.bytes);
        gathered.is_urgent = false;
        gathered.is_writing = true;
        std::mem::take(&mut gathered.dropped)
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { shared: &self.shared, is_urgent: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line { shared: &self.shared, is_urgent: *event.level() <= Level::WARN }
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.append(self.is_urgent, |out| out.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Tells of each write; blocks in it until it is told to go on.
    struct Sink {
        wrote: mpsc::Sender<Vec<u8>>,
        go_on: mpsc::Receiver<()>,
    }

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.wrote.send(bytes.to_vec());
            let _ = self.go_on.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink() -> (LogLines, mpsc::Receiver<Vec<u8>>, mpsc::Sender<()>) {
        let ((wrote, writes), (tell, go_on)) = (mpsc::channel(), mpsc::channel());
        (LogLines::to(Sink { wrote, go_on }).unwrap(), writes, tell)
    }

    #[test]
    fn lines_go_out_in_order_and_together() {
        let (lines, writes, go_on) = sink();
        let subscriber = tracing_subscriber::registry()
            .with(tracing_subscriber::fmt::layer().without_time().with_target(false).with_ansi(false).with_writer(lines.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            tracing::warn!("two");
        });
        let mut text = Vec::new();
        for _ in 0..2 {
            let _ = go_on.send(());
            text.extend(writes.recv().unwrap());
            if text.ends_with(b"two\n") {
                break;
            }
        }
        assert_eq!(String::from_utf8(text).unwrap(), " INFO one\n WARN two\n");
        lines.flush(Duration::from_mins(1));
        assert!(lines.shared.gathered().bytes.is_empty());
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody_and_what_is_lost_is_counted() {
        let (lines, writes, go_on) = sink();
        let mut line = lines.make_writer();
        line.is_urgent = true;
        line.write_all(b"first").unwrap();
        assert_eq!(writes.recv().unwrap(), b"first");
        // The thread is inside a write that does not end.
        let long = vec![b'.'; MAX_BYTES];
        line.write_all(&long).unwrap();
        line.write_all(b"lost").unwrap();
        assert_eq!(lines.shared.gathered().dropped, 1);
        go_on.send(()).unwrap();
        assert_eq!(writes.recv().unwrap().len(), MAX_BYTES);
        assert_eq!(lines.shared.gathered().dropped, 0);
    }
}
