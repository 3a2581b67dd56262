//! People who sign in to the dashboard. Passwords are hashed above this crate; it keeps the PHC string.

use serde::{Deserialize, Serialize};
use tallygate_types::{TenantId, Timestamp, UserId};
use uuid::Uuid;

use crate::page::contains_pattern;
use crate::upstreams::Status;
use crate::value::text_enum;
use crate::{DbTime, Page, PageRequest, Source, StoreError, TenantScope, Tx, check, query};

const KIND: &str = "user";
/// A PHC string begins so; what does not is a password stored by mistake.
const PHC_START: char = '$';

text_enum! {
    /// What a user may do; the permissions of each are the admin crate's table.
    pub enum Role("users") {
        Owner = "owner",
        Admin = "admin",
        Finance = "finance",
        /// Operations: sees everything but money and secrets.
        Ops = "ops",
        /// Reads everything, changes nothing.
        Auditor = "auditor",
        /// Manages one tenant.
        TenantAdmin = "tenant_admin",
        /// Uses one tenant.
        TenantMember = "tenant_member",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    pub id: UserId,
    /// In lower case.
    pub email: String,
    pub name: String,
    pub role: Role,
    /// Set for the roles of a tenant, and only for them.
    pub tenant_id: Option<TenantId>,
    pub status: Status,
    /// PHC text.
    #[serde(skip)]
    pub password_hash: String,
    /// A session made under an older epoch is over.
    pub session_epoch: i64,
    pub last_login_at: Option<Timestamp>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a user can be set, but for the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSettings {
    pub email: String,
    pub name: String,
    pub role: Role,
    pub tenant_id: Option<TenantId>,
    pub status: Status,
}

/// A user to be made.
#[derive(Clone)]
pub struct NewUser {
    pub settings: UserSettings,
    /// PHC text.
    pub password_hash: String,
}

/// Which users a list shows.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    pub role: Option<Role>,
    pub status: Option<Status>,
    pub tenant_id: Option<TenantId>,
    /// Part of the name or of the address, whatever its case.
    pub search: Option<String>,
}

macro_rules! columns {
    () => {
        "id, email, name, role, tenant_id, status, password_hash, session_epoch, last_login_at, version, created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    email: String,
    name: String,
    role: String,
    tenant_id: Option<Uuid>,
    status: String,
    password_hash: String,
    session_epoch: i64,
    last_login_at: Option<DbTime>,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

impl Role {
    /// Whether the role is one inside a tenant.
    pub const fn is_of_tenant(self) -> bool {
        matches!(self, Self::TenantAdmin | Self::TenantMember)
    }
}

impl UserSettings {
    /// Checks, and puts the address into the form it is kept in.
    fn checked(&self) -> Result<Self, StoreError> {
        check::name("name", &self.name)?;
        if self.role.is_of_tenant() != self.tenant_id.is_some() {
            let reason = if self.role.is_of_tenant() { "is needed for this role" } else { "is not for this role" };
            return Err(StoreError::invalid("tenant_id", reason));
        }
        Ok(Self { email: check::email(&self.email)?, ..self.clone() })
    }
}

impl User {
    /// What can be set of it, to change some and pass to [`update`].
    pub fn settings(&self) -> UserSettings {
        UserSettings {
            email: self.email.clone(),
            name: self.name.clone(),
            role: self.role,
            tenant_id: self.tenant_id,
            status: self.status,
        }
    }

    /// The rows of tenants this user reaches.
    pub const fn scope(&self) -> TenantScope {
        match (self.tenant_id, self.role) {
            (None, _) => TenantScope::All,
            (Some(tenant), Role::TenantAdmin) => TenantScope::Only(tenant),
            (Some(tenant), _) => TenantScope::Member(tenant, self.id),
        }
    }
}

impl TryFrom<Row> for User {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let role = Role::read(&row.role)?;
        if role.is_of_tenant() != row.tenant_id.is_some() {
            // Reading it as a platform user would open every tenant.
            return Err(StoreError::corrupt("users", "role and tenant do not fit"));
        }
        Ok(Self {
            id: UserId::from_uuid(row.id),
            email: row.email,
            name: row.name,
            role,
            tenant_id: row.tenant_id.map(TenantId::from_uuid),
            status: Status::read(&row.status)?,
            password_hash: row.password_hash,
            session_epoch: row.session_epoch,
            last_login_at: row.last_login_at.map(Timestamp::from),
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("settings", &self.settings).finish_non_exhaustive()
    }
}

pub async fn create(tx: &mut Tx, new: &NewUser) -> Result<User, StoreError> {
    let (settings, now) = (new.settings.checked()?, tx.db_now());
    check_hash(&new.password_hash)?;
    if let Some(tenant) = settings.tenant_id {
        crate::tenants::get(&mut *tx, TenantScope::All, tenant).await?;
    }
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO users (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, 1, NULL, 1, $8, $8) RETURNING ",
            columns!()
        ))
        .bind(UserId::generate().uuid())
        .bind(&settings.email)
        .bind(&settings.name)
        .bind(settings.role.as_str())
        .bind(settings.tenant_id.map(TenantId::uuid))
        .bind(settings.status.as_str())
        .bind(&new.password_hash)
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    row.map_err(|e| StoreError::unique(e, KIND, &[("email", "email", &settings.email)]))?.try_into()
}

pub async fn get(source: impl Source, scope: TenantScope, id: UserId) -> Result<User, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM users WHERE id = $1 AND ($2 IS NULL OR tenant_id = $2) AND ($3 IS NULL OR id = $3)"
        ))
        .bind(id.uuid())
        .bind(scope.tenant())
        .bind(scope.person())
        .fetch_optional(conn)
        .await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))?.try_into()
}

/// For signing in; the address in any case.
pub async fn find_by_email(source: impl Source, email: &str) -> Result<Option<User>, StoreError> {
    // What is no address is nobody's, and some of it (NUL) PostgreSQL would not even look up.
    let Ok(email) = check::email(email) else { return Ok(None) };
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM users WHERE email = $1")).bind(email).fetch_optional(conn).await
    })??;
    row.map(User::try_from).transpose()
}

/// Whether anyone can administer the installation yet.
pub async fn has_owner(source: impl Source) -> Result<bool, StoreError> {
    Ok(active_owners(source).await? > 0)
}

async fn active_owners(source: impl Source) -> Result<i64, StoreError> {
    Ok(query!(source, |conn| {
        sqlx::query_scalar("SELECT count(*) FROM users WHERE role = 'owner' AND status = 'active'").fetch_one(conn).await
    })??)
}

pub async fn list(
    source: impl Source,
    scope: TenantScope,
    filter: &UserFilter,
    page: &PageRequest,
) -> Result<Page<User>, StoreError> {
    let before = page.before()?;
    let Some(scope) = scope.narrowed(filter.tenant_id) else { return Ok(Page { data: Vec::new(), next: None }) };
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            r" FROM users WHERE id < $1 AND ($2 IS NULL OR tenant_id = $2) AND ($3 IS NULL OR role = $3)
             AND ($4 IS NULL OR status = $4)
             AND ($5 IS NULL OR lower(name) LIKE $5 ESCAPE '\' OR email LIKE $5 ESCAPE '\')
             AND ($6 IS NULL OR id = $6) ORDER BY id DESC LIMIT $7"
        ))
        .bind(before)
        .bind(scope.tenant())
        .bind(filter.role.map(Role::as_str))
        .bind(filter.status.map(Status::as_str))
        .bind(filter.search.as_deref().map(contains_pattern))
        .bind(scope.person())
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
    })??;
    let users = rows.into_iter().map(User::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(users, page, |user| user.id.uuid()))
}

/// Sets everything but the password anew, if the user still has the version the caller read. A change of role, tenant or
/// status ends every session of the user; the last active owner stays one.
pub async fn update(tx: &mut Tx, id: UserId, expected_version: i64, settings: &UserSettings) -> Result<User, StoreError> {
    let (settings, now) = (settings.checked()?, tx.db_now());
    let before = get(&mut *tx, TenantScope::All, id).await?;
    if let Some(tenant) = settings.tenant_id {
        crate::tenants::get(&mut *tx, TenantScope::All, tenant).await?;
    }
    let rights = |role, tenant, status| (role, tenant, status);
    let changed =
        rights(before.role, before.tenant_id, before.status) != rights(settings.role, settings.tenant_id, settings.status);
    let row: Result<Option<Row>, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE users SET email = $3, name = $4, role = $5, tenant_id = $6, status = $7,
             session_epoch = session_epoch + $8, version = version + 1, updated_at = $9
             WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(&settings.email)
        .bind(&settings.name)
        .bind(settings.role.as_str())
        .bind(settings.tenant_id.map(TenantId::uuid))
        .bind(settings.status.as_str())
        .bind(i64::from(changed))
        .bind(now)
        .fetch_optional(conn)
        .await
    })?;
    let row = row.map_err(|e| StoreError::unique(e, KIND, &[("email", "email", &settings.email)]))?;
    let Some(row) = row else { return Err(stale(tx, id).await) };
    keep_an_owner(tx, &before).await?;
    row.try_into()
}

/// Stores a new password's hash and ends every session of the user.
pub async fn set_password(tx: &mut Tx, id: UserId, password_hash: &str) -> Result<User, StoreError> {
    check_hash(password_hash)?;
    write_hash(tx, id, password_hash, true).await
}

/// Stores the same password hashed with stronger parameters; sessions go on.
pub async fn rehash_password(tx: &mut Tx, id: UserId, password_hash: &str) -> Result<User, StoreError> {
    check_hash(password_hash)?;
    write_hash(tx, id, password_hash, false).await
}

async fn write_hash(tx: &mut Tx, id: UserId, password_hash: &str, end_sessions: bool) -> Result<User, StoreError> {
    let now = tx.db_now();
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE users SET password_hash = $2, session_epoch = session_epoch + $3, version = version + 1, updated_at = $4
             WHERE id = $1 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(password_hash)
        .bind(i64::from(end_sessions))
        .bind(now)
        .fetch_optional(conn)
        .await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))?.try_into()
}

/// Deletes a user with their sessions; never the last active owner.
pub async fn delete(tx: &mut Tx, id: UserId, expected_version: i64) -> Result<(), StoreError> {
    let before = get(&mut *tx, TenantScope::All, id).await?;
    let deleted: u64 = query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM users WHERE id = $1 AND version = $2")
            .bind(id.uuid())
            .bind(expected_version)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??;
    if deleted == 0 {
        return Err(stale(tx, id).await);
    }
    keep_an_owner(tx, &before).await
}

pub(crate) async fn note_login(tx: &mut Tx, id: UserId) -> Result<(), StoreError> {
    let now = tx.db_now();
    query!(&mut *tx, |conn| {
        sqlx::query("UPDATE users SET last_login_at = $2 WHERE id = $1").bind(id.uuid()).bind(now).execute(conn).await.map(|_| ())
    })??;
    Ok(())
}

/// Refuses a change after which nobody could administer the installation; the caller's transaction is to be dropped.
async fn keep_an_owner(tx: &mut Tx, before: &User) -> Result<(), StoreError> {
    if before.role != Role::Owner || before.status != Status::Active {
        return Ok(());
    }
    // Two owners who demote each other must not both succeed.
    tx.one_at_a_time().await?;
    if active_owners(tx).await? == 0 {
        return Err(StoreError::InUse { kind: KIND, by: "the installation, whose last active owner it is".into() });
    }
    Ok(())
}

fn check_hash(hash: &str) -> Result<(), StoreError> {
    if hash.starts_with(PHC_START) { Ok(()) } else { Err(StoreError::invalid("password_hash", "is not a PHC string")) }
}

/// Why a conditional write met no row.
async fn stale(tx: &mut Tx, id: UserId) -> StoreError {
    match get(tx, TenantScope::All, id).await {
        Ok(user) => StoreError::VersionMismatch { kind: KIND, current: user.version },
        Err(error) => error,
    }
}
