//! Roles and what each may do. Whatever is not listed is denied.

use serde::{Deserialize, Serialize};
use tallygate_store::users;
use utoipa::ToSchema;

/// A role: one of the platform's staff, or one inside a tenant.
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
    /// Manages one tenant: its people, keys and projects. Nothing of another exists for them.
    TenantAdmin,
    /// Has keys of their own in one tenant.
    TenantMember,
}

impl Role {
    pub const ALL: [Self; 7] =
        [Self::Owner, Self::Admin, Self::Finance, Self::Ops, Self::Auditor, Self::TenantAdmin, Self::TenantMember];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Finance => "finance",
            Self::Ops => "ops",
            Self::Auditor => "auditor",
            Self::TenantAdmin => "tenant_admin",
            Self::TenantMember => "tenant_member",
        }
    }

    /// Whether it is a role inside a tenant.
    pub const fn is_of_tenant(self) -> bool {
        matches!(self, Self::TenantAdmin | Self::TenantMember)
    }

    /// Whether this role may give or take `other` from somebody: nobody but an owner reaches as high as themself.
    pub fn may_manage(self, other: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => !matches!(other, Self::Owner | Self::Admin),
            Self::TenantAdmin => other.is_of_tenant(),
            Self::Finance | Self::Ops | Self::Auditor | Self::TenantMember => false,
        }
    }

    pub fn permissions(self) -> Vec<Permission> {
        Permission::ALL.into_iter().filter(|permission| permission.is_granted_to(self)).collect()
    }
}

macro_rules! same_names {
    ($($role:ident)+) => {
        impl From<Role> for users::Role {
            fn from(role: Role) -> Self {
                match role { $(Role::$role => Self::$role,)+ }
            }
        }

        impl From<users::Role> for Role {
            fn from(role: users::Role) -> Self {
                match role { $(users::Role::$role => Self::$role,)+ }
            }
        }
    };
}

same_names!(Owner Admin Finance Ops Auditor TenantAdmin TenantMember);

// `$name` is a `tt`, not a `literal`: the latter reaches the schema's derive as a group, in which it finds no name.
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

// A permission that `TenantAdmin` or `TenantMember` carries opens its routes to people of tenants: their handlers take what they
// may reach from `auth::Scope`.
permissions! {
    OverviewRead = "overview.read": Owner | Admin | Finance | Ops | Auditor;
    TenantsRead = "tenants.read": Owner | Admin | Finance | Ops | Auditor | TenantAdmin;
    TenantsWrite = "tenants.write": Owner | Admin;
    ApiKeysRead = "api_keys.read": Owner | Admin | Finance | Ops | Auditor | TenantAdmin | TenantMember;
    ApiKeysWrite = "api_keys.write": Owner | Admin | TenantAdmin | TenantMember;
    ProjectsRead = "projects.read": Owner | Admin | Finance | Ops | Auditor | TenantAdmin;
    ProjectsWrite = "projects.write": Owner | Admin | TenantAdmin;
    /// Sees budgets; their amounts only with `money.read`.
    BudgetsRead = "budgets.read": Owner | Admin | Finance | Ops | Auditor | TenantAdmin;
    BudgetsWrite = "budgets.write": Owner | Admin;
    BalancesRead = "balances.read": Owner | Admin | Finance | Auditor | TenantAdmin;
    /// Books top-ups and corrections.
    BalancesWrite = "balances.write": Owner | Finance;
    VouchersRead = "vouchers.read": Owner | Admin | Finance | Auditor;
    VouchersWrite = "vouchers.write": Owner | Finance;
    /// Redeems a voucher to a tenant's balance.
    VouchersRedeem = "vouchers.redeem": Owner | Finance | TenantAdmin;
    NotificationsRead = "notifications.read": Owner | Admin | Finance | Auditor;
    /// Has a notification told anew.
    NotificationsRetry = "notifications.retry": Owner | Admin | Finance;
    UpstreamsRead = "upstreams.read": Owner | Admin | Ops | Auditor;
    UpstreamsWrite = "upstreams.write": Owner | Admin;
    /// Sends one small request to the upstream, at the operator's cost.
    UpstreamsTest = "upstreams.test": Owner | Admin | Ops;
    /// Sets secrets of upstreams. Nobody reads them.
    UpstreamSecretsWrite = "upstream_secrets.write": Owner | Admin;
    ModelsRead = "models.read": Owner | Admin | Finance | Ops | Auditor;
    /// Sees which models a tenant may call and at what price; not where they are served.
    AvailableModelsRead = "available_models.read": Owner | Admin | Finance | Ops | Auditor | TenantAdmin | TenantMember;
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
    RequestsRead = "requests.read": Owner | Admin | Finance | Ops | Auditor | TenantAdmin | TenantMember;
    UsageRead = "usage.read": Owner | Admin | Finance | Ops | Auditor | TenantAdmin | TenantMember;
    /// Sees what requests cost.
    MoneyRead = "money.read": Owner | Admin | Finance | Auditor | TenantAdmin | TenantMember;
    BillsRead = "bills.read": Owner | Admin | Finance | Auditor | TenantAdmin;
    AuditRead = "audit.read": Owner | Admin | Auditor | TenantAdmin;
    UsersRead = "users.read": Owner | Admin | Auditor | TenantAdmin | TenantMember;
    UsersWrite = "users.write": Owner | Admin | TenantAdmin;
    AdminTokensRead = "admin_tokens.read": Owner | Auditor;
    AdminTokensWrite = "admin_tokens.write": Owner;
}
