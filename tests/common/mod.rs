//! What the test programs share, each of which takes it in once: a comparator with its tolerances, seeded random data,
//! one way to run a plan on any executor, and what tests of whole runs need (`whole`).
//!
//! Nothing here knows what an operation computes, so nothing here can agree with a wrong one.
#![allow(dead_code, reason = "every test program uses a part")]

pub mod compare;
pub mod ctc;
pub mod executor;
pub mod fixture;
pub mod heads;
pub mod lists;
pub mod losses;
pub mod network;
pub mod random;
pub mod states;
pub mod whole;
