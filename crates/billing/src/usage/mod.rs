//! Reading usage back: single calls from the records, sums from the rollups.

/// A member of a tenant sees what was done with the keys they made.
const CALLS_OF_PERSON: &str = "key_id IN (SELECT id FROM api_keys WHERE created_by = ?)";

mod records;
mod sums;

pub use self::records::{CSV_HEADER, StoredUsage, UsageDetail, UsageFilter, get, list, to_csv};
pub use self::sums::{Bucket, GroupBy, MAX_BUCKETS, SeriesPoint, SumFilter, UsageSum, series, totals};
