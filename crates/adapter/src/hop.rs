//! Answers in several calls: an upstream stops halfway, keeps what it has in hand, and wants to be asked to go on.
//!
//! Anthropic does so while it runs its own tools (`pause_turn`), Gemini at a limit of its own (`CONTINUATION`). Clients of
//! other dialects know no such thing. So what the upstream said so far is sent back to it, and its answers become one: one
//! stream, one sum of usage.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;

use crate::ir::{Candidate, Response, StreamEvent, UsageReport};
use crate::pieces::Pieces;

/// Further calls for one answer, at most; the answer then ends as one cut for its length.
pub const MAX_HOPS: u32 = 5;

/// A further request to the upstream that is answering, with the same credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Path and query, with its version: see [`crate::join_url`].
    pub path: Cow<'static, str>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Pieces,
}

/// What a step of an answer came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<T> {
    Done(T),
    /// Send this, and feed what comes back into the same session or stream.
    Again(Hop),
}

/// Follows an upstream's answer, to be able to ask for the rest of it. `follow` of a dialect's folder makes one.
pub(crate) trait Follow: Debug + Send {
    /// One event of a stream, as the upstream sent it.
    fn event(&mut self, data: &[u8]);
    /// A whole answer.
    fn answer(&mut self, body: &[u8]);
    /// The upstream stopped halfway and can be asked to go on.
    fn is_paused(&self) -> bool;
    /// The body that asks it to. What follows is another answer.
    fn resume(&mut self) -> Vec<u8>;
}

/// For dialects whose upstreams never stop halfway.
pub(crate) fn never(_body: &Bytes) -> Option<Box<dyn Follow>> {
    None
}

/// A translated answer on its way through one or more calls.
#[derive(Debug)]
pub(crate) struct Course {
    path: Cow<'static, str>,
    headers: Vec<(&'static str, String)>,
    left: u32,
    follow: Box<dyn Follow>,
}

impl Course {
    pub fn new(path: Cow<'static, str>, headers: Vec<(&'static str, String)>, follow: Box<dyn Follow>) -> Self {
        Self { path, headers, left: MAX_HOPS, follow }
    }

    pub fn event(&mut self, data: &[u8]) {
        self.follow.event(data);
    }

    pub fn answer(&mut self, body: &[u8]) {
        self.follow.answer(body);
    }

    /// The answer goes on in another call.
    pub fn goes_on(&self) -> bool {
        self.left > 0 && self.follow.is_paused()
    }

    pub fn next(&mut self) -> Option<Hop> {
        self.goes_on().then(|| {
            self.left -= 1;
            Hop { path: self.path.clone(), headers: self.headers.clone(), body: self.follow.resume().into() }
        })
    }
}

/// Usage over all calls of an answer.
#[derive(Debug, Default)]
struct Sum {
    before: Option<UsageReport>,
    raws: Vec<String>,
    current: Option<UsageReport>,
}

impl Sum {
    /// The latest report of the present call, which replaces those before it; gives the sum over all calls.
    fn add(&mut self, report: UsageReport) -> UsageReport {
        let sum = match &self.before {
            None => report.clone(),
            Some(before) => {
                let usage = before.usage.checked_add(&report.usage).unwrap_or(report.usage);
                let raws: Vec<&str> = self.raws.iter().chain([&report.raw]).map(String::as_str).collect();
                UsageReport { usage, raw: format!("[{}]", raws.join(",")) }
            }
        };
        self.current = Some(report);
        sum
    }

    fn next_call(&mut self) {
        let Some(current) = self.current.take() else { return };
        let usage = match &self.before {
            Some(before) => before.usage.checked_add(&current.usage).unwrap_or(current.usage),
            None => current.usage,
        };
        self.raws.push(current.raw.clone());
        self.before = Some(UsageReport { usage, raw: String::new() });
    }
}

/// Makes one stream of the events of several calls.
#[derive(Debug, Default)]
pub(crate) struct JoinedEvents {
    has_started: bool,
    /// By candidate: the number of its first part in this call, and the first number that is free.
    parts: BTreeMap<u32, (u32, u32)>,
    sum: Sum,
}

impl JoinedEvents {
    /// The event as it stands in the whole; `None` if it only belongs to its call. `goes_on`: another call follows this one.
    pub fn pass(&mut self, mut event: StreamEvent, goes_on: bool) -> Option<StreamEvent> {
        match &mut event {
            StreamEvent::Start { .. } if std::mem::replace(&mut self.has_started, true) => return None,
            StreamEvent::Finish { .. } | StreamEvent::End if goes_on => return None,
            StreamEvent::PartStart { candidate, part, .. } => {
                let (first, free) = self.parts.entry(*candidate).or_default();
                *part += *first;
                *free = (*free).max(*part + 1);
            }
            StreamEvent::PartDelta { candidate, part, .. } | StreamEvent::PartEnd { candidate, part } => {
                *part = self.number_of(*candidate, *part);
            }
            StreamEvent::Usage(report) => *report = self.sum.add(std::mem::take(report)),
            _ => {}
        }
        Some(event)
    }

    /// The number in the whole of a part of the present call.
    pub fn number_of(&self, candidate: u32, part: u32) -> u32 {
        part + self.parts.get(&candidate).map_or(0, |(first, _)| *first)
    }

    pub fn next_call(&mut self) {
        for (first, free) in self.parts.values_mut() {
            *first = *free;
        }
        self.sum.next_call();
    }
}

/// Makes one whole answer of several.
#[derive(Debug, Default)]
pub(crate) struct JoinedAnswers {
    whole: Option<Response>,
    sum: Sum,
}

impl JoinedAnswers {
    pub fn add(&mut self, mut response: Response) {
        let usage = response.usage.take().map(|report| self.sum.add(report));
        let whole = match &mut self.whole {
            None => self.whole.insert(response),
            Some(whole) => {
                for candidate in response.candidates {
                    join(&mut whole.candidates, candidate);
                }
                whole
            }
        };
        whole.usage = usage.or(whole.usage.take());
        self.sum.next_call();
    }

    pub fn take(&mut self) -> Option<Response> {
        self.whole.take()
    }
}

fn join(candidates: &mut Vec<Candidate>, mut rest: Candidate) {
    match candidates.iter_mut().find(|candidate| candidate.index == rest.index) {
        None => candidates.push(rest),
        Some(candidate) => {
            rest.parts.splice(..0, std::mem::take(&mut candidate.parts));
            *candidate = rest;
        }
    }
}
