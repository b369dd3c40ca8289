//! What the example programs share: how one begins, trains, says what it does, draws and ends, and the readers of the
//! files that they learn from.
//!
//! The contract: what a user gave wrongly is an error of one message that names what was given and what is expected,
//! and never a panic; the same option, event and colour mean the same in every program.

pub mod batches;
pub mod cell;
pub mod classes;
pub mod confusion_plot;
pub mod curves;
pub mod device;
pub mod files;
pub mod fit;
pub mod gallery;
pub mod kneser_ney;
pub mod options;
pub mod program;
pub mod readers;
pub mod report;
pub mod shuffle;
pub mod sibling_path;
pub mod signals;
pub mod svg;
pub mod timing;
pub mod writer;
