//! The figures as other programs read them, a JSON object a line, and as people do, a Markdown table.
//!
//! The contract: the JSON keys keep their names, and new ones come behind them.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use recurrent::Device;
use serde::Serialize;

use super::clock::Median;
use super::floor::Floor;
use super::work::{Phase, Work};

/// The figures of one phase.
#[derive(Serialize)]
pub struct Row {
    peer: &'static str,
    cell: String,
    #[serde(rename = "B")]
    batch: usize,
    #[serde(rename = "T")]
    steps: usize,
    #[serde(rename = "I")]
    inputs: usize,
    #[serde(rename = "H")]
    hidden: usize,
    #[serde(rename = "V")]
    classes: usize,
    phase: &'static str,
    ms: f64,
    repeats: usize,
    gflops: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times_floor: Option<f64>,
    /// That of the fastest repeat.
    least_ms: f64,
}

impl Row {
    /// Rounds what was measured, beside the floor where there is one.
    pub fn new(work: &Work, phase: Phase, device: &Device, time: Median, floor: Option<Floor>) -> Result<Self> {
        let flop = work.flop(phase);
        let floor = floor.map(|floor| Ok::<_, anyhow::Error>(floor.ms(flop, work.bytes(phase)?))).transpose()?;
        Ok(Row {
            peer: if device.is_gpu() { "recurrent-gpu" } else { "recurrent-cpu" },
            cell: work.cell.clone(),
            batch: work.batch,
            steps: work.steps,
            inputs: work.inputs,
            hidden: work.hidden,
            classes: work.classes,
            phase: phase.name(),
            ms: digits::<6>(time.ms),
            repeats: time.repeats,
            gflops: digits::<4>(flop / time.ms / 1e6),
            floor_ms: floor.map(digits::<4>),
            times_floor: floor.map(|floor| digits::<4>(time.ms / floor)),
            least_ms: digits::<6>(time.least),
        })
    }

    /// Writes a line of the table under [`head`].
    pub fn markdown(&self) -> String {
        let Row { cell, batch, steps, inputs, hidden, classes, phase, .. } = self;
        let mut line = format!("| {cell} B{batch} T{steps} I{inputs} H{hidden} V{classes} | {phase} | ");
        let numbers = [Some(self.ms), Some(self.gflops), self.times_floor];
        for number in numbers.into_iter().flatten() {
            // A String takes whatever is written.
            let _ = write!(line, "{} | ", short(number));
        }
        line.trim_end().to_owned()
    }
}

/// Writes a section's heading, what was measured and how, and the table's head.
pub fn head(device: &Device, command: &[String], floor: Option<Floor>) -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!("## {}, {}\n\n", device.name(), date(days));
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "- {name}: {value}");
    };
    if let Some(gpu) = device.as_gpu() {
        let adapter = gpu.adapter();
        fact("adapter", &format!("{}, {}", adapter.kind, adapter.driver));
    }
    let model = processor().map_or_else(String::new, |name| format!("{name}, "));
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    fact("processor", &format!("{model}{cores} threads, {os} {arch}"));
    let build = if cfg!(debug_assertions) { "a debug build: these are no figures" } else { "release" };
    fact("recurrent", &format!("{}, {build}", env!("CARGO_PKG_VERSION")));
    fact("command", &format!("`step_time {}`", command.join(" ")));
    if let Some(floor) = floor {
        let Floor { gflops, size, bandwidth } = floor;
        let (gflops, bandwidth) = (short(gflops), short(bandwidth));
        fact("floor", &format!("{gflops} GFLOP/s in a product of {size}³, {bandwidth} GB/s in a copy of 64 MiB"));
    }
    let (name, rule) = if floor.is_some() { (" × floor |", "---|") } else { ("", "") };
    text + &format!("\n| network | phase | ms | GFLOP/s |{name}\n|---|---|---|---|{rule}")
}

/// What the system calls the processor, where it says so in a file.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Returns the date so many days after 1970-01-01, UTC (Hinnant, "chrono-compatible low-level date algorithms", 2013).
pub fn date(days: u64) -> String {
    // Years begin in March, so that the day of a leap year is the last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// Writes a number for people: three digits or so.
pub fn short(number: f64) -> String {
    match number {
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n if n >= 1.0 => format!("{n:.2}"),
        n if n >= 0.01 || n <= 0.0 => format!("{n:.4}"),
        n => {
            let decimals = (2.0 - n.log10().floor()) as usize;
            format!("{n:.decimals$}")
        }
    }
}

/// For programs: what is left of a number after rounding to N digits.
fn digits<const N: usize>(number: f64) -> f64 {
    let after_the_first = N - 1;
    format!("{number:.after_the_first$e}").parse().unwrap_or(number)
}
