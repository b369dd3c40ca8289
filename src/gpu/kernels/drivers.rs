//! Every cell's kernels: the drivers of a recurrence, each compiled with the cell.
//!
//! The contract: a driver knows of a cell only its numbers of gates and its pointwise functions, and drivers of one way
//! have the same bindings and parameters, whoever makes the sums.

use super::{
    Binding, Kernel,
    launch::{params, read, shader, write},
};
use crate::model::{Cell, Record, Saved, cells, table};

params!(pub(super) Params {
    step: u32,
    product: u32,
    steps: u32,
    batch: u32,
    hidden: u32,
    operand: u32,
    directions: u32,
    reverse: u32,
    variant: u32,
    weight_offset: u32,
    projected_offset: u32,
    bias_offset: u32,
    has_bias: u32,
    has_mask: u32,
    to_start: u32,
    carried: u32,
    begin: u32,
    end: u32,
    zoneout_h: u32,
    zoneout_c: u32,
    start: u32,
});

/// The kernels of one cell.
pub(super) struct Drivers {
    pub step_forward: Kernel,
    pub step_backward: Kernel,
    /// The same by lanes.
    pub lanes_forward: Kernel,
    pub lanes_backward: Kernel,
    pub sequence_forward: Kernel,
    pub sequence_backward: Kernel,
}

/// A driver's buffers, the last being what a cell keeps, nothing, or a second state, or something else; of a cell with
/// peepholes these.
const fn bindings(record: &Record, all: &'static [[Binding; 8]; 2]) -> &'static [Binding] {
    match record.saved {
        Saved::None => all[0].split_at(6).0,
        Saved::State if record.peepholes => &all[1],
        Saved::State => all[1].split_at(7).0,
        Saved::Recurrent | Saved::Operand => all[0].split_at(7).0,
    }
}

/// A driver's buffers with what a cell keeps behind them, that being anything but a second state, or one; and then
/// peepholes.
const fn with_saved([a, b, c, d, e, f]: [Binding; 6]) -> [[Binding; 8]; 2] {
    [[a, b, c, d, e, f, SAVED, PEEPHOLES], [a, b, c, d, e, f, STATE, PEEPHOLES]]
}

/// A driver's WGSL in pieces; the last is there for a cell of one product.
const fn source(record: &Record, all: &'static [&'static str]) -> &'static [&'static str] {
    if record.first_gates == record.gates { all } else { all.split_at(all.len() - 1).0 }
}

macro_rules! driver {
    ($driver:literal, $cell:ident, [$file:literal $(, $sums:literal)*], $constants:expr, $bindings:expr) => {
        Kernel::new::<Params>(
            concat!($driver, "_", stringify!($cell)),
            source(
                &cells::$cell::RECORD,
                &[
                    shader!($file),
                    shader!(concat!(stringify!($cell), ".wgsl")),
                    shader!("recurrence.wgsl"),
                    shader!("math.wgsl"),
                    $(shader!($sums),)*
                    shader!("one_product.wgsl"),
                ],
            ),
            bindings(&cells::$cell::RECORD, $bindings),
        )
        .constants($constants)
    };
}

/// The constant that says how many threads a driver's workgroup has, and the one that says how many f32 these share.
pub(super) const THREADS: &str = "THREADS";
pub(super) const FLOATS: &str = "FLOATS";
/// The constants of a driver.
const CONSTANTS: [&str; 10] =
    [THREADS, "SEQUENCES", "UNITS", "SPLIT", FLOATS, "GATE_ACTIVATION", "CELL_CLIP", "ZONEOUT_H", "ZONEOUT_C", RESETS];
/// Those of a step forwards: a parameter that says whether there is a mask would stand in its innermost loop, and so
/// would one that says which product it is.
const FORWARD_CONSTANTS: [&str; 12] = [
    THREADS,
    "SEQUENCES",
    "UNITS",
    "SPLIT",
    FLOATS,
    "MASKED",
    PROJECTION,
    "GATE_ACTIVATION",
    "CELL_CLIP",
    "ZONEOUT_H",
    "ZONEOUT_C",
    RESETS,
];
/// Those of a step backwards.
const BACKWARD_CONSTANTS: [&str; 11] = [
    THREADS,
    "SEQUENCES",
    "UNITS",
    "SPLIT",
    FLOATS,
    PROJECTION,
    "GATE_ACTIVATION",
    "CELL_CLIP",
    "ZONEOUT_H",
    "ZONEOUT_C",
    RESETS,
];
const PROJECTION: &str = "PROJECTION";
const RESETS: &str = "RESETS";

/// The elements of U, the gates, h, its gradient, and what a cell keeps but for a second state, which has 32 bits
/// always.
const STORED: &str = "Stored";
const LENGTHS: Binding = read("lengths");
const DROPOUT: Binding = read("dropout_mask");
const SAVED: Binding = write("saved").of(STORED);
const STATE: Binding = write("saved");
const PEEPHOLES: Binding = write("peepholes");

const BACKWARD_BINDINGS: [Binding; 6] = [
    read("weight").of(STORED),
    write("upstream").of(STORED),
    read("history").of(STORED),
    write("gates").of(STORED),
    LENGTHS,
    DROPOUT,
];

const fn forward_bindings(weight: &'static str) -> [Binding; 6] {
    let (gates, history) = (write("gates").of(STORED), write("history").of(STORED));
    [read(weight).of(STORED), read("bias").of(STORED), gates, history, LENGTHS, DROPOUT]
}

macro_rules! drivers {
    ($($cell:ident: $pattern:pat,)*) => {
        pub(super) fn drivers(cell: Cell) -> &'static Drivers {
            match cell { $($pattern => &$cell::DRIVERS,)* }
        }

        /// Every cell's drivers.
        pub(super) fn kernels() -> impl Iterator<Item = &'static Kernel> {
            [$(&$cell::DRIVERS,)*].into_iter().flat_map(|d: &'static Drivers| {
                [
                    &d.step_forward,
                    &d.step_backward,
                    &d.lanes_forward,
                    &d.lanes_backward,
                    &d.sequence_forward,
                    &d.sequence_backward,
                ]
            })
        }

        $(mod $cell {
            use super::*;

            pub(super) static DRIVERS: Drivers = Drivers {
                step_forward: driver!(
                    "step_forward",
                    $cell,
                    ["step_forward.wgsl", "step_forward_threads.wgsl"],
                    &FORWARD_CONSTANTS,
                    &with_saved(forward_bindings("weight"))
                ),
                step_backward: driver!(
                    "step_backward",
                    $cell,
                    ["step_backward.wgsl", "step_backward_threads.wgsl"],
                    &BACKWARD_CONSTANTS,
                    &with_saved(BACKWARD_BINDINGS)
                ),
                lanes_forward: driver!(
                    "lanes_forward",
                    $cell,
                    ["step_forward.wgsl", "step_forward_lanes.wgsl", "step_lanes.wgsl", "lanes.wgsl"],
                    &FORWARD_CONSTANTS,
                    &with_saved(forward_bindings("weight"))
                )
                .lanes(),
                lanes_backward: driver!(
                    "lanes_backward",
                    $cell,
                    ["step_backward.wgsl", "step_backward_lanes.wgsl", "step_lanes.wgsl", "lanes.wgsl"],
                    &BACKWARD_CONSTANTS,
                    &with_saved(BACKWARD_BINDINGS)
                )
                .lanes(),
                sequence_forward: driver!(
                    "sequence_forward",
                    $cell,
                    ["sequence_forward.wgsl"],
                    &CONSTANTS,
                    &with_saved(forward_bindings("transposed"))
                ),
                sequence_backward: driver!(
                    "sequence_backward",
                    $cell,
                    ["sequence_backward.wgsl"],
                    &CONSTANTS,
                    &with_saved(BACKWARD_BINDINGS)
                ),
            };
        })*
    };
}
table!(drivers);
