//! What `step_time` measures and how: the work, the clock, the floor of a device, and the figures in a line or a table.
//!
//! The contract: FLOP and bytes are counted from the mathematics, times and floors are measured on the device.

pub mod clock;
pub mod floor;
pub mod report;
pub mod scaling;
pub mod verdict;
pub mod work;
