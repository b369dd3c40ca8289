//! What the example programs share: how one begins, trains, says what it does, draws and ends, and the readers of the
//! files that they learn from.
//!
//! The contract: nothing here knows which program calls it. What a user gave wrongly is an error of one message that
//! names what was given and what is expected, and never a panic.

pub mod batches;
pub mod beside;
pub mod cell;
pub mod classes;
pub mod curves;
pub mod device;
pub mod files;
pub mod fit;
pub mod gallery;
pub mod hand;
pub mod matrix;
pub mod options;
pub mod order;
pub mod picture;
pub mod program;
pub mod readers;
pub mod report;
pub mod signals;
pub mod timing;
