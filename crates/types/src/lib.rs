//! The vocabulary every Tallygate crate shares: ids, money, usage classes, time and the names of the dialects.
//!
//! This crate does no I/O, reads no clock but through [`Clock`], and holds no policy. A charge, for example, is nothing
//! but an exact sum of products:
//!
//! ```
//! use tallygate_types::{Pico, UnitPrice, Usage, UsageClass};
//!
//! let price = UnitPrice::parse_per_million("3.00").unwrap(); // three dollars a million tokens
//! let mut usage = Usage::default();
//! usage.set(UsageClass::InputUncached, 1_200);
//! let charge = price.checked_mul(usage.get(UsageClass::InputUncached)).unwrap();
//! assert_eq!(charge, Pico::new(3_600_000_000)); // 0.0036 dollars
//! assert_eq!(charge.to_string(), "0.0036");
//! ```

mod dialect;
mod id;
mod id_map;
pub mod live;
mod money;
mod network;
mod no_proxy;
mod steady;
mod text;
mod time;
mod usage;

pub use dialect::{Dialect, ParseDialectError};
pub use id::{
    AdminTokenId, ApiKeyId, AuditEventId, BalanceEntryId, BudgetId, CredentialId, IdError, IdText, ModelId, NotificationId,
    PriceVersionId, ProjectId, RequestId, RouteId, SessionId, TargetId, TenantId, UpstreamId, UserId, VoucherId,
};
pub use id_map::{IdHasher, IdMap};
pub use money::{Currency, MoneyError, Pico, PicoText, UnitPrice};
pub use network::{Network, NetworkError};
pub use no_proxy::{NoProxy, NoProxyError};
pub use steady::SteadyClock;
pub use time::{Clock, ManualClock, Moment, SystemClock, Timestamp};
pub use usage::{Usage, UsageClass};
