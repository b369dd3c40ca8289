//! Tasks that need memory, both directions, lengths or dropout are learned, on data that is drawn fresh for every step.
//!
//! Every task has a bound that a network without what is tested cannot pass, and such a network is held against it.

mod adding;
mod copying;
mod directions;
mod dropout;
mod lengths;
mod recall;
mod training;
