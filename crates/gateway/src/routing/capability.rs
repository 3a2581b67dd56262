//! Whether a target can take a request at all.

use tallygate_adapter::Abilities;
use tallygate_adapter::media_urls::MediaKind;
use tallygate_store::TargetEntry;

use super::asked::Asked;
use super::view::View;

/// No model in use has a smaller context; what fits it is asked of none.
const SMALLEST_CONTEXT_TOKENS: u64 = 4_096;

/// What is known of a model by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    pub abilities: Abilities,
    /// Input alone, as its vendor lists it.
    pub max_input_tokens: Option<u64>,
}

/// What a target cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Images,
    Documents,
    Tools,
    /// Its context has this many tokens, of which more are needed. An estimate is no fact: this one gives way if no target is
    /// large enough.
    Context {
        has: u64,
        needed: u64,
    },
}

impl Lack {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Documents => "documents",
            Self::Tools => "tools",
            Self::Context { .. } => "context",
        }
    }
}

/// The first thing the target cannot take. Its own word counts, then what is known of its model; the latter only where there
/// is another target to go to.
pub fn lack(target: &TargetEntry, asked: &Asked<'_>, has_choice: bool, view: &impl View) -> Option<Lack> {
    let own = &target.capabilities;
    let needed = asked.input_tokens.saturating_add(asked.output_tokens);
    let is_plain = !asked.has_tools && needed <= SMALLEST_CONTEXT_TOKENS && own.context_tokens.is_none();
    if is_plain && own.images.is_none() && own.documents.is_none() && !has_choice {
        return None;
    }
    let known = if has_choice { view.known(target) } else { Known::default() };
    let can = |own: Option<bool>, known: Option<bool>| own.or(known).unwrap_or(true);
    if !can(own.images, known.abilities.images) && asked.media.has(MediaKind::Image) {
        return Some(Lack::Images);
    }
    if !can(own.documents, known.abilities.documents) && asked.media.has(MediaKind::Document) {
        return Some(Lack::Documents);
    }
    if asked.has_tools && !can(own.tools, known.abilities.tools) {
        return Some(Lack::Tools);
    }
    if let Some(has) = own.context_tokens.or(known.abilities.context_tokens).filter(|has| needed > *has) {
        return Some(Lack::Context { has, needed });
    }
    let max_input = if own.context_tokens.is_some() { None } else { known.max_input_tokens };
    max_input.filter(|has| asked.input_tokens > *has).map(|has| Lack::Context { has, needed: asked.input_tokens })
}
