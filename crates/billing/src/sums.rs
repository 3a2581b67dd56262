//! Rows that carry a sum of usage, as the queries of this crate read them.

use tallygate_store::SplitAmount;
use tallygate_types::{Pico, Usage, UsageClass};

use crate::sql::count;

/// The columns of the usage classes.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct ClassColumns {
    input_uncached: i64,
    input_cache_read: i64,
    input_cache_write_5m: i64,
    input_cache_write_1h: i64,
    input_audio: i64,
    input_audio_cached: i64,
    input_image: i64,
    input_video: i64,
    output_text: i64,
    output_reasoning: i64,
    output_audio: i64,
    output_image: i64,
}

impl ClassColumns {
    pub fn usage(&self) -> Usage {
        let columns = [
            self.input_uncached,
            self.input_cache_read,
            self.input_cache_write_5m,
            self.input_cache_write_1h,
            self.input_audio,
            self.input_audio_cached,
            self.input_image,
            self.input_video,
            self.output_text,
            self.output_reasoning,
            self.output_audio,
            self.output_image,
        ];
        UsageClass::ALL.into_iter().zip(columns).fold(Usage::default(), |usage, (class, tokens)| usage.with(class, count(tokens)))
    }
}

/// A sum of charges in its two columns.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct ChargeColumns {
    charge_units: i64,
    charge_pico: i64,
}

impl ChargeColumns {
    pub fn pico(self) -> Pico {
        SplitAmount { units: self.charge_units, pico: self.charge_pico }.to_pico()
    }
}

/// A sum of what caches saved in its two columns; the units may be below zero.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct SavedColumns {
    cache_saved_units: i64,
    cache_saved_pico: i64,
}

impl SavedColumns {
    pub fn pico(self) -> Pico {
        SplitAmount { units: self.cache_saved_units, pico: self.cache_saved_pico }.to_pico()
    }
}

/// `CAST(SUM(class) AS bigint) AS class` for each class.
pub fn class_sums() -> String {
    UsageClass::ALL.map(|class| format!("CAST(SUM({class}) AS bigint) AS {class}")).join(", ")
}

/// The sum of the rollups' charges.
pub const ROLLUP_CHARGE: &str =
    "CAST(SUM(charge_units) AS bigint) AS charge_units, CAST(SUM(charge_pico) AS bigint) AS charge_pico";

/// The sum of what caches saved by the rollups.
pub const ROLLUP_SAVED: &str =
    "CAST(SUM(cache_saved_units) AS bigint) AS cache_saved_units, CAST(SUM(cache_saved_pico) AS bigint) AS cache_saved_pico";

/// The sum of the records' charges, split so that it cannot overflow 64 bits.
pub const RECORD_CHARGE: &str = "CAST(SUM(charge / 1000000000000) AS bigint) AS charge_units,
    CAST(SUM(charge % 1000000000000) AS bigint) AS charge_pico";
