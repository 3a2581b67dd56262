//! What the simulated provider remembers of its answers: the calls it made, so that an altered one is known when it comes
//! back, and the items it stored.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::answer::Call;
use crate::conversation::{Ask, Said};
use crate::dialect::Problem;

/// Calls that are remembered; the oldest are forgotten first.
const MAX_CALLS: usize = 20_000;
/// Ids of stored items that are remembered; the oldest are forgotten first.
const MAX_ITEMS: usize = 20_000;

#[derive(Clone, Debug)]
struct Made {
    call: Call,
    /// The reasoning item that led to it, where the dialect has such items and keeps them together.
    reasoning: Option<String>,
}

#[derive(Default)]
struct Kept {
    calls: HashMap<String, Made>,
    order: VecDeque<String>,
    items: HashSet<String>,
    item_order: VecDeque<String>,
}

/// The memory behind all connections of one listener.
#[derive(Default)]
pub(crate) struct Memory {
    kept: Mutex<Kept>,
}

impl Memory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a call by the id the caller sees; `reasoning` is the item that led to it.
    pub(crate) fn made(&self, id: String, call: &Call, reasoning: Option<String>) {
        let mut kept = self.kept();
        if kept.order.len() == MAX_CALLS
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.calls.remove(&oldest);
        }
        kept.order.push_back(id.clone());
        kept.calls.insert(id, Made { call: call.clone(), reasoning });
    }

    /// Remembers an item as stored.
    pub(crate) fn store(&self, id: String) {
        let mut kept = self.kept();
        if kept.item_order.len() == MAX_ITEMS
            && let Some(oldest) = kept.item_order.pop_front()
        {
            kept.items.remove(&oldest);
        }
        kept.item_order.push_back(id.clone());
        kept.items.insert(id);
    }

    /// Refuses a conversation whose model's turns are not what was answered.
    pub(crate) fn check(&self, ask: &Ask) -> Result<(), Problem> {
        let kept = self.kept();
        for id in &ask.stored_items {
            if !kept.items.contains(id) {
                let text = format!(
                    "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input."
                );
                return Err(Problem::Invalid { message: text, param: Some("input".to_owned()), code: None });
            }
        }
        for said in &ask.history {
            let Said::Model(calls) = said else { continue };
            for past in calls {
                let Some(made) = past.id.as_ref().and_then(|id| kept.calls.get(id)) else { continue };
                if made.call.name != past.name || made.call.arguments != past.arguments {
                    let text = format!(
                        "The call {} was answered as `{}` with {}, and came back as `{}` with {}.",
                        past.id.as_deref().unwrap_or_default(),
                        made.call.name,
                        made.call.arguments,
                        past.name,
                        past.arguments
                    );
                    return Err(Problem::invalid(text, "messages"));
                }
                if let (Some(item), Some(reasoning)) = (&past.item, &made.reasoning)
                    && !past.reasoned
                {
                    let text = format!(
                        "Item '{item}' of type 'function_call' was provided without its required 'reasoning' item: '{reasoning}'."
                    );
                    return Err(Problem::invalid(text, "input"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::PastCall;

    fn past(arguments: serde_json::Value) -> Ask {
        let call = PastCall { id: Some("c1".to_owned()), name: "f".to_owned(), arguments, ..PastCall::default() };
        Ask { history: vec![Said::Model(vec![call])], ..Ask::default() }
    }

    #[test]
    fn an_altered_call_is_refused_and_a_reordered_object_is_not() {
        let memory = Memory::default();
        memory.made("c1".to_owned(), &Call { name: "f".to_owned(), arguments: json!({"a": 1, "b": 2}) }, None);
        assert_eq!(memory.check(&past(json!({"b": 2, "a": 1}))), Ok(()));
        assert!(memory.check(&past(json!({"a": 1}))).is_err());
    }

    #[test]
    fn a_call_sent_as_an_item_needs_its_reasoning() {
        let memory = Memory::default();
        let call = Call { name: "f".to_owned(), arguments: json!({}) };
        memory.made("c1".to_owned(), &call, Some("rs_1".to_owned()));
        let mut ask = past(json!({}));
        assert_eq!(memory.check(&ask), Ok(()));
        let Said::Model(calls) = &mut ask.history[0] else { unreachable!() };
        calls[0].item = Some("fc_1".to_owned());
        let wanted = "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'.";
        assert_eq!(memory.check(&ask), Err(Problem::invalid(wanted, "input")));
    }

    #[test]
    fn an_item_that_was_not_stored_is_not_found() {
        let memory = Memory::default();
        memory.store("rs_1".to_owned());
        let ask = |id: &str| Ask { stored_items: vec![id.to_owned()], ..Ask::default() };
        assert_eq!(memory.check(&ask("rs_1")), Ok(()));
        assert!(memory.check(&ask("rs_2")).is_err());
    }
}
