//! What is known of models by their names, looked up once for each name.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tallygate_adapter::Profiles;
use tallygate_billing::catalogue;

use super::capability::Known;

/// Names that are kept; configurations have some dozens. Beyond it all are looked up anew.
const MAX_NAMES: usize = 4_096;

/// See the module. Read without a lock; a name seen for the first time costs a copy of the table.
#[derive(Default)]
pub struct KnownAbilities(ArcSwap<Table>);

#[derive(Default, Clone)]
struct Table {
    /// What the entries were made of.
    profiles: Option<Arc<Profiles>>,
    of: HashMap<String, Known>,
}

impl KnownAbilities {
    pub fn of(&self, model: &str, profiles: &Arc<Profiles>) -> Known {
        let table = self.0.load();
        let is_current = table.profiles.as_ref().is_some_and(|of| Arc::ptr_eq(of, profiles));
        if let Some(known) = table.of.get(model).filter(|_| is_current) {
            return *known;
        }
        let known = Known {
            abilities: profiles.abilities(model),
            max_input_tokens: catalogue::lookup_anywhere(model).and_then(|listed| listed.max_input_tokens),
        };
        let mut next = if is_current && table.of.len() < MAX_NAMES { Table::clone(&table) } else { Table::default() };
        next.profiles = Some(Arc::clone(profiles));
        next.of.insert(model.to_owned(), known);
        // Of two that are made at once one is lost, and made again when it is asked for.
        self.0.store(Arc::new(next));
        known
    }
}
