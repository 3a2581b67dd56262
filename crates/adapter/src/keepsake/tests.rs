use std::cell::RefCell;

use super::*;
use crate::ir::{Candidate, FinishReason};
use crate::replay;

#[derive(Debug, Default)]
struct Kept(RefCell<HashMap<String, Arc<Keepsake>>>);

impl Memory for Kept {
    fn recall(&self, call_id: &str) -> Option<Arc<Keepsake>> {
        self.0.borrow().get(call_id).cloned()
    }
}

fn origin(model: &str) -> Origin {
    Origin::new(Dialect::Anthropic, model)
}

fn thought(text: &str) -> Part {
    let signature = Some(Signature { vendor: Vendor::Anthropic, data: format!("signed {text}") });
    Part::new(PartKind::Reasoning(Reasoning { text: text.into(), signature, ..Reasoning::default() }))
}

fn call(id: &str) -> Part {
    Part::tool_call(id, "f", "{}")
}

/// What an answer leaves behind, the same whether it came whole or streamed.
fn kept(parts: Vec<Part>) -> Kept {
    let response = Response { candidates: vec![Candidate::new(0, parts, FinishReason::ToolUse)], ..Response::default() };
    let (mut whole, mut streamed) =
        (Collector::new(Dialect::Anthropic, origin("m")), Collector::new(Dialect::Anthropic, origin("m")));
    whole.response(&response);
    for event in replay::events(&response) {
        streamed.event(&event);
    }
    let left = whole.take();
    assert_eq!(left, streamed.take());
    Kept(RefCell::new(left.into_iter().map(|(key, keepsake)| (key, Arc::new(keepsake))).collect()))
}

fn restored(history: Vec<Vec<Part>>, memory: &Kept, model: &str) -> (Vec<Vec<Part>>, String) {
    let turns = history.into_iter().map(|parts| Turn::new(Role::Assistant, parts)).collect();
    let mut request = Request { turns, ..Request::default() };
    let mut loss = LossReport::default();
    restore(&mut request, memory, &origin(model), &mut loss);
    (request.turns.into_iter().map(|turn| turn.parts).collect(), loss.to_string())
}

fn said() -> Vec<Part> {
    vec![thought("one"), Part::text("ab"), thought("two"), Part::text("cd"), call("a"), thought("three"), call("b")]
}

#[test]
fn thoughts_return_to_their_places_also_between_texts_that_were_joined() {
    let memory = kept(said());
    let joined = vec![Part::text("abcd"), call("a"), call("b")];
    assert_eq!(restored(vec![joined], &memory, "m").0, [said()]);
    // Clients that give each item a turn of its own.
    let items = vec![vec![Part::text("abcd")], vec![call("a")], vec![call("b")]];
    let back = restored(items, &memory, "m").0;
    assert_eq!(back.concat(), said());
}

#[test]
fn a_text_that_was_changed_gets_the_thoughts_in_front() {
    let memory = kept(said());
    let changed = vec![Part::text("other"), call("a")];
    let back = restored(vec![changed], &memory, "m").0.concat();
    assert_eq!(back, [thought("one"), thought("two"), Part::text("other"), call("a")]);
}

#[test]
fn what_the_client_kept_wins_and_bare_text_of_a_thought_is_replaced() {
    let memory = kept(vec![thought("one"), call("a")]);
    let own = vec![thought("own"), call("a")];
    assert_eq!(restored(vec![own.clone()], &memory, "m").0, [own]);
    let bare = Part::new(PartKind::Reasoning(Reasoning { text: "one".into(), ..Reasoning::default() }));
    assert_eq!(restored(vec![vec![bare, call("a")]], &memory, "m").0, [vec![thought("one"), call("a")]]);
}

#[test]
fn another_model_gets_nothing_and_loses_what_the_client_brought() {
    let memory = kept(vec![thought("one"), call("a")]);
    assert_eq!(restored(vec![vec![call("a")]], &memory, "n").0, [vec![call("a")]]);
    let (back, loss) = restored(vec![vec![thought("one"), call("a")]], &memory, "n");
    assert_eq!((back, loss.as_str()), (vec![vec![call("a")]], "dropped=reasoning"));
}

#[test]
fn too_much_is_not_kept_at_all() {
    let memory = kept(vec![thought(&"x".repeat(MAX_KEPT_BYTES)), call("a"), thought("small"), call("b")]);
    assert!(memory.recall("a").is_none() && memory.recall("b").is_none());
}

#[test]
fn families_leave_out_where_and_when_a_model_is_served() {
    for (model, name) in [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5-latest", "claude-sonnet-4-5"),
        ("publishers/google/models/gemini-3-pro", "gemini-3-pro"),
        ("Gemini-3.8-Flash", "gemini-3.8-flash"),
        ("v1", "v1"),
    ] {
        assert_eq!(family(model), name, "{model}");
    }
}
