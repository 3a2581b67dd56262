//! From what is asked to the ordered attempts at serving it.
//!
//! A pure function of the configuration, the request and how upstreams and credentials stand: [`Rule::find`] says which rule
//! decides, [`plan`] the attempts. Live traffic and `route explain` call the same two, one with a silent trace, one with a
//! writing one; what changes while they decide reaches them through a [`View`]. Nothing is remembered of a session or a user:
//! where they belong is a hash (`hash.rs`), the same in all replicas and after every restart.

mod abilities;
mod affinity;
mod asked;
pub mod bench;
mod capability;
mod credentials;
mod explain;
mod hash;
mod live;
mod plan;
mod rendezvous;
mod repeats;
mod rule;
mod split;
mod targets;
mod tariff;
#[cfg(test)]
mod tests;
mod trace;
mod turn;
mod view;

pub use abilities::KnownAbilities;
pub use affinity::Held;
pub use live::{Way, attempts, refusal, way};
pub use plan::{NoWay, Plan, Step, pin_of};
pub use repeats::Repeats;
pub use tariff::Tariffs;
pub use view::Turns;
