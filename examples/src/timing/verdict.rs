//! Which of two executors to take, from what each costs at first use and for every step after it.
//!
//! The contract: a difference that the noise of a machine makes by itself is called none.

use super::report::short;

/// What an executor takes, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From opening the device to the end of the first step.
    pub first: f64,
    /// A step, once it is warm.
    pub step: f64,
}

/// Times that differ by less than this are called even: medians of two runs on an idle machine do.
const EVEN: f64 = 1.1;

/// Says which executor wins, by what factor and, where its first use costs more, after how many steps.
pub fn verdict(cpu: Cost, gpu: Cost) -> String {
    let (name, winner, loser) = if gpu.step < cpu.step { ("GPU", gpu, cpu) } else { ("CPU", cpu, gpu) };
    let factor = loser.step / winner.step;
    if factor < EVEN {
        return "even".to_owned();
    }
    let steps = steps_to_catch_up(winner, loser);
    let after = if steps > 0 { format!(", ahead after {steps} steps") } else { String::new() };
    format!("{name} {}× faster{after}", short(factor))
}

/// After how many steps the faster one has made up for a dearer first use.
fn steps_to_catch_up(winner: Cost, loser: Cost) -> u64 {
    ((winner.first - loser.first) / (loser.step - winner.step)).ceil().max(0.0) as u64
}
