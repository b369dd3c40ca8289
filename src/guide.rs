//! The guide: a chapter for each question that comes after the first program.
//!
//! The chapters are the files of `docs/`, which read as well without rustdoc; the code in them is tested.

#[doc = include_str!("../docs/data.md")]
pub mod data {}

#[doc = include_str!("../docs/devices.md")]
pub mod devices {}

#[doc = include_str!("../docs/errors.md")]
pub mod errors {}

#[doc = include_str!("../docs/half_precision.md")]
pub mod half_precision {}

#[doc = include_str!("../docs/how_it_works.md")]
pub mod how_it_works {}

#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[doc = include_str!("../docs/long_sequences.md")]
pub mod long_sequences {}

#[doc = include_str!("../docs/losses.md")]
pub mod losses {}

#[doc = include_str!("../docs/metrics.md")]
pub mod metrics {}

#[doc = include_str!("../docs/networks.md")]
pub mod networks {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[doc = include_str!("../docs/pytorch_and_keras.md")]
pub mod pytorch_and_keras {}

#[doc = include_str!("../docs/real_time.md")]
pub mod real_time {}

#[doc = include_str!("../docs/training.md")]
pub mod training {}

#[doc = include_str!("../docs/vocabulary.md")]
pub mod vocabulary {}
