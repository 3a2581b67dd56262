//! Streamed answers.

use bytes::Bytes;
use tallygate_types::Dialect;

use crate::answer::{Meter, ReadAnswer, broken, ended, estimate, meter};
use crate::context::ResponseContext;
use crate::dispatch::{Decode, Encode, codec};
use crate::failure::{ErrorReply, StreamFailure};
use crate::fragment::Fragment;
use crate::hop::{Course, Hop, JoinedEvents, Next};
use crate::ir::{Delta, FinishReason, PartStart, StreamEvent};
use crate::keepsake::{Collector, Keepsake};
use crate::loss::LossReport;
use crate::names::Restore;
use crate::passing::Passer;
use crate::run::Run;
use crate::sse::Event;
use crate::tap::Tap;
use crate::{json_array, sse};

/// Most an upstream may send in one translated stream, in bytes: encoders keep arguments that are not whole.
/// Streams that pass untouched keep nothing and have no such bound here.
pub const MAX_TRANSLATED_BYTES: u64 = 64 * 1024 * 1024;

/// By so much what is written of a chunk may be longer without need of more room.
const ROOM_BYTES: usize = 256;

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Content has passed. What was put out before may be thrown away and another upstream tried; after, no more.
    pub content: bool,
    /// The terminal event was seen.
    pub done: bool,
}

/// A streamed answer on its way. Bytes go in as they come, whole events in the client's dialect come out.
pub struct ResponseStream {
    client: Dialect,
    upstream: Dialect,
    context: ResponseContext,
    reader: Reader,
    lane: Lane,
    /// Meters a stream that passes in place of the dialect's own.
    tapper: Option<Box<dyn ReadAnswer>>,
    tap: Tap,
    loss: LossReport,
    /// Whole events were put out (a JSON array needs a comma before the next).
    has_output: bool,
    bytes_read: u64,
}

enum Reader {
    /// Nothing but white space has come.
    Undecided,
    Events(sse::Scanner),
    /// A JSON array, or an error body where events were due.
    Objects(json_array::Scanner),
}

pub(crate) enum Lane {
    Pass(Passer),
    Translate(Box<Translating>),
}

pub(crate) struct Translating {
    pub decoder: Box<dyn Decode>,
    pub encoder: Box<dyn Encode>,
    pub restore: Restore,
    pub collector: Collector,
    /// Of streams that may come in several calls.
    pub course: Option<Course>,
    pub joined: JoinedEvents,
    pub input_estimate: Option<u64>,
    /// The events that come now differ only in their text.
    pub run: Option<Run>,
}

impl ResponseStream {
    pub(crate) fn new(client: Dialect, upstream: Dialect, context: ResponseContext, lane: Lane, loss: LossReport) -> Self {
        Self {
            client,
            upstream,
            context,
            reader: Reader::Undecided,
            lane,
            tapper: None,
            tap: Tap::default(),
            loss,
            has_output: false,
            bytes_read: 0,
        }
    }

    pub(crate) fn tapped_by(self, tapper: Box<dyn ReadAnswer>) -> Self {
        Self { tapper: Some(tapper), ..self }
    }

    /// Takes what came from the upstream and appends what may go to the client.
    ///
    /// On a failure `out` still holds the whole events before it.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<Progress, StreamFailure> {
        self.decide(&chunk);
        self.bytes_read += chunk.len() as u64;
        if matches!(self.lane, Lane::Translate(_)) && self.bytes_read > MAX_TRANSLATED_BYTES {
            return Err(StreamFailure::TooLong);
        }
        let before = out.len();
        let result = match &mut self.lane {
            Lane::Pass(passer) => {
                let mut passing = passer.chunk(&chunk, out);
                let tap = &mut self.tap;
                let (tapper, upstream) = (self.tapper.as_deref(), self.upstream);
                let result = self.reader.read(&chunk, |event| {
                    tap_passing(tapper, upstream, event, tap)?;
                    passing.event(event.start, event.end, std::mem::take(&mut tap.only_usage));
                    Ok(())
                });
                match &result {
                    Ok(()) => passing.rest(self.reader.boundary()),
                    Err(_) => passing.stop(),
                }
                result
            }
            Lane::Translate(lane) => {
                let tap = &mut self.tap;
                let mut written = Vec::new();
                let mut events = Vec::new();
                let result = self.reader.read(&chunk, |event| {
                    if event.end < chunk.len() {
                        // Most events are of about the same size in every dialect.
                        written.reserve(chunk.len() - event.start + ROOM_BYTES);
                    }
                    lane.event(event, &mut events, tap, &mut written)
                });
                if !written.is_empty() {
                    out.push(written.into());
                }
                result
            }
        };
        self.has_output |= out.len() > before;
        result.map(|()| self.progress())
    }

    /// The upstream closed. Fails unless the answer was complete.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Result<(), StreamFailure> {
        if let Lane::Translate(lane) = &mut self.lane {
            lane.course = None;
        }
        self.end(out).map(|_| ())
    }

    /// The upstream closed, and the answer may go on in another call. Fails unless what came was complete.
    pub fn end(&mut self, out: &mut Vec<Bytes>) -> Result<Next<()>, StreamFailure> {
        let before = out.len();
        let result = match &mut self.lane {
            Lane::Pass(passer) => {
                let tap = &mut self.tap;
                let (tapper, upstream) = (self.tapper.as_deref(), self.upstream);
                let result = self.reader.finish(|event| tap_passing(tapper, upstream, event, tap));
                let is_complete = self.tap.done || self.tap.finish_reason.is_some();
                passer.finish(result.is_ok() && is_complete, std::mem::take(&mut self.tap.only_usage), out);
                result.and(if is_complete { Ok(()) } else { Err(StreamFailure::Truncated) })
            }
            Lane::Translate(lane) => {
                let tap = &mut self.tap;
                let mut written = Vec::new();
                let mut events = Vec::new();
                let mut result = self.reader.finish(|event| lane.event(event, &mut events, tap, &mut written));
                if result.is_ok() {
                    result = lane.decoder.finish(&mut events);
                    result = lane.take(&mut events, tap, &mut written).and(result);
                }
                if !written.is_empty() {
                    out.push(written.into());
                }
                result
            }
        };
        self.has_output |= out.len() > before;
        result?;
        Ok(self.next_call().map_or(Next::Done(()), Next::Again))
    }

    fn next_call(&mut self) -> Option<Hop> {
        let Lane::Translate(lane) = &mut self.lane else { return None };
        let hop = lane.course.as_mut()?.next()?;
        lane.decoder = (codec(self.upstream).decoder)();
        lane.joined.next_call();
        self.reader = Reader::Undecided;
        (self.tap.done, self.tap.finish_reason) = (false, None);
        Some(hop)
    }

    /// Says an error of ours inside the stream, in the client's dialect. Close the connection after.
    pub fn fail(&mut self, error: &ErrorReply, out: &mut Vec<Bytes>) {
        let mut written = Vec::new();
        match &mut self.lane {
            Lane::Pass(_) if matches!(self.reader, Reader::Objects(_)) || self.context.json_array => {
                written.push(if self.has_output { b',' } else { b'[' });
                written.extend_from_slice(&(codec(self.client).encode_error)(error).body);
                written.push(b']');
            }
            Lane::Pass(_) => {
                // What passed was the upstream's: our word continues it.
                let mut context = self.context.clone();
                context.first_sequence = self.tap.sequence.map_or(0, |last| last.saturating_add(1));
                context.response_id = self.tap.id.clone().unwrap_or(context.response_id);
                context.client_model = self.tap.model.clone().unwrap_or(context.client_model);
                (codec(self.client).encoder)(context).fail(error, &mut written);
            }
            Lane::Translate(lane) => lane.encoder.fail(error, &mut written),
        }
        out.push(written.into());
    }

    pub fn meter(&self) -> Meter {
        meter(self.tap.clone(), self.loss.clone())
    }

    /// What the translation could not say exactly, so far.
    pub const fn loss(&self) -> &LossReport {
        &self.loss
    }

    /// Bytes of text and arguments so far.
    pub const fn output_bytes(&self) -> u64 {
        self.tap.output_bytes
    }

    /// What was gathered since the last time, by key, for the tenant's [`crate::Memory`].
    pub fn take_keepsakes(&mut self) -> Vec<(String, Keepsake)> {
        match &mut self.lane {
            Lane::Pass(_) => Vec::new(),
            Lane::Translate(lane) => lane.collector.take(),
        }
    }

    /// As [`keep_alive`](crate::keep_alive); `None` where the stream has no room for it.
    pub fn keep_alive(&self) -> Option<&'static [u8]> {
        (!self.context.json_array).then(|| crate::keep_alive(self.client))
    }

    pub fn content_type(&self) -> &'static str {
        if self.context.json_array { "application/json" } else { "text/event-stream" }
    }

    fn progress(&self) -> Progress {
        Progress { content: self.tap.content, done: self.tap.done }
    }

    /// The first byte that is not white space tells events from objects.
    fn decide(&mut self, chunk: &[u8]) {
        if let Reader::Undecided = self.reader
            && let Some(byte) = chunk.iter().find(|byte| !byte.is_ascii_whitespace())
        {
            self.reader = match byte {
                b'[' | b'{' => Reader::Objects(json_array::Scanner::new()),
                _ => Reader::Events(sse::Scanner::new()),
            };
        }
    }
}

/// JSON that does not end as it began. Passing events are not parsed; this much is seen for nothing, and a client that has to
/// parse them would break on it.
fn is_cut_off(data: &[u8]) -> bool {
    data.first() == Some(&b'{') && data.trim_ascii_end().last() != Some(&b'}')
}

fn tap_passing(tapper: Option<&dyn ReadAnswer>, upstream: Dialect, event: Event<'_>, tap: &mut Tap) -> Result<(), StreamFailure> {
    if is_cut_off(event.data) {
        return Err(StreamFailure::Truncated);
    }
    match tapper {
        Some(tapper) => tapper.tap_event(event, tap),
        None => (codec(upstream).tap_event)(event, tap),
    }
}

impl std::fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseStream")
            .field("client", &self.client)
            .field("upstream", &self.upstream)
            .field("tap", &self.tap)
            .finish_non_exhaustive()
    }
}

impl Reader {
    fn read(&mut self, chunk: &[u8], on_event: impl FnMut(Event<'_>) -> Result<(), StreamFailure>) -> Result<(), StreamFailure> {
        match self {
            Self::Undecided => Ok(()),
            Self::Events(scanner) => scanner.push(chunk, on_event),
            Self::Objects(scanner) => scanner.push(chunk, on_event),
        }
    }

    fn finish(&mut self, on_event: impl FnMut(Event<'_>) -> Result<(), StreamFailure>) -> Result<(), StreamFailure> {
        match self {
            Self::Events(scanner) => scanner.finish(on_event),
            Self::Undecided | Self::Objects(_) => Ok(()),
        }
    }

    /// How much of the last chunk may pass; `None`: all of it (white space before a stream).
    fn boundary(&self) -> Option<usize> {
        match self {
            Self::Undecided => None,
            Self::Events(scanner) => Some(scanner.boundary()),
            Self::Objects(scanner) => Some(scanner.boundary()),
        }
    }
}

impl Translating {
    fn event(
        &mut self,
        event: Event<'_>,
        events: &mut Vec<StreamEvent>,
        tap: &mut Tap,
        written: &mut Vec<u8>,
    ) -> Result<(), StreamFailure> {
        if let Some(course) = &mut self.course {
            course.event(event.data);
        } else if self.piece(event, tap, written) {
            return Ok(());
        }
        written.reserve(event.data.len() + ROOM_BYTES);
        let result = self.decoder.event(event, events);
        self.take(events, tap, written).and(result)
    }

    /// A piece of an open text, if the event is nothing else.
    fn piece(&mut self, event: Event<'_>, tap: &mut Tap, written: &mut Vec<u8>) -> bool {
        let alike = self.run.as_ref().and_then(|run| run.fragment(event));
        let Some(fragment) = alike.or_else(|| self.begin_run(event)) else { return false };
        let Some(run) = &mut self.run else { return false };
        run.write(&fragment, written);
        tap.content = true;
        tap.output_bytes += fragment.bytes as u64;
        true
    }

    fn begin_run<'a>(&mut self, event: Event<'a>) -> Option<Fragment<'a>> {
        self.end_run();
        let fragment = self.decoder.fragment(event).filter(|_| self.restore.leaves_text())?;
        let part = self.joined.number_of(fragment.candidate, fragment.part);
        let around = self.encoder.around(fragment.candidate, part)?;
        self.run = Some(Run::new(event, &fragment, around));
        Some(fragment)
    }

    /// Whoever writes the text has the part open, and so has the collector, who is told of the same events.
    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.encoder.said(run.candidate, run.said);
            self.collector.text(run.candidate, run.said.bytes);
        }
    }

    /// Decoded events on their way to the client.
    fn take(&mut self, events: &mut Vec<StreamEvent>, tap: &mut Tap, written: &mut Vec<u8>) -> Result<(), StreamFailure> {
        self.end_run();
        let goes_on = self.course.as_ref().is_some_and(Course::goes_on);
        let mut restored = Vec::with_capacity(events.len());
        let mut result = Ok(());
        for mut event in events.drain(..) {
            if let StreamEvent::Finish { reason, explanation, .. } = &mut event {
                result = broken(*reason, explanation.as_deref());
                if result.is_err() {
                    break;
                }
                *reason = ended(*reason);
            }
            tap_event(&event, tap);
            if let Some(event) = self.joined.pass(event, goes_on) {
                if event == StreamEvent::End {
                    restored.extend(estimate(self.input_estimate, tap).map(StreamEvent::Usage));
                }
                if let StreamEvent::Usage(sum) = &event {
                    tap.usage = Some(sum.clone());
                }
                self.restore.event(event, &mut restored);
            }
        }
        for event in &restored {
            self.collector.event(event);
            self.encoder.event(event, written);
        }
        Ok(result?)
    }
}

fn tap_event(event: &StreamEvent, tap: &mut Tap) {
    match event {
        StreamEvent::Start { id, model } => {
            tap.id.clone_from(id);
            tap.model.clone_from(model);
        }
        StreamEvent::PartStart { start: PartStart::ToolCall { .. } | PartStart::Whole(_), .. } => tap.content = true,
        StreamEvent::PartDelta { delta: Delta::Text(text) | Delta::Arguments(text), .. } if !text.is_empty() => {
            tap.content = true;
            tap.output_bytes += text.len() as u64;
        }
        StreamEvent::Finish { reason, raw, .. } => {
            tap.unknown_finish |= *reason == FinishReason::Unknown;
            tap.finish_reason = Some(raw.clone().unwrap_or_else(|| format!("{reason:?}")));
        }
        StreamEvent::End => tap.done = true,
        _ => {}
    }
}
