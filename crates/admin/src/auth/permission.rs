//! Roles and what each may do. Whatever is not listed is denied.

use serde::{Deserialize, Serialize};
use tallygate_store::users;
use utoipa::ToSchema;

/// A role of staff. Roles of tenants come with the tenant portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Owner,
    /// Upstreams, models, tenants and keys.
    Admin,
    /// Prices, usage and bills.
    Finance,
    /// Reads how the gateway runs; tests upstreams. Sees no money.
    Ops,
    /// Reads everything, changes nothing.
    Auditor,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::Finance, Self::Ops, Self::Auditor];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Finance => "finance",
            Self::Ops => "ops",
            Self::Auditor => "auditor",
        }
    }

    /// The role, if it is one of the platform's and not of a tenant's.
    pub const fn of_platform(role: users::Role) -> Option<Self> {
        match role {
            users::Role::Owner => Some(Self::Owner),
            users::Role::Admin => Some(Self::Admin),
            users::Role::Finance => Some(Self::Finance),
            users::Role::Ops => Some(Self::Ops),
            users::Role::Auditor => Some(Self::Auditor),
            users::Role::TenantAdmin | users::Role::TenantMember => None,
        }
    }

    /// Whether this role may give or take `other` from somebody: nobody but an owner reaches as high as themself.
    pub fn may_manage(self, other: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => !matches!(other, Self::Owner | Self::Admin),
            Self::Finance | Self::Ops | Self::Auditor => false,
        }
    }

    pub fn permissions(self) -> Vec<Permission> {
        Permission::ALL.into_iter().filter(|permission| permission.is_granted_to(self)).collect()
    }
}

// `$name` is a `tt`, not a `literal`: the latter reaches the schema's derive as a group, in which it finds no name.
impl From<Role> for users::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Finance => Self::Finance,
            Role::Ops => Self::Ops,
            Role::Auditor => Self::Auditor,
        }
    }
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:tt: $($role:ident)|+;)*) => {
        /// One right. The name is `<resource>.<deed>`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        pub enum Permission {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Permission {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub const fn is_granted_to(self, role: Role) -> bool {
                match self { $(Self::$variant => matches!(role, $(Role::$role)|+),)* }
            }
        }
    };
}

permissions! {
    OverviewRead = "overview.read": Owner | Admin | Finance | Ops | Auditor;
    TenantsRead = "tenants.read": Owner | Admin | Finance | Ops | Auditor;
    TenantsWrite = "tenants.write": Owner | Admin;
    ApiKeysRead = "api_keys.read": Owner | Admin | Finance | Ops | Auditor;
    ApiKeysWrite = "api_keys.write": Owner | Admin;
    ProjectsRead = "projects.read": Owner | Admin | Finance | Ops | Auditor;
    ProjectsWrite = "projects.write": Owner | Admin;
    /// Sees budgets; their amounts only with `money.read`.
    BudgetsRead = "budgets.read": Owner | Admin | Finance | Ops | Auditor;
    BudgetsWrite = "budgets.write": Owner | Admin;
    UpstreamsRead = "upstreams.read": Owner | Admin | Ops | Auditor;
    UpstreamsWrite = "upstreams.write": Owner | Admin;
    /// Sends one small request to the upstream, at the operator's cost.
    UpstreamsTest = "upstreams.test": Owner | Admin | Ops;
    /// Sets secrets of upstreams. Nobody reads them.
    UpstreamSecretsWrite = "upstream_secrets.write": Owner | Admin;
    ModelsRead = "models.read": Owner | Admin | Finance | Ops | Auditor;
    ModelsWrite = "models.write": Owner | Admin;
    RoutesRead = "routes.read": Owner | Admin | Ops | Auditor;
    RoutesWrite = "routes.write": Owner | Admin;
    /// Sees the requests that are being served.
    InFlightRead = "in_flight.read": Owner | Admin | Ops | Auditor;
    /// Ends a request that is being served.
    InFlightCancel = "in_flight.cancel": Owner | Admin | Ops;
    /// Has a credential tried again at once.
    CredentialsReactivate = "credentials.reactivate": Owner | Admin | Ops;
    PricesRead = "prices.read": Owner | Admin | Finance | Ops | Auditor;
    PricesWrite = "prices.write": Owner | Admin | Finance;
    RequestsRead = "requests.read": Owner | Admin | Finance | Ops | Auditor;
    UsageRead = "usage.read": Owner | Admin | Finance | Ops | Auditor;
    /// Sees what requests cost.
    MoneyRead = "money.read": Owner | Admin | Finance | Auditor;
    BillsRead = "bills.read": Owner | Admin | Finance | Auditor;
    AuditRead = "audit.read": Owner | Admin | Auditor;
    UsersRead = "users.read": Owner | Admin | Auditor;
    UsersWrite = "users.write": Owner | Admin;
    AdminTokensRead = "admin_tokens.read": Owner | Auditor;
    AdminTokensWrite = "admin_tokens.write": Owner;
}
