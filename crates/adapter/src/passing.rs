//! The lane of streams that pass untouched: chunks are cut at the ends of their events, without copying.

use bytes::Bytes;

/// What became of the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed,
    Dropped,
}

/// What stays between chunks.
#[derive(Debug)]
pub(crate) struct Passer {
    /// Events that only report usage were not asked for.
    drop_usage: bool,
    /// The beginning of an event whose end has not come. Only whole events pass, so that an error of ours can follow.
    held: Vec<Bytes>,
    /// The last event ended with CR at the end of a chunk; a LF that follows belongs to it, dropped or not.
    cut_crlf: Option<Fate>,
}

/// One chunk on its way.
pub(crate) struct Passing<'a> {
    chunk: &'a Bytes,
    passer: &'a mut Passer,
    out: &'a mut Vec<Bytes>,
    /// Up to here the chunk has passed or was dropped.
    start: usize,
    /// Up to here its events are sound.
    good: usize,
}

impl Passer {
    pub fn new(drop_usage: bool) -> Self {
        Self { drop_usage, held: Vec::new(), cut_crlf: None }
    }

    pub fn chunk<'a>(&'a mut self, chunk: &'a Bytes, out: &'a mut Vec<Bytes>) -> Passing<'a> {
        let mut passing = Passing { chunk, passer: self, out, start: 0, good: 0 };
        passing.complete_crlf();
        passing
    }

    /// The stream ended: an event without its blank line passes if the answer was complete.
    pub fn finish(&mut self, is_complete: bool, only_usage: bool, out: &mut Vec<Bytes>) {
        if is_complete && !(only_usage && self.drop_usage) {
            out.append(&mut self.held);
        }
        self.held.clear();
    }
}

impl Passing<'_> {
    /// An event ends here.
    pub fn event(&mut self, start: usize, end: usize, only_usage: bool) {
        match (self.passer.drop_usage, only_usage) {
            (true, true) => {
                // Comments before it are no part of it.
                self.pass(start);
                self.skip(end);
            }
            (true, false) => self.pass(end),
            // It passes with its neighbours, at the end of the chunk.
            (false, _) => self.good = end,
        }
    }

    fn pass(&mut self, end: usize) {
        let end = self.past(end);
        if end > self.start {
            self.out.append(&mut self.passer.held);
            self.out.push(if self.start == 0 && end == self.chunk.len() {
                self.chunk.clone()
            } else {
                self.chunk.slice(self.start..end)
            });
            self.start = end;
            self.note_cut(end, Fate::Passed);
        }
    }

    fn note_cut(&mut self, end: usize, fate: Fate) {
        self.passer.cut_crlf = (end == self.chunk.len() && self.chunk.ends_with(b"\r")).then_some(fate);
    }

    /// A LF that completes the last chunk's CRLF shares the fate of its event.
    fn complete_crlf(&mut self) {
        match self.passer.cut_crlf.take().filter(|_| self.chunk.starts_with(b"\n")) {
            Some(Fate::Passed) if self.chunk.len() > 1 => self.pass(1),
            Some(Fate::Dropped) => self.start = 1,
            _ => {}
        }
    }

    fn skip(&mut self, end: usize) {
        let end = self.past(end);
        self.passer.held.clear();
        self.start = end;
        self.note_cut(end, Fate::Dropped);
    }

    /// An event ends with its CR; a LF after it belongs to it too.
    fn past(&self, end: usize) -> usize {
        let is_crlf = end > 0 && self.chunk[end - 1] == b'\r' && self.chunk.get(end) == Some(&b'\n');
        end + usize::from(is_crlf)
    }

    /// A failure: only the events before it pass.
    pub fn stop(&mut self) {
        self.pass(self.good);
        self.passer.held.clear();
    }

    /// What stands before `boundary` passes, what follows is held.
    pub fn rest(&mut self, boundary: Option<usize>) {
        self.pass(boundary.unwrap_or(self.chunk.len()).max(self.start));
        if self.start < self.chunk.len() {
            self.passer.held.push(self.chunk.slice(self.start..));
        }
    }
}
