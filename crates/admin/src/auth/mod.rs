//! Who is calling and what they may do.

mod access_token;
mod authenticate;
pub mod cookies;
pub mod password;
mod permission;
mod principal;
mod scope;

pub use access_token::{ACCESS_SECONDS, AccessTokens};
pub use authenticate::authenticate;
pub use password::Passwords;
pub use permission::{Permission, Role};
pub use principal::{Principal, PrincipalKind};
pub use scope::{Scope, ScopeTaken};
