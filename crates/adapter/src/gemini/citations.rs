//! Where an answer's statements come from. Google's offsets count UTF-8 bytes of one part, ours characters.

use serde::Deserialize;
use serde_json::Value;

use super::wire::{GroundingChunk, GroundingMetadata, Segment, integer, list};
use crate::ir::Citation;

/// Most citations that are read of one candidate.
const MAX_CITATIONS: usize = 512;

/// A text as it stood on the wire, in the part it became a piece of.
pub(super) struct Piece<'a> {
    /// Its place among the parts of the wire.
    pub position: usize,
    /// The part it went into, as the caller counts them.
    pub part: usize,
    /// Where it begins in that part's text, in bytes.
    pub start: usize,
    /// That part's whole text.
    pub text: &'a str,
}

/// An entry of `citationMetadata`: `citationSources` on the Developer API, `citations` on Vertex.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct CitationMetadata {
    #[serde(alias = "citations", alias = "citation_sources", deserialize_with = "list")]
    citation_sources: Vec<CitationSource>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct CitationSource {
    #[serde(alias = "start_index", deserialize_with = "integer")]
    start_index: Option<i64>,
    #[serde(alias = "end_index", deserialize_with = "integer")]
    end_index: Option<i64>,
    uri: Option<String>,
    title: Option<String>,
}

/// All citations with the part each belongs to.
pub(super) fn read(
    grounding: Option<&GroundingMetadata>,
    sources: Option<&Value>,
    pieces: &[Piece<'_>],
) -> Vec<(usize, Citation)> {
    let mut citations = Vec::new();
    let Some(last) = pieces.last() else { return citations };
    if let Some(grounding) = grounding {
        for support in &grounding.grounding_supports {
            let Some(segment) = &support.segment else { continue };
            let mut cited = None;
            for index in &support.grounding_chunk_indices {
                let Some(source) = grounding.grounding_chunks.get(*index).and_then(source) else { continue };
                if citations.len() >= MAX_CITATIONS {
                    return citations;
                }
                let (part, start, end) = cited.get_or_insert_with(|| place(segment, pieces, last));
                let cited_text = segment.text.clone();
                citations.push((*part, Citation { start: Some(*start), end: Some(*end), cited_text, ..source }));
            }
        }
        if grounding.grounding_supports.is_empty() {
            // Where nothing says what they support, they support the whole.
            let room = MAX_CITATIONS - citations.len();
            citations.extend(grounding.grounding_chunks.iter().filter_map(source).take(room).map(|source| (last.part, source)));
        }
    }
    let metadata = sources.and_then(|sources| CitationMetadata::deserialize(sources).ok()).unwrap_or_default();
    let room = MAX_CITATIONS.saturating_sub(citations.len());
    for CitationSource { start_index, end_index, uri, title } in
        metadata.citation_sources.into_iter().filter(|source| source.uri.is_some()).take(room)
    {
        let (part, start, end) = place(&Segment { start_index, end_index, ..Segment::default() }, pieces, last);
        citations.push((part, Citation { start: Some(start), end: Some(end), url: uri, title, ..Citation::default() }));
    }
    citations
}

/// What a chunk names: a page, a place, an image, or a document of a store.
fn source(chunk: &GroundingChunk) -> Option<Citation> {
    if let Some(web) = &chunk.web {
        return Some(Citation { url: web.uri.clone(), title: web.title.clone(), ..Citation::default() });
    }
    let (_, other) = chunk.rest.iter().find(|(_, other)| other.is_object())?;
    let text = |names: [&str; 2]| names.iter().find_map(|name| other.get(*name)).and_then(Value::as_str).map(str::to_owned);
    let url = text(["uri", "sourceUri"])?;
    Some(Citation { url: Some(url), title: text(["title", "placeTitle"]), ..Citation::default() })
}

/// Part, and first and last character of a segment. Where its offsets do not show its text, the text is looked for: in
/// streams they count from where nobody can tell.
fn place(segment: &Segment, pieces: &[Piece<'_>], last: &Piece<'_>) -> (usize, u64, u64) {
    let bytes = |index: Option<i64>| usize::try_from(index.unwrap_or(0)).unwrap_or(0);
    let position = bytes(segment.part_index);
    let piece = pieces.iter().find(|piece| piece.position == position).unwrap_or(last);
    let at = |piece: &Piece<'_>, offset: usize| piece.text.floor_char_boundary(piece.start.saturating_add(offset));
    let (start, end) = (at(piece, bytes(segment.start_index)), at(piece, bytes(segment.end_index)));
    let found = segment.text.as_deref().filter(|text| !text.is_empty() && piece.text.get(start..end) != Some(text));
    if let Some((piece, start, text)) =
        found.and_then(|text| pieces.iter().find_map(|piece| Some((piece, piece.text.find(text)?, text))))
    {
        return characters(piece, start, start + text.len());
    }
    characters(piece, start, end.max(start))
}

fn characters(piece: &Piece<'_>, start: usize, end: usize) -> (usize, u64, u64) {
    let before = piece.text[..start].chars().count() as u64;
    (piece.part, before, before + piece.text[start..end].chars().count() as u64)
}
