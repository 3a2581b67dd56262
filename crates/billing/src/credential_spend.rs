//! What the requests that a credential served were charged, by day of UTC: the base of its daily cap.

use std::collections::BTreeMap;

use tallygate_store::{DbTime, Source, SplitAmount, StoreError, Tx, query};
use tallygate_types::{CredentialId, Pico, Timestamp};
use uuid::Uuid;

use crate::record::UsageRecord;

const DAY_SECONDS: i64 = 86_400;

/// The sums of one batch, in the order of their keys, so that two replicas never wait for each other in turn.
#[derive(Debug, Default)]
pub(crate) struct Sums(BTreeMap<(Timestamp, CredentialId), Pico>);

impl Sums {
    pub(crate) fn add(&mut self, record: &UsageRecord) -> Result<(), StoreError> {
        if let (Some(credential), true) = (record.credential_id, record.charge > Pico::ZERO) {
            let sum = self.0.entry((day_of(record.accepted_at), credential)).or_default();
            *sum = sum.checked_add(record.charge).ok_or_else(too_much)?;
        }
        Ok(())
    }

    pub(crate) async fn write(&self, tx: &mut Tx) -> Result<(), StoreError> {
        for ((day, credential), charge) in &self.0 {
            let charge = SplitAmount::from_pico(*charge).ok_or_else(too_much)?;
            query!(&mut *tx, |conn| {
                sqlx::query(
                    "INSERT INTO credential_spend_daily AS s (day, credential_id, charge_units, charge_pico)
                     VALUES ($1, $2, $3, $4)
                     ON CONFLICT (day, credential_id) DO UPDATE SET
                        charge_units = s.charge_units + excluded.charge_units
                            + (s.charge_pico + excluded.charge_pico) / 1000000000000,
                        charge_pico = (s.charge_pico + excluded.charge_pico) % 1000000000000",
                )
                .bind(DbTime(*day))
                .bind(credential.uuid())
                .bind(charge.units)
                .bind(charge.pico)
                .execute(conn)
                .await
                .map(|_| ())
            })??;
        }
        Ok(())
    }
}

/// What each credential has cost on the day of `now`, over all replicas, as far as they have shipped their records.
pub async fn of_today(source: impl Source, now: Timestamp) -> Result<Vec<(CredentialId, Pico)>, StoreError> {
    let rows: Vec<(Uuid, i64, i64)> = query!(source, |conn| {
        sqlx::query_as("SELECT credential_id, charge_units, charge_pico FROM credential_spend_daily WHERE day = $1")
            .bind(DbTime(day_of(now)))
            .fetch_all(conn)
            .await
    })??;
    let amount = |units, pico| SplitAmount { units, pico }.to_pico();
    Ok(rows.into_iter().map(|(id, units, pico)| (CredentialId::from_uuid(id), amount(units, pico))).collect())
}

fn day_of(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.seconds().div_euclid(DAY_SECONDS) * DAY_SECONDS * 1_000_000)
}

fn too_much() -> StoreError {
    StoreError::Invalid { field: "charge", reason: "a sum is beyond what can be recorded".into() }
}
