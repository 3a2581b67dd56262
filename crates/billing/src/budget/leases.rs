//! Leases in the database: taking them, giving them back, and staying alive as the one who holds them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sqlx::PgConnection;
use tallygate_store::{Conn, DbTime, Source, Store, StoreError, Tx};
use tallygate_types::Timestamp;

use super::ledger::Wanted;
use super::windows::{self, Held, LeaseRow, Made, Place};
use crate::balance;

/// What the database says to an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub granted: i128,
    /// What is gone of the budget now, leases included.
    pub gone: i128,
}

/// Gives each what the rules allow (`ledger`), all in one transaction.
pub(super) async fn take(
    store: &Store,
    node: &str,
    epoch: i64,
    asks: &BTreeMap<Place, (Made, Wanted)>,
) -> Result<BTreeMap<Place, Answer>, StoreError> {
    let mut tx = store.begin().await?;
    let answers = {
        let mut conn = postgres(&mut tx).await?;
        check_epoch(&mut conn, node, epoch).await?;
        let mut held = windows::lock(&mut conn, node, asks.iter().map(|(place, (made, _))| (place, *made))).await?;
        limit_balances(&mut conn, &mut held).await?;
        let mut answers = BTreeMap::new();
        let mut denied = Vec::new();
        for (place, Held { window, lease, .. }) in &mut held {
            let Some((_, wanted)) = asks.get(place) else { continue };
            let granted = window.grant(*wanted);
            *lease += granted;
            if granted == 0 {
                denied.push(place);
            }
            answers.insert(place.clone(), Answer { granted, gone: window.gone() });
        }
        windows::want(&mut conn, denied.into_iter()).await?;
        windows::save(&mut conn, node, &held).await?;
        answers
    };
    tx.commit().await?;
    Ok(answers)
}

/// Of a balance the limit is what is booked now: a process may not have heard yet of what was paid in, or taken out.
async fn limit_balances(conn: &mut PgConnection, held: &mut BTreeMap<Place, Held>) -> Result<(), StoreError> {
    let owners: Vec<_> = held.keys().filter_map(|place| place.budget.balance_owner()).collect();
    if owners.is_empty() {
        return Ok(());
    }
    let mut sums = HashMap::new();
    balance::add_sums(conn, &owners, &mut sums).await?;
    for (place, Held { window, .. }) in held {
        if let Some(owner) = place.budget.balance_owner() {
            window.limit = Some(sums.get(&owner).map_or(0, |sum| sum.get()));
        }
    }
    Ok(())
}

/// Gives parts of leases back.
pub(super) async fn give_back(store: &Store, node: &str, amounts: &BTreeMap<Place, (Made, i128)>) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    {
        let mut conn = postgres(&mut tx).await?;
        let mut held = windows::lock(&mut conn, node, amounts.iter().map(|(place, (made, _))| (place, *made))).await?;
        for (place, Held { window, lease, .. }) in &mut held {
            window.take_back(lease, amounts.get(place).map_or(0, |(_, amount)| *amount));
        }
        windows::save(&mut conn, node, &held).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The places of which others ask for more than there is, while `node` holds leases on them.
pub(super) async fn wanted(store: &Store, node: &str, within: Duration) -> Result<Vec<Place>, StoreError> {
    let Conn::Pg(mut conn) = Source::place(store).connection().await? else { return Ok(Vec::new()) };
    let rows: Vec<LeaseRow> = sqlx::query_as(
        "SELECT l.budget_id, l.subject, l.period, l.since, l.currency, l.lease_units, l.lease_pico
         FROM budget_windows w JOIN budget_leases l USING (budget_id, subject, period, since, currency)
         WHERE w.wanted_at > now() - make_interval(secs => $2) AND l.node = $1 AND (l.lease_units > 0 OR l.lease_pico > 0)",
    )
    .bind(node)
    .bind(within.as_secs_f64())
    .fetch_all(&mut *conn)
    .await?;
    rows.into_iter().map(|row| row.read().map(|(place, _)| place)).collect()
}

/// All that `node` has leased, with the end of each window.
pub(super) async fn held(store: &Store, node: &str) -> Result<Vec<(Place, Timestamp, i128)>, StoreError> {
    let Conn::Pg(mut conn) = Source::place(store).connection().await? else { return Ok(Vec::new()) };
    let rows: Vec<HeldRow> = sqlx::query_as(
        "SELECT l.budget_id, l.subject, l.period, l.since, l.currency, l.lease_units, l.lease_pico, w.until
         FROM budget_leases l JOIN budget_windows w USING (budget_id, subject, period, since, currency)
         WHERE l.node = $1 AND (l.lease_units > 0 OR l.lease_pico > 0)",
    )
    .bind(node)
    .fetch_all(&mut *conn)
    .await?;
    rows.into_iter().map(|row| row.lease.read().map(|(place, lease)| (place, row.until.0, lease))).collect()
}

#[derive(sqlx::FromRow)]
struct HeldRow {
    #[sqlx(flatten)]
    lease: LeaseRow,
    until: DbTime,
}

/// Begins to hold leases as `node`: those of an earlier process of it are anybody's again. The epoch to name with each ask.
pub(super) async fn begin(store: &Store, node: &str, lifetime: Duration) -> Result<i64, StoreError> {
    let mut tx = store.begin().await?;
    let epoch = {
        let mut conn = postgres(&mut tx).await?;
        let epoch: i64 = sqlx::query_scalar(
            "INSERT INTO lease_holders (node, epoch, expires_at) VALUES ($1, 1, now() + make_interval(secs => $2))
             ON CONFLICT (node) DO UPDATE SET epoch = lease_holders.epoch + 1, expires_at = excluded.expires_at
             RETURNING epoch",
        )
        .bind(node)
        .bind(lifetime.as_secs_f64())
        .fetch_one(&mut *conn)
        .await?;
        release_all(&mut conn, &[node.to_owned()]).await?;
        epoch
    };
    tx.commit().await?;
    Ok(epoch)
}

/// Lives on for another lifetime; `false` if the leases had run out and are somebody else's.
pub(super) async fn renew(store: &Store, node: &str, epoch: i64, lifetime: Duration) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let renewed = {
        let mut conn = postgres(&mut tx).await?;
        sqlx::query(
            "UPDATE lease_holders SET expires_at = now() + make_interval(secs => $3)
             WHERE node = $1 AND epoch = $2 AND expires_at > now()",
        )
        .bind(node)
        .bind(epoch)
        .bind(lifetime.as_secs_f64())
        .execute(&mut *conn)
        .await?
        .rows_affected()
    };
    tx.commit().await?;
    Ok(renewed == 1)
}

/// Takes the leases from holders whose time has run out; how many there were.
pub(super) async fn reap(store: &Store) -> Result<usize, StoreError> {
    let mut tx = store.begin().await?;
    let gone: Vec<String> = {
        let mut conn = postgres(&mut tx).await?;
        let gone = sqlx::query_scalar(
            "DELETE FROM lease_holders WHERE node IN
                (SELECT node FROM lease_holders WHERE expires_at <= now() ORDER BY node FOR UPDATE SKIP LOCKED) RETURNING node",
        )
        .fetch_all(&mut *conn)
        .await?;
        release_all(&mut conn, &gone).await?;
        gone
    };
    tx.commit().await?;
    Ok(gone.len())
}

/// A process that gives out nothing any more.
pub(super) async fn end(store: &Store, node: &str) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    {
        let mut conn = postgres(&mut tx).await?;
        release_all(&mut conn, &[node.to_owned()]).await?;
        sqlx::query("DELETE FROM lease_holders WHERE node = $1").bind(node).execute(&mut *conn).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// A holder whose leases were taken from it must not take others under its old name: its requests under way would not be covered.
async fn check_epoch(conn: &mut PgConnection, node: &str, epoch: i64) -> Result<(), StoreError> {
    let stored: Option<i64> = sqlx::query_scalar("SELECT epoch FROM lease_holders WHERE node = $1 FOR SHARE")
        .bind(node)
        .fetch_optional(&mut *conn)
        .await?;
    if stored == Some(epoch) {
        return Ok(());
    }
    Err(StoreError::Unavailable("the leases of this process have run out".to_owned()))
}

async fn release_all(conn: &mut PgConnection, nodes: &[String]) -> Result<(), StoreError> {
    for node in nodes {
        let places = windows::leased_by(conn, node).await?;
        let made = Made { until: Timestamp::UNIX_EPOCH, limit: None };
        let mut held = windows::lock(conn, node, places.iter().map(|place| (place, made))).await?;
        for Held { window, lease, .. } in held.values_mut() {
            let all = *lease;
            window.take_back(lease, all);
        }
        windows::save(conn, node, &held).await?;
        sqlx::query("DELETE FROM budget_leases WHERE node = $1").bind(node).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Leases are for many processes over PostgreSQL.
async fn postgres(tx: &mut Tx) -> Result<tallygate_store::Held<'_, sqlx::Postgres>, StoreError> {
    match Source::place(tx).connection().await? {
        Conn::Pg(conn) => Ok(conn),
        Conn::Lite(_) => Err(StoreError::Unavailable("leases of budgets need PostgreSQL".to_owned())),
    }
}
