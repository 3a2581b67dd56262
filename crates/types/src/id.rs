//! One type per kind of id, so that a key id can never be passed where a tenant id is meant.
//!
//! An id is a UUIDv7: sortable by creation. Its text is a short prefix and 32 hex digits (`ten_0192…`), which the API, the
//! logs and the command line use; the databases store the bare UUID.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use uuid::fmt::Simple;

use crate::text::deserialize_parsed;

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id; expected `{prefix}_` and 32 hex digits")]
pub struct IdError {
    kind: &'static str,
    prefix: &'static str,
    text: String,
}

/// The text of an id, where no place on the heap is wanted for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdText<const BYTES: usize = { 4 + Simple::LENGTH }>([u8; BYTES]);

impl<const BYTES: usize> IdText<BYTES> {
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const BYTES: usize> Deref for IdText<BYTES> {
    type Target = str;

    fn deref(&self) -> &str {
        // Prefixes and hex digits.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const BYTES: usize> fmt::Display for IdText<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<const BYTES: usize> fmt::Debug for IdText<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later than any made before it by this process.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// Its text. Ids are written some twenty times a request, and the machinery of `format!` costs more than the digits.
            pub fn text(self) -> IdText<{ $prefix.len() + 1 + Simple::LENGTH }> {
                let mut text = [b'_'; $prefix.len() + 1 + Simple::LENGTH];
                text[..$prefix.len()].copy_from_slice($prefix.as_bytes());
                self.0.as_simple().encode_lower(&mut text[$prefix.len() + 1..]);
                IdText(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { kind: $kind, prefix: $prefix, text: text.to_owned() };
                let hex = text.strip_prefix(concat!($prefix, "_")).filter(|hex| hex.len() == 32).ok_or_else(error)?;
                Uuid::try_parse(hex).map(Self).map_err(|_| error())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_parsed(deserializer, "an id")
            }
        }
    )*};
}

ids! {
    /// A customer of the installation: owns projects, keys, limits, budgets and bills.
    TenantId = "ten", "tenant";
    /// A cost centre inside a tenant.
    ProjectId = "prj", "project";
    /// How much may be spent in a period.
    BudgetId = "bud", "budget";
    /// What was paid into a tenant's balance, or taken from it.
    BalanceEntryId = "bal", "balance entry";
    /// A code that is worth money.
    VoucherId = "vou", "voucher";
    /// What somebody is told of a budget.
    NotificationId = "ntf", "notification";
    /// A key issued to a tenant.
    ApiKeyId = "key", "API key";
    /// A person who signs in to the dashboard.
    UserId = "usr", "user";
    /// A dashboard session.
    SessionId = "ses", "session";
    /// A token of the admin API.
    AdminTokenId = "adm", "admin token";
    /// A provider endpoint requests are sent to.
    UpstreamId = "ups", "upstream";
    /// One secret of an upstream.
    CredentialId = "crd", "credential";
    /// A model as tenants name it.
    ModelId = "mod", "model";
    /// One place a model is served from: an upstream and the name the model has there.
    TargetId = "tgt", "target";
    /// A rule that decides where requests go.
    RouteId = "rte", "route";
    /// One dated price of a model.
    PriceVersionId = "prc", "price version";
    /// One client call.
    RequestId = "req", "request";
    /// One row of the audit trail.
    AuditEventId = "aud", "audit event";
}

/// The version of UUIDs whose maker says what they mean (RFC 9562, 5.8); all others of ours are of the seventh.
const CUSTOM_VERSION: u8 = 0x80;
const TIME_VERSION: u8 = 0x70;

impl BudgetId {
    /// The balance of a prepaid tenant is a budget, whose id is the tenant's but for the version of the UUID.
    #[must_use]
    pub const fn of_balance(tenant: TenantId) -> Self {
        Self(with_version(tenant.0, CUSTOM_VERSION))
    }

    /// Whose balance it is, if it is one.
    pub const fn balance_owner(self) -> Option<TenantId> {
        if self.0.as_bytes()[6] & 0xf0 == CUSTOM_VERSION { Some(TenantId(with_version(self.0, TIME_VERSION))) } else { None }
    }
}

const fn with_version(uuid: Uuid, version: u8) -> Uuid {
    let mut bytes = *uuid.as_bytes();
    bytes[6] = bytes[6] & 0x0f | version;
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = TenantId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(serde_json::from_str::<TenantId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }

    #[test]
    fn a_balance_is_a_budget_that_knows_its_tenant() {
        let tenant = TenantId::generate();
        let balance = BudgetId::of_balance(tenant);
        assert_ne!(balance.uuid(), tenant.uuid());
        assert_eq!((balance.balance_owner(), BudgetId::from_uuid(tenant.uuid()).balance_owner()), (Some(tenant), None));
        assert_eq!(BudgetId::generate().balance_owner(), None);
    }

    #[test]
    fn an_id_of_another_kind_is_refused_and_the_error_says_what_was_expected() {
        let text = ApiKeyId::generate().to_string();
        let error = text.parse::<TenantId>().unwrap_err();
        assert_eq!(error.to_string(), format!("`{text}` is not a tenant id; expected `ten_` and 32 hex digits"));
        assert!("ten_12".parse::<TenantId>().is_err());
    }

    #[test]
    fn an_id_is_a_uuid_of_the_seventh_kind_of_its_time() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let id = RequestId::generate().uuid();
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        let (seconds, _) = id.get_timestamp().unwrap().to_unix();
        // Other tests make ids, too, and time is counted on for them.
        assert!((before..=after + 1).contains(&seconds), "{seconds}");
    }

    #[test]
    fn no_two_ids_are_the_same_on_many_threads() {
        let makers: Vec<_> =
            (0..4).map(|_| std::thread::spawn(|| (0..1_000).map(|_| RequestId::generate()).collect::<Vec<_>>())).collect();
        let all: std::collections::HashSet<_> = makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect();
        assert_eq!(all.len(), 4_000);
    }

    #[test]
    fn later_ids_sort_after_earlier_ones_also_as_text() {
        let ids: Vec<_> = (0..100).map(|_| RequestId::generate()).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().map(ToString::to_string).is_sorted());
    }
}
