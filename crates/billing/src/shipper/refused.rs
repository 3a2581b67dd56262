//! Brings refused requests to the database.

use std::sync::Arc;

use tallygate_store::{DbTime, Store, StoreError, query};
use uuid::Uuid;

use super::rows;
use crate::alerts::Rules;
use crate::record::UsageRecord;
use crate::refusals::RefusedRequest;

/// Writes all in one transaction. What is there already stays as it is.
pub(super) async fn write(
    store: &Arc<Store>,
    node: &str,
    records: &[UsageRecord],
    refused: &[RefusedRequest],
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    // What was not spent alarms nobody.
    rows::write(&mut tx, node, Uuid::now_v7(), records, &Rules::default()).await?;
    for RefusedRequest { record, by } in refused {
        let by = rows::json(by)?;
        query!(&mut tx, |conn| {
            sqlx::query("UPDATE usage_records SET refused_by = $4 WHERE request_id = $1 AND attempt = $2 AND accepted_at = $3")
                .bind(record.request_id.uuid())
                .bind(i64::from(record.attempt))
                .bind(DbTime(record.accepted_at))
                .bind(&by)
                .execute(conn)
                .await
                .map(|_| ())
        })??;
    }
    tx.commit().await?;
    Ok(())
}
