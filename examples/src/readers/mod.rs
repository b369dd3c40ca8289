//! Readers of the files that the examples learn from, each of one format.
//!
//! The contract: nothing is guessed. A file that is damaged or of another format is an error that names the file and
//! the place in it, and no input makes a reader panic; `tests/fuzz` tries.

pub mod hint;
pub mod idx;
pub mod midi;
pub mod records;
pub mod sound;
pub mod strokes;
pub mod table;
pub mod tagged;
pub mod wav;
