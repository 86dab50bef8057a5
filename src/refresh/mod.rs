//! The refresh protocol (docs/refresh.md) as values: one flight is a state machine that is fed events and the
//! time and asks for effects. It knows no async, store, clock or randomness; a driver runs the effects against
//! the real ones, a model against a world that fails in every way.
//!
//! One effect at a time, each answered by one event:
//!
//! ```text
//! let mut machine = Machine::fly(plan);               // or Machine::replay(plan, receipt)
//! let mut event = Event::Begin;
//! loop {
//!     match machine.step(event, At { now, mono, epoch }) {
//!         Effect::Land => break,
//!         effect => event = perform(effect).await,
//!     }
//! }
//! ```
//!
//! Rules for whoever drives it: one machine per (connection, token set) at a time on a node, replays included;
//! the machine belongs to the node and not to a caller; it is dropped only at its landing or with the process.

pub mod breaker;
mod effect;
mod event;
pub mod gate;
pub mod invariants;
mod machine;
mod outcome;
pub mod pace;
mod plan;
pub mod schedule;
pub mod steal;

pub use effect::{Effect, FlightWrite, News, RecordWrite, Which, Write};
pub use event::{Event, Found, Peer};
pub use machine::Machine;
pub use outcome::{Outcome, Setback, Why};
pub use plan::{At, Plan, Policy, Receipt};
