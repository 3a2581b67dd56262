//! What somebody is told of.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tallygate_store::{BudgetEntry, BudgetPeriod, Snapshot, StoreError, TenantEntry, Tx};
use tallygate_types::{BudgetId, IdMap, NotificationId, Pico, Timestamp};

use super::notifications::{self, New};
use crate::budget::Spent;

/// Occasions known to be in the database already, so that it need not be asked with each batch; all are forgotten beyond it.
const MAX_KNOWN: usize = 100_000;

/// The budgets of a snapshot that somebody is told of.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// In which tenant, and at which place among its budgets.
    watched: IdMap<BudgetId, (Arc<TenantEntry>, usize)>,
    known: Mutex<HashSet<Occasion>>,
}

/// A budget, end user, window and what was passed in it: told of once.
type Occasion = (BudgetId, Box<str>, Timestamp, String);

impl Rules {
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut watched = IdMap::default();
        for tenant in snapshot.tenants.values() {
            for (at, entry) in tenant.budgets().iter().enumerate() {
                let is_told_of_balance = entry.balance.is_some_and(|balance| balance.alert.is_some());
                if !entry.settings.alerts.is_empty() || is_told_of_balance {
                    watched.insert(entry.id, (Arc::clone(tenant), at));
                }
            }
        }
        Self { watched, known: Mutex::default() }
    }

    pub fn watch(&self, budget: BudgetId) -> bool {
        self.watched.contains_key(&budget)
    }

    /// Writes a notification for whatever was passed and is not told of yet.
    pub async fn note(&self, tx: &mut Tx, spent: &[Spent]) -> Result<(), StoreError> {
        for spent in spent {
            let Some((tenant, at)) = self.watched.get(&spent.draw.budget) else { continue };
            let Some(entry) = tenant.budgets().get(*at) else { continue };
            // Of another currency or period are windows of what the budget was before.
            if (entry.settings.currency, entry.settings.period) != (spent.currency, spent.draw.period) {
                continue;
            }
            for (occasion, percent) in passed(entry, spent.amount) {
                let known = (entry.id, spent.draw.subject.clone(), spent.draw.since, occasion);
                if self.known().contains(&known) {
                    continue;
                }
                let id = NotificationId::generate();
                let event = event(id, tx.now(), tenant, entry, spent, percent);
                let new = New { id, tenant: tenant.id, spent, occasion: &known.3, event: &event };
                // One that was there is committed; one that is made now may yet be rolled back.
                if !notifications::insert(tx, &new).await? {
                    let mut all = self.known();
                    if all.len() >= MAX_KNOWN {
                        all.clear();
                    }
                    all.insert(known);
                }
            }
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Occasion>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be told with so much spent: the name of each occasion, and its percent; a balance that is low has none.
fn passed(entry: &BudgetEntry, spent: Pico) -> Vec<(String, Option<u16>)> {
    let amount = entry.settings.amount.get();
    let is_passed = |percent: &&u16| spent.get().saturating_mul(100) >= amount.saturating_mul(i128::from(**percent));
    let mut passed: Vec<_> =
        entry.settings.alerts.iter().filter(is_passed).map(|percent| (format!("{percent}%"), Some(*percent))).collect();
    if let Some(balance) = entry.balance
        && balance.alert.is_some_and(|alert| amount.saturating_sub(spent.get()) < alert.get())
    {
        passed.push((format!("low:{}", balance.entries), None));
    }
    passed
}

/// What is told, as it is sent.
fn event(
    id: NotificationId,
    at: Timestamp,
    tenant: &TenantEntry,
    entry: &BudgetEntry,
    spent: &Spent,
    percent: Option<u16>,
) -> Value {
    let settings = &entry.settings;
    let ends = settings.period != BudgetPeriod::Total;
    let subject = serde_json::to_value(&settings.scope).unwrap_or_default();
    let mut event = json!({
        "id": id,
        "type": if percent.is_some() { "budget.threshold" } else { "balance.low" },
        "created_at": at,
        "tenant": { "id": tenant.id, "name": tenant.name },
        "budget": {
            "id": entry.id,
            "period": settings.period,
            "mode": settings.mode,
            "starts_at": ends.then_some(spent.draw.since),
            "ends_at": ends.then_some(spent.draw.until),
        },
        "percent": percent,
        "amount": settings.amount,
        "spent": spent.amount,
        "remaining": Pico::new(settings.amount.get().saturating_sub(spent.amount.get())),
        "currency": settings.currency,
    });
    if let (Some(budget), Value::Object(subject)) = (event["budget"].as_object_mut(), subject) {
        budget.extend(subject);
        if !spent.draw.subject.is_empty() {
            budget.insert("end_user".into(), json!(spent.draw.subject));
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use tallygate_store::{BalanceEntry, Budget};
    use tallygate_types::{Currency, TenantId};

    use super::*;

    #[test]
    fn each_percent_is_passed_at_its_amount_and_not_before() {
        let budget = Budget { amount: Pico::new(300), currency: Currency::USD, period: BudgetPeriod::Month };
        let entry = BudgetEntry::of_tenant(TenantId::generate(), budget);
        let passed = |spent| passed(&entry, Pico::new(spent)).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(passed(239), [""; 0]);
        assert_eq!(passed(240), ["80%"]);
        assert_eq!((passed(299), passed(300)), (vec!["80%".to_owned()], vec!["80%".to_owned(), "100%".to_owned()]));
    }

    #[test]
    fn a_balance_is_low_below_its_mark_anew_with_each_entry() {
        let balance = |entries| {
            let balance = BalanceEntry { alert: Some(Pico::new(50)), entries };
            BudgetEntry::of_balance(TenantId::generate(), Pico::new(300), Currency::USD, balance)
        };
        assert_eq!(passed(&balance(1), Pico::new(250)), []);
        assert_eq!(passed(&balance(1), Pico::new(251)), [("low:1".to_owned(), None)]);
        assert_eq!(passed(&balance(2), Pico::new(251)), [("low:2".to_owned(), None)]);
    }
}
