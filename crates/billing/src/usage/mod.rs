//! Reading usage back: single calls from the records, sums from the rollups.

mod records;
mod sums;

pub use self::records::{CSV_HEADER, StoredUsage, UsageDetail, UsageFilter, get, list, to_csv};
pub use self::sums::{Bucket, GroupBy, MAX_BUCKETS, SeriesPoint, SumFilter, UsageSum, series, totals};
