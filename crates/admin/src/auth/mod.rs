//! Who is calling and what they may do.

mod permission;
mod principal;

pub use permission::{Permission, Role};
pub use principal::{Principal, PrincipalKind};
