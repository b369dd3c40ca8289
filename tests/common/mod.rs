//! What the test files share: a comparator with its tolerances, seeded random data, and one way to run a plan on any
//! executor.
//!
//! Nothing here knows what an operation computes, so nothing here can agree with a wrong one.
#![allow(dead_code, reason = "every test file uses a part")]

pub mod compare;
pub mod executor;
pub mod fixture;
pub mod network;
pub mod random;
