//! The simulated backend of Tokenmill: no model, only an oracle. Each KV slot holds a chain hash of its
//! sequence's tokens; a step reads every slot of a block table and checks the chain, so a stale block, a
//! wrong slot, a lost or doubled token or another tenant's prefix is seen where it happens.

mod backend;
mod chain;
mod trigger;

pub use backend::{EXITS, HIDDEN, SimBackend, Violations, program};
pub use chain::{Chain, exit_row, logits_row, state_row};
pub use trigger::Triggers;
