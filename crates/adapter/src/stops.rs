//! Stop sequences for upstreams that know none: the text is cut here, in front of the first that appears.
//!
//! The upstream goes on until its own end, so that what it used is known exactly; nothing of it is said any more.

use std::collections::{HashMap, HashSet};

use crate::ir::{Candidate, Delta, FinishReason, PartKind, PartStart, Response, StreamEvent};

#[derive(Debug, Default)]
pub(crate) struct Stops {
    sequences: Vec<String>,
    /// Text parts in work: what might be the beginning of a sequence is held back.
    held: HashMap<(u32, u32), String>,
    /// Candidates that were cut, and by which sequence.
    cut: HashMap<u32, String>,
    /// Parts of a cut candidate that are still to be closed.
    open: HashSet<(u32, u32)>,
}

impl Stops {
    /// `None`: the client named none.
    pub fn of(sequences: &[String]) -> Option<Box<Self>> {
        let sequences: Vec<String> = sequences.iter().filter(|sequence| !sequence.is_empty()).cloned().collect();
        (!sequences.is_empty()).then(|| Box::new(Self { sequences, ..Self::default() }))
    }

    pub fn response(&self, response: &mut Response) {
        for candidate in &mut response.candidates {
            if let Some((at, sequence)) = self.cut_text(candidate) {
                candidate.parts.truncate(at + 1);
                candidate.finish = FinishReason::StopSequence;
                candidate.stop_sequence = Some(sequence);
            }
        }
    }

    /// Cuts the first text with a sequence in it; gives the text's place and the sequence.
    fn cut_text(&self, candidate: &mut Candidate) -> Option<(usize, String)> {
        for (at, part) in candidate.parts.iter_mut().enumerate() {
            if let PartKind::Text(text) = &mut part.kind
                && let Some((start, sequence)) = self.first_in(&text.text)
            {
                text.text.truncate(start);
                let chars = text.text.chars().count() as u64;
                text.citations.retain(|citation| citation.end.is_none_or(|end| end <= chars));
                return Some((at, sequence.to_owned()));
            }
        }
        None
    }

    pub fn event(&mut self, event: StreamEvent, out: &mut Vec<StreamEvent>) {
        match event {
            StreamEvent::PartStart { candidate, part, start } => {
                if self.cut.contains_key(&candidate) {
                    return;
                }
                if start == PartStart::Text {
                    self.held.insert((candidate, part), String::new());
                }
                self.open.insert((candidate, part));
                out.push(StreamEvent::PartStart { candidate, part, start });
            }
            StreamEvent::PartDelta { candidate, part, delta } => {
                if self.cut.contains_key(&candidate) {
                    return;
                }
                match (delta, self.held.get_mut(&(candidate, part))) {
                    (Delta::Text(text), Some(held)) => {
                        held.push_str(&text);
                        self.text((candidate, part), out);
                    }
                    (delta, _) => out.push(StreamEvent::PartDelta { candidate, part, delta }),
                }
            }
            StreamEvent::PartEnd { candidate, part } => {
                if self.open.remove(&(candidate, part)) {
                    if let Some(rest) = self.held.remove(&(candidate, part)).filter(|rest| !rest.is_empty()) {
                        out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Text(rest) });
                    }
                    out.push(StreamEvent::PartEnd { candidate, part });
                }
            }
            StreamEvent::Finish { candidate, reason, raw, stop_sequence, explanation } => {
                let by_us = self.cut.get(&candidate).cloned();
                let reason = if by_us.is_some() { FinishReason::StopSequence } else { reason };
                out.push(StreamEvent::Finish { candidate, reason, raw, stop_sequence: by_us.or(stop_sequence), explanation });
            }
            event => out.push(event),
        }
    }

    /// Gives what is known not to belong to a sequence, or cuts.
    fn text(&mut self, (candidate, part): (u32, u32), out: &mut Vec<StreamEvent>) {
        let Some(mut held) = self.held.remove(&(candidate, part)) else { return };
        let hit = self.first_in(&held).map(|(start, sequence)| (start, sequence.to_owned()));
        let keep_from = hit.as_ref().map_or_else(|| held.len() - self.beginning_at_end(&held), |(start, _)| *start);
        let rest = held.split_off(keep_from);
        if !held.is_empty() {
            out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Text(held) });
        }
        match hit {
            Some((_, sequence)) => {
                self.open.remove(&(candidate, part));
                out.push(StreamEvent::PartEnd { candidate, part });
                self.cut.insert(candidate, sequence);
            }
            None => {
                self.held.insert((candidate, part), rest);
            }
        }
    }

    /// Where the first sequence begins, and which it is.
    fn first_in(&self, text: &str) -> Option<(usize, &str)> {
        self.sequences.iter().filter_map(|sequence| Some((text.find(sequence.as_str())?, sequence.as_str()))).min()
    }

    /// Bytes at the end of `text` that may be the beginning of a sequence.
    fn beginning_at_end(&self, text: &str) -> usize {
        let longest = self.sequences.iter().map(String::len).max().unwrap_or(0).saturating_sub(1).min(text.len());
        (1..=longest)
            .rev()
            .filter(|bytes| text.is_char_boundary(text.len() - bytes))
            .find(|bytes| self.sequences.iter().any(|sequence| sequence.starts_with(&text[text.len() - bytes..])))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Candidate, Part};

    fn said(sequences: &[&str], texts: &[&str]) -> (String, FinishReason, Option<String>) {
        let sequences: Vec<String> = sequences.iter().map(|sequence| (*sequence).to_owned()).collect();
        let mut stops = Stops::of(&sequences).unwrap();
        let mut out = Vec::new();
        stops.event(StreamEvent::PartStart { candidate: 0, part: 0, start: PartStart::Text }, &mut out);
        for text in texts {
            stops.event(StreamEvent::PartDelta { candidate: 0, part: 0, delta: Delta::Text((*text).into()) }, &mut out);
        }
        stops.event(StreamEvent::PartEnd { candidate: 0, part: 0 }, &mut out);
        stops.event(StreamEvent::PartStart { candidate: 0, part: 1, start: PartStart::Refusal }, &mut out);
        stops.event(StreamEvent::PartEnd { candidate: 0, part: 1 }, &mut out);
        let finish =
            StreamEvent::Finish { candidate: 0, reason: FinishReason::Stop, raw: None, stop_sequence: None, explanation: None };
        stops.event(finish, &mut out);
        let ends = out.iter().filter(|event| matches!(event, StreamEvent::PartEnd { .. })).count();
        let starts = out.iter().filter(|event| matches!(event, StreamEvent::PartStart { .. })).count();
        assert_eq!(starts, ends);
        let text = out
            .iter()
            .filter_map(|event| match event {
                StreamEvent::PartDelta { delta: Delta::Text(text), .. } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        let Some(StreamEvent::Finish { reason, stop_sequence, .. }) = out.pop() else { panic!() };
        (text, reason, stop_sequence)
    }

    #[test]
    fn the_text_ends_in_front_of_the_first_sequence_however_it_is_cut() {
        let cut = ("one ".to_owned(), FinishReason::StopSequence, Some("END".to_owned()));
        assert_eq!(said(&["END", "STOP"], &["one END two STOP"]), cut);
        assert_eq!(said(&["STOP", "END"], &["on", "e E", "N", "D two"]), cut);
        assert_eq!(said(&["ENDE", "END"], &["one E", "ND two"]), cut);
        assert_eq!(said(&["END"], &["one E", "N"]), ("one EN".into(), FinishReason::Stop, None));
        assert_eq!(said(&["\u{e9}\u{1f980}"], &["a\u{e9}", "\u{e9}\u{1f980}b"]).0, "a\u{e9}");
    }

    #[test]
    fn a_whole_answer_is_cut_at_the_same_place() {
        let mut response = Response {
            candidates: vec![Candidate::new(0, vec![Part::text("one END two"), Part::text("three")], FinishReason::Stop)],
            ..Response::default()
        };
        Stops::of(&["END".into()]).unwrap().response(&mut response);
        let candidate = &response.candidates[0];
        assert_eq!(candidate.parts, [Part::text("one ")]);
        assert_eq!((candidate.finish, candidate.stop_sequence.as_deref()), (FinishReason::StopSequence, Some("END")));
        assert!(Stops::of(&[String::new()]).is_none());
    }
}
