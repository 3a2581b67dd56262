//! Price versions in the database.

use sqlx::types::Json;
use tallygate_store::{DbTime, Source, Store, StoreError, Tx, query};
use tallygate_types::{Currency, ModelId, PriceVersionId, Timestamp};
use uuid::Uuid;

use crate::price::{ClassPrices, PriceVersion};
use crate::price_book::PriceBook;

const TABLE: &str = "price_versions";

/// A price to set.
#[derive(Debug, Clone)]
pub struct NewPrice {
    pub model_id: ModelId,
    pub currency: Currency,
    pub valid_from: Timestamp,
    pub prices: ClassPrices,
    pub source: Option<String>,
    /// As the audit trail names them.
    pub created_by: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    model_id: Uuid,
    currency: String,
    valid_from: DbTime,
    prices: Json<ClassPrices>,
    source: Option<String>,
    created_by: String,
    created_at: DbTime,
}

impl TryFrom<Row> for PriceVersion {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: PriceVersionId::from_uuid(row.id),
            model_id: ModelId::from_uuid(row.model_id),
            currency: read_currency(TABLE, &row.currency)?,
            valid_from: row.valid_from.0,
            prices: row.prices.0,
            source: row.source,
            created_at: row.created_at.0,
            created_by: row.created_by,
        })
    }
}

pub(crate) fn read_currency(table: &'static str, text: &str) -> Result<Currency, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt { table, reason: format!("{error}") })
}

/// Adds a version. It never changes what was charged before: a record keeps the prices it was made with.
pub async fn create(tx: &mut Tx, new: NewPrice) -> Result<PriceVersion, StoreError> {
    if new.prices.is_empty() {
        return Err(StoreError::Invalid {
            field: "prices",
            reason: "set the price of one class at least (zero is allowed)".into(),
        });
    }
    let version = PriceVersion {
        id: PriceVersionId::generate(),
        model_id: new.model_id,
        currency: new.currency,
        valid_from: new.valid_from,
        prices: new.prices,
        source: new.source,
        created_at: tx.now(),
        created_by: new.created_by,
    };
    let inserted = query!(&mut *tx, |conn| {
        sqlx::query(
            "INSERT INTO price_versions (id, model_id, currency, valid_from, prices, source, created_by, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (model_id, valid_from) DO NOTHING",
        )
        .bind(version.id.uuid())
        .bind(version.model_id.uuid())
        .bind(version.currency.as_str())
        .bind(DbTime(version.valid_from))
        .bind(Json(version.prices))
        .bind(version.source.as_deref())
        .bind(&version.created_by)
        .bind(DbTime(version.created_at))
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })??;
    if inserted == 0 {
        return Err(StoreError::AlreadyExists {
            kind: "price version",
            field: "valid_from",
            value: version.valid_from.to_string(),
        });
    }
    tx.touch_config();
    Ok(version)
}

/// The versions of a model, the latest first; with no model, of all of them.
pub async fn list(source: impl Source, model: Option<ModelId>) -> Result<Vec<PriceVersion>, StoreError> {
    let model = model.map(ModelId::uuid);
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(
            "SELECT id, model_id, currency, valid_from, prices, source, created_by, created_at FROM price_versions
             WHERE ($1 IS NULL OR model_id = $1) ORDER BY valid_from DESC, created_at DESC",
        )
        .bind(model)
        .fetch_all(conn)
        .await
    })??;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn get(source: impl Source, id: PriceVersionId) -> Result<PriceVersion, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(
            "SELECT id, model_id, currency, valid_from, prices, source, created_by, created_at FROM price_versions WHERE id = $1",
        )
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
    })??;
    row.ok_or_else(|| StoreError::NotFound { kind: "price version", id: id.to_string() })?.try_into()
}

impl PriceBook {
    /// Reads all versions anew: at start, and when the change feed says that the configuration moved. How many there are.
    pub async fn reload(&self, store: &Store) -> Result<usize, StoreError> {
        let all = list(store, None).await?;
        let count = all.len();
        self.replace(all);
        Ok(count)
    }
}
