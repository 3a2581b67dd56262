//! How our types stand in columns of both engines.

use serde::{Deserialize, Serialize};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};
use tallygate_types::{Pico, Timestamp};

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// Pico-units in a major unit, as `usage_rollups_hourly` splits a sum.
const PICO_PER_UNIT: i128 = 1_000_000_000_000;

/// A [`Timestamp`] in a column: `timestamptz` on PostgreSQL, microseconds in an `INTEGER` on SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DbTime(pub Timestamp);

/// An amount as two integers that add up exactly on both engines: `units * 10^12 + pico`, `0 <= pico < 10^12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitAmount {
    pub units: i64,
    pub pico: i64,
}

impl SplitAmount {
    /// `None` if the units leave 64 bits.
    pub fn from_pico(amount: Pico) -> Option<Self> {
        /// Most amounts are small enough to be divided in one instruction.
        const SHORT: i64 = PICO_PER_UNIT as i64;
        if let Ok(amount) = i64::try_from(amount.get()) {
            return Some(Self { units: amount.div_euclid(SHORT), pico: amount.rem_euclid(SHORT) });
        }
        let units = i64::try_from(amount.get().div_euclid(PICO_PER_UNIT)).ok()?;
        let pico = i64::try_from(amount.get().rem_euclid(PICO_PER_UNIT)).ok()?;
        Some(Self { units, pico })
    }

    /// The amount; also of two sums over many rows, where `pico` has grown past one unit.
    pub fn to_pico(self) -> Pico {
        Pico::new(i128::from(self.units) * PICO_PER_UNIT + i128::from(self.pico))
    }
}

impl From<Timestamp> for DbTime {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl From<DbTime> for Timestamp {
    fn from(at: DbTime) -> Self {
        at.0
    }
}

impl Type<Postgres> for DbTime {
    fn type_info() -> PgTypeInfo {
        // OID 1184, timestamptz: fixed by PostgreSQL.
        PgTypeInfo::with_oid(sqlx::postgres::types::Oid(1184))
    }
}

impl PgHasArrayType for DbTime {
    fn array_type_info() -> PgTypeInfo {
        // OID 1185, timestamptz[].
        PgTypeInfo::with_oid(sqlx::postgres::types::Oid(1185))
    }
}

impl Encode<'_, Postgres> for DbTime {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.micros().checked_sub(POSTGRES_EPOCH_US).ok_or("the time is out of range")?;
        Encode::<Postgres>::encode(micros, buffer)
    }
}

impl Decode<'_, Postgres> for DbTime {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() == PgValueFormat::Text {
            return Err("a timestamptz arrived as text; read it with a prepared statement".into());
        }
        let micros: i64 = Decode::<Postgres>::decode(value)?;
        // `infinity` is i64::MAX: it stays as far away as it can be.
        Ok(Self(Timestamp::from_micros(micros.saturating_add(POSTGRES_EPOCH_US))))
    }
}

impl Type<Sqlite> for DbTime {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(ty)
    }
}

impl Encode<'_, Sqlite> for DbTime {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0.micros(), buffer)
    }
}

impl Decode<'_, Sqlite> for DbTime {
    fn decode(value: SqliteValueRef<'_>) -> Result<Self, BoxDynError> {
        Decode::<Sqlite>::decode(value).map(Timestamp::from_micros).map(Self)
    }
}

/// Text enums: the name in the column and in JSON is the same.
macro_rules! text_enum {
    ($(#[$doc:meta])* pub enum $name:ident($table:literal) { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            #[allow(dead_code, reason = "not every enum is read back from a column")]
            pub(crate) fn read(text: &str) -> Result<Self, $crate::StoreError> {
                text.parse().map_err(|_| $crate::StoreError::corrupt($table, format!("`{text}` is not a {}", stringify!($name))))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::StoreError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|known| known.as_str()).collect();
                    $crate::StoreError::Invalid {
                        field: stringify!($name),
                        reason: format!("`{text}` is unknown; known are {}", known.join(", ")),
                    }
                })
            }
        }
    };
}
pub(crate) use text_enum;
