//! What a client may drop between the turns of a tool loop, kept beside the ids of the calls.
//!
//! A provider signs what its model thought before a call and wants it back, unmodified and in its place, with the call's
//! result. Many clients speak a dialect without a field for it, or drop what they do not know. So what an answer said
//! around each call is handed to the caller ([`Keepsake`]), and put back into the history where it is missing ([`Memory`]).
//!
//! Nothing is invented here: what was signed for one vendor and family of models is only ever given back to the same, and
//! what a client sends itself wins.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tallygate_types::Dialect;

use crate::ident::sha256_hex;
use crate::ir::{Delta, Part, PartKind, PartStart, Reasoning, Request, Response, Role, Signature, StreamEvent, Turn, Vendor};
use crate::loss::LossReport;

/// Most that is kept of one answer, in bytes: beyond it nothing of the answer is kept, for half a thought is refused.
pub const MAX_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Begins the key under which the origin of a signature is remembered; no provider's call id looks like this.
const SIGNATURE_KEY: &str = "signature:";
/// Hex digits of the hash in that key.
const SIGNATURE_KEY_HEX: usize = 32;
/// What an entry weighs beside the texts in it, in bytes.
const OVERHEAD_BYTES: usize = 128;

/// What an answer said around one tool call and its provider wants back. Opaque to the caller, but for its weight.
#[derive(Clone, PartialEq)]
pub struct Keepsake {
    origin: Origin,
    /// In the order it was said, since the call before this one or the beginning of the answer.
    lead: Vec<Lead>,
    /// Bytes of text said in the same stretch.
    text_bytes: usize,
    /// Of the call itself.
    signature: Option<Signature>,
}

/// The memory of one tenant.
pub trait Memory: fmt::Debug {
    /// What was kept under `call_id`, the id as the client sees it.
    fn recall(&self, call_id: &str) -> Option<Arc<Keepsake>>;
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMemory;

/// What becomes of the earlier reasoning in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PastReasoning {
    /// Sent to whoever signed it.
    #[default]
    Sent,
    /// Left out: the upstream refused a signature in it.
    Withheld,
}

/// Who signed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    vendor: Vendor,
    family: String,
}

/// A part that the client's dialect may not know, and where it stood.
#[derive(Debug, Clone, PartialEq)]
struct Lead {
    part: Part,
    /// Bytes of text said before it in its stretch.
    text_before: usize,
}

impl Memory for NoMemory {
    fn recall(&self, _: &str) -> Option<Arc<Keepsake>> {
        None
    }
}

impl Keepsake {
    /// What it takes of a store, in bytes, the key apart.
    pub fn weight(&self) -> usize {
        let signed = self.signature.as_ref().map_or(0, |signature| signature.data.len());
        OVERHEAD_BYTES + self.origin.family.len() + signed + self.lead.iter().map(|lead| weight(&lead.part)).sum::<usize>()
    }

    fn of_origin(origin: Origin) -> Self {
        Self { origin, lead: Vec::new(), text_bytes: 0, signature: None }
    }
}

impl fmt::Debug for Keepsake {
    /// Signatures and thoughts are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keepsake").field("origin", &self.origin).field("weight", &self.weight()).finish_non_exhaustive()
    }
}

impl Origin {
    pub fn new(upstream: Dialect, model: &str) -> Self {
        Self { vendor: Vendor::of(upstream), family: family(model) }
    }
}

/// The model without what says only where or when it is served: a region, a vendor's prefix, a date, a revision.
fn family(model: &str) -> String {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let name = name.find("claude").map_or(name.as_str(), |at| &name[at..]);
    let name = name.split(['@', ':']).next().unwrap_or(name);
    let mut family = name;
    while let Some((rest, last)) = family.rsplit_once('-')
        && is_revision(last)
    {
        family = rest;
    }
    family.to_owned()
}

fn is_revision(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    word == "latest" || (word.len() == 8 && digits(word)) || word.strip_prefix('v').is_some_and(digits)
}

fn weight(part: &Part) -> usize {
    match &part.kind {
        PartKind::Reasoning(reasoning) => {
            reasoning.text.len() + reasoning.signature.as_ref().map_or(0, |signature| signature.data.len())
        }
        PartKind::Extension { value, .. } => value.to_string().len(),
        _ => 0,
    }
}

fn signature_key(signature: &Signature) -> String {
    format!("{SIGNATURE_KEY}{}", &sha256_hex(&signature.data)[..SIGNATURE_KEY_HEX])
}

/// Gathers keepsakes from an answer on its way to the client.
#[derive(Debug)]
pub(crate) struct Collector {
    upstream: Dialect,
    origin: Origin,
    stretches: BTreeMap<u32, Stretch>,
    open: HashMap<(u32, u32), Open>,
    bytes: usize,
    kept: Vec<(String, Keepsake)>,
}

/// What a candidate has said since its last call.
#[derive(Debug, Default)]
struct Stretch {
    lead: Vec<Lead>,
    text_bytes: usize,
}

#[derive(Debug)]
enum Open {
    Text,
    Reasoning(Reasoning),
    Call { id: String, stretch: Stretch, signature: Option<Signature> },
}

impl Collector {
    pub fn new(upstream: Dialect, origin: Origin) -> Self {
        Self { upstream, origin, stretches: BTreeMap::new(), open: HashMap::new(), bytes: 0, kept: Vec::new() }
    }

    /// What was gathered since the last time.
    pub fn take(&mut self) -> Vec<(String, Keepsake)> {
        std::mem::take(&mut self.kept)
    }

    /// A whole answer.
    pub fn response(&mut self, response: &Response) {
        for candidate in &response.candidates {
            for part in &candidate.parts {
                match &part.kind {
                    PartKind::Text(text) => self.stretches.entry(candidate.index).or_default().text_bytes += text.text.len(),
                    PartKind::ToolCall(call) => {
                        let stretch = self.stretches.remove(&candidate.index).unwrap_or_default();
                        self.bytes += part.signature.as_ref().map_or(0, |signature| signature.data.len());
                        self.keep(call.id.clone(), stretch, part.signature.clone());
                    }
                    _ => self.lead(candidate.index, part.clone()),
                }
            }
        }
    }

    /// One event of a stream, with the names and ids that the client gets.
    pub fn event(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::PartStart { candidate, part, start } => self.start((*candidate, *part), start),
            StreamEvent::PartDelta { candidate, part, delta } => self.delta((*candidate, *part), delta),
            StreamEvent::PartEnd { candidate, part } => self.end((*candidate, *part)),
            _ => {}
        }
    }

    /// More of an open text.
    pub fn text(&mut self, candidate: u32, bytes: usize) {
        self.stretches.entry(candidate).or_default().text_bytes += bytes;
    }

    fn start(&mut self, at: (u32, u32), start: &PartStart) {
        let open = match start {
            PartStart::Text => Open::Text,
            PartStart::Reasoning { id, is_summary } => {
                Open::Reasoning(Reasoning { id: id.clone(), is_summary: *is_summary, ..Reasoning::default() })
            }
            PartStart::ToolCall { id, .. } => {
                let stretch = self.stretches.remove(&at.0).unwrap_or_default();
                Open::Call { id: id.clone(), stretch, signature: None }
            }
            PartStart::Whole(part) => return self.lead(at.0, (**part).clone()),
            PartStart::Refusal => return,
        };
        self.open.insert(at, open);
    }

    fn delta(&mut self, at: (u32, u32), delta: &Delta) {
        match (self.open.get_mut(&at), delta) {
            (Some(Open::Text), Delta::Text(text)) => self.stretches.entry(at.0).or_default().text_bytes += text.len(),
            (Some(Open::Reasoning(reasoning)), Delta::Text(text)) => {
                self.bytes += text.len();
                if self.bytes <= MAX_KEPT_BYTES {
                    reasoning.text.push_str(text);
                }
            }
            (Some(Open::Reasoning(Reasoning { signature, .. }) | Open::Call { signature, .. }), Delta::Signature(given)) => {
                self.bytes += given.data.len();
                if self.bytes <= MAX_KEPT_BYTES {
                    *signature = Some(given.clone());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, at: (u32, u32)) {
        match self.open.remove(&at) {
            Some(Open::Reasoning(reasoning)) => {
                // Its bytes were counted as they came.
                self.push_lead(at.0, Part::new(PartKind::Reasoning(reasoning)));
            }
            Some(Open::Call { id, stretch, signature }) => self.keep(id, stretch, signature),
            Some(Open::Text) | None => {}
        }
    }

    fn lead(&mut self, candidate: u32, part: Part) {
        self.bytes += weight(&part);
        self.push_lead(candidate, part);
    }

    fn push_lead(&mut self, candidate: u32, part: Part) {
        if self.bytes > MAX_KEPT_BYTES || !self.is_wanted_back(&part) {
            return;
        }
        if let PartKind::Reasoning(Reasoning { signature: Some(signature), .. }) = &part.kind {
            self.keep_origin(signature);
        }
        let stretch = self.stretches.entry(candidate).or_default();
        stretch.lead.push(Lead { part, text_before: stretch.text_bytes });
    }

    /// Whether the upstream has a place for it in a history.
    fn is_wanted_back(&self, part: &Part) -> bool {
        match &part.kind {
            // Servers that speak chat give their reasoning in plain text, and some refuse a tool loop without it.
            PartKind::Reasoning(reasoning) => reasoning.signature.is_some() || self.upstream == Dialect::OpenaiChat,
            PartKind::Extension { dialect, .. } => *dialect == self.upstream,
            _ => false,
        }
    }

    fn keep(&mut self, id: String, stretch: Stretch, signature: Option<Signature>) {
        let is_empty = stretch.lead.is_empty() && signature.is_none();
        if is_empty || id.is_empty() || self.bytes > MAX_KEPT_BYTES {
            return;
        }
        if let Some(signature) = &signature {
            self.keep_origin(signature);
        }
        let Stretch { lead, text_bytes } = stretch;
        self.kept.push((id, Keepsake { origin: self.origin.clone(), lead, text_bytes, signature }));
    }

    /// A client that keeps the signature itself may bring it to another model.
    fn keep_origin(&mut self, signature: &Signature) {
        self.kept.push((signature_key(signature), Keepsake::of_origin(self.origin.clone())));
    }
}

/// Takes out what another model signed, and puts back what the client dropped.
pub(crate) fn restore(request: &mut Request, memory: &dyn Memory, target: &Origin, loss: &mut LossReport) {
    strip_foreign(&mut request.turns, memory, target, loss);
    for run in assistant_runs(&request.turns).into_iter().rev() {
        restore_run(&mut request.turns, run, memory, target);
    }
}

/// Takes out all earlier reasoning and every signature.
pub(crate) fn withhold(request: &mut Request, loss: &mut LossReport) {
    for turn in &mut request.turns {
        turn.parts.retain(|part| !matches!(part.kind, PartKind::Reasoning(_)));
        for part in &mut turn.parts {
            part.signature = None;
        }
    }
    loss.dropped("reasoning", "the upstream refused a signature of the earlier reasoning");
}

fn strip_foreign(turns: &mut [Turn], memory: &dyn Memory, target: &Origin, loss: &mut LossReport) {
    let mut is_foreign = |signature: Option<&Signature>| {
        let is_foreign = signature
            .filter(|signature| signature.vendor == target.vendor)
            .and_then(|signature| memory.recall(&signature_key(signature)))
            .is_some_and(|kept| kept.origin != *target);
        if is_foreign {
            loss.dropped("reasoning", "earlier reasoning goes back only to the model that signed it");
        }
        is_foreign
    };
    for turn in turns {
        turn.parts.retain_mut(|part| {
            if is_foreign(part.signature.as_ref()) {
                part.signature = None;
            }
            !matches!(&part.kind, PartKind::Reasoning(reasoning) if is_foreign(reasoning.signature.as_ref()))
        });
    }
}

/// Neighbouring turns of the assistant: one answer, for dialects that give each item a turn of its own.
fn assistant_runs(turns: &[Turn]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in (0..turns.len()).filter(|at| turns[*at].role == Role::Assistant) {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// Where a part stands: its turn, and its place in it.
type Place = (usize, usize);

/// From the last call to the first, so that what is put in moves nothing that is still to be looked at.
fn restore_run(turns: &mut [Turn], run: Range<usize>, memory: &dyn Memory, target: &Origin) {
    let mut start = (run.start, 0);
    let mut found = Vec::new();
    for turn in run {
        for (position, part) in turns[turn].parts.iter().enumerate() {
            let PartKind::ToolCall(call) = &part.kind else { continue };
            let kept = memory.recall(&call.id).filter(|kept| kept.origin == *target);
            found.extend(kept.map(|kept| (start, (turn, position), kept)));
            start = (turn, position + 1);
        }
    }
    for (start, call, kept) in found.into_iter().rev() {
        let part = &mut turns[call.0].parts[call.1];
        if part.signature.is_none() {
            part.signature.clone_from(&kept.signature);
        }
        put_back(turns, start, call, &kept);
    }
}

/// Puts what was said before a call back into the stretch between `start` and it, in its old places.
fn put_back(turns: &mut [Turn], start: Place, call: Place, kept: &Keepsake) {
    let bounds = |turn: usize, parts: &[Part]| {
        let from = if turn == start.0 { start.1 } else { 0 };
        let to = if turn == call.0 { call.1 } else { parts.len() };
        from..to
    };
    let stretch = |turns: &[Turn]| -> Vec<Part> {
        (start.0..=call.0).flat_map(|turn| turns[turn].parts[bounds(turn, &turns[turn].parts)].to_vec()).collect()
    };
    let said = stretch(turns);
    if kept.lead.is_empty() || said.iter().any(is_signed_reasoning) {
        return;
    }
    // A client that changed the text gets all of it in front.
    let is_same_text = said.iter().filter_map(Part::as_text).map(str::len).sum::<usize>() == kept.text_bytes;
    let mut lead = kept.lead.iter().map(|lead| (if is_same_text { lead.text_before } else { 0 }, &lead.part)).peekable();
    let replaces_reasoning = kept.lead.iter().any(|lead| matches!(lead.part.kind, PartKind::Reasoning(_)));
    let mut passed = 0;
    for (turn, Turn { parts, .. }) in turns.iter_mut().enumerate().take(call.0 + 1).skip(start.0) {
        let bounds = bounds(turn, parts);
        let rest = parts.split_off(bounds.end);
        for mut part in parts.split_off(bounds.start) {
            if replaces_reasoning && matches!(part.kind, PartKind::Reasoning(_)) {
                continue;
            }
            while let Some((at, put)) = lead.peek() {
                let behind = at.saturating_sub(passed);
                let head = match &mut part.kind {
                    _ if behind == 0 => None,
                    // It stood between two texts that the client joined.
                    PartKind::Text(text) if behind < text.text.len() && text.text.is_char_boundary(behind) => {
                        let tail = text.text.split_off(behind);
                        Some(std::mem::replace(&mut text.text, tail))
                    }
                    _ => break,
                };
                if let Some(head) = head {
                    passed += head.len();
                    parts.push(Part::text(head));
                }
                parts.push((*put).clone());
                lead.next();
            }
            passed += part.as_text().map_or(0, str::len);
            parts.push(part);
        }
        if turn == call.0 {
            parts.extend(lead.by_ref().map(|(_, part)| part.clone()));
        }
        parts.extend(rest);
    }
}

fn is_signed_reasoning(part: &Part) -> bool {
    matches!(&part.kind, PartKind::Reasoning(reasoning) if reasoning.signature.is_some())
}
