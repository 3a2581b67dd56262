//! The window of a balance, for whoever books on it.

use std::iter;

use tallygate_store::{BudgetPeriod, Conn, Source, StoreError, Tx};
use tallygate_types::{BudgetId, Currency, Pico, TenantId, Timestamp};

use super::account::window;
use super::windows::{self, Made, Place, WindowState};

fn place(tenant: TenantId, currency: Currency) -> (Place, Timestamp) {
    // All time is the same in every zone.
    let always = window(BudgetPeriod::Total, Timestamp::UNIX_EPOCH, "UTC");
    let (budget, period) = (BudgetId::of_balance(tenant), BudgetPeriod::Total);
    (Place { budget, subject: "".into(), period, since: always.start, currency }, always.end)
}

/// Keeps processes from leasing of a balance until the transaction ends: what is gone of it, and how much of that is leased.
pub(crate) async fn lock_balance(tx: &mut Tx, tenant: TenantId, currency: Currency) -> Result<(Pico, Pico), StoreError> {
    if let Conn::Pg(mut conn) = Source::place(&mut *tx).connection().await? {
        let (place, until) = place(tenant, currency);
        let held = windows::lock(&mut conn, "", iter::once((&place, Made { until, limit: None }))).await?;
        let window = held.get(&place).map(|held| held.window).unwrap_or_default();
        return Ok((Pico::new(window.gone()), Pico::new(window.leased)));
    }
    // One transaction at a time writes, and nothing is leased.
    Ok((of_balance(tx, tenant, currency).await?.map_or(Pico::ZERO, |window| window.spent), Pico::ZERO))
}

/// Where the balance's window stands; none before anything was drawn on it.
pub(crate) async fn of_balance(tx: &mut Tx, tenant: TenantId, currency: Currency) -> Result<Option<WindowState>, StoreError> {
    windows::at(tx, &place(tenant, currency).0).await
}

/// Notes that somebody asked for more of it than there is.
pub(crate) async fn want_balance(tx: &mut Tx, tenant: TenantId) -> Result<(), StoreError> {
    if let Conn::Pg(mut conn) = Source::place(tx).connection().await? {
        sqlx::query("UPDATE budget_windows SET wanted_at = now() WHERE budget_id = $1")
            .bind(BudgetId::of_balance(tenant).uuid())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
