//! A network of one sequence as nothing but its weights and its states: what a stream in real time runs.
//!
//! The contract: once a network is compiled and a voice of it made, a step allocates nothing, takes no lock, calls no
//! system and starts no thread, whatever it reads; and it does not slow down where a signal fades away. It computes
//! what the plan of the same network does, with other roundings.

mod compile;
mod functions;
mod network;
mod product;
mod row;
mod units;

pub(crate) use compile::compile;
pub(crate) use network::{Network, Read, Voice};
