//! Dropout: cases of any size, and what the masks are like that it draws.

use recurrent::internals::cpu;
use recurrent::internals::plan::{DType, DropoutDraw, DropoutMask, Lifetime, MaskSlices, Op, Phase, Plan, View};

use crate::case::Case;
use crate::common::compare::{EXACT, F32_ROUNDING};
use crate::common::executor::{Execute, gpu};
use crate::common::random::Random;

/// `[rows, columns]` masked, or the mask itself; the mask repeats after `period` rows.
pub fn mask(random: &mut Random, [rows, columns]: [usize; 2], period: usize, rate: f64, with_input: bool) -> Case {
    let mut case = Case::new(format!("mask {rows}×{columns}, period {period}, p {rate}, input {with_input}"));
    let input = with_input.then(|| case.matrix("input", rows, columns, random.reals(rows * columns, 1.0)));
    let keys = case.ids("keys", random.ids(6, 1 << 32));
    // The mask is an f32 in itself; a product with it is rounded.
    let out = case.out_matrix("out", rows, columns, if with_input { F32_ROUNDING } else { EXACT });
    let draw = DropoutDraw { keys, site: 1, rate };
    case.with(Op::Dropout(DropoutMask { input, out, draw, first: 0, period }))
}

/// `len` elements of each slice masked alike, from a place in the slice on; what lies around them stays.
pub fn mask_slices(random: &mut Random, slices: usize, len: usize, rate: f64) -> Case {
    let mut case = Case::new(format!("{slices} slices masked, {len} of each, p {rate}"));
    let (weight, flat) = (3, len + 5);
    let keys = case.ids("keys", random.ids(6, 1 << 32));
    let held = random.reals(slices * flat, 1.0);
    let slices = case.in_out("slices", &[slices, flat], held, vec![(0..slices * flat, F32_ROUNDING)]);
    case.with(Op::MaskSlices(MaskSlices { slices, weight, len, draw: DropoutDraw { keys, site: 1, rate } }))
}

/// As the twin in f64 says, and as the twin in f32 says to the last bit.
#[track_caller]
pub fn check_bits(case: &Case) {
    case.check();
    let [got, want] = [case.run(gpu()), case.run(cpu::Executor::<f32>::new())];
    for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
        assert!(got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()), "{got:e}, expected {want:e}");
    }
}

/// A mask of so many rows and columns, drawn by one key.
fn drawn(key: [u32; 2], [rows, columns]: [usize; 2], rate: f64) -> Vec<f64> {
    let mut plan = Plan::empty();
    let keys = plan.tensor("keys", &[1, 2], DType::U32, Lifetime::Input).unwrap();
    let out = plan.tensor("out", &[rows, columns], DType::F32, Lifetime::Scratch).unwrap();
    let view = View::new(out, 0, rows, columns);
    let mask =
        DropoutMask { input: None, out: view, draw: DropoutDraw { keys, site: 0, rate }, first: 0, period: rows };
    plan.push(Phase::Forward, Op::Dropout(mask));
    let mut executor = cpu::Executor::<f64>::new();
    let id = Execute::prepare(&mut executor, plan);
    Execute::write_ids(&mut executor, id, keys, &key);
    Execute::run(&mut executor, id);
    Execute::read(&mut executor, id, out)
}

/// How far a number of draws of probability p may be from its mean: five standard deviations, which one number in two
/// million is beyond.
fn allowed(draws: usize, p: f64) -> f64 {
    5.0 * (draws as f64 * p * (1.0 - p)).sqrt()
}

const ROWS: usize = 400;
const COLUMNS: usize = 250;
const RATES: [f64; 5] = [0.01, 0.1, 0.5, 0.75, 0.99];

#[test]
fn a_mask_drops_its_share_of_all_elements_and_of_every_row_and_column() {
    for (number, rate) in RATES.into_iter().enumerate() {
        let mask = drawn([7, number as u32], [ROWS, COLUMNS], rate);
        let kept = f64::from((1.0 / (1.0 - rate)) as f32);
        assert!(mask.iter().all(|m| *m == 0.0 || *m == kept), "0 or {kept}");
        let dropped = |at: &mut dyn Iterator<Item = usize>| at.filter(|&at| mask[at] == 0.0).count() as f64;
        let share = |what: &str, got: f64, draws: usize| {
            let want = draws as f64 * rate;
            assert!((got - want).abs() <= allowed(draws, rate).max(5.0), "p {rate}: {got} of {what}, expected {want}");
        };
        share("all", dropped(&mut (0..mask.len())), mask.len());
        for row in 0..ROWS {
            share("a row", dropped(&mut (row * COLUMNS..(row + 1) * COLUMNS)), COLUMNS);
        }
        for column in 0..COLUMNS {
            share("a column", dropped(&mut (column..mask.len()).step_by(COLUMNS)), ROWS);
        }
    }
    assert!(drawn([7, 9], [ROWS, COLUMNS], 0.0).iter().all(|m| *m == 1.0), "p 0 drops nothing");
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn slices_are_masked_as_the_matrix_was() {
    let mut random = Random::new(41);
    for slices in [1, 2, 16] {
        for len in [1, 255, 256, 257, 1000] {
            check_bits(&mask_slices(&mut random, slices, len, 0.4));
        }
    }
    // A matrix of ones, masked, has the mask of its gradient.
    let key = [7, 11];
    let mut plan = Plan::empty();
    let keys = plan.tensor("keys", &[1, 2], DType::U32, Lifetime::Input).unwrap();
    let slices = plan.tensor("slices", &[2, 15], DType::F32, Lifetime::Scratch).unwrap();
    let draw = DropoutDraw { keys, site: 0, rate: 0.5 };
    plan.push(Phase::Backward, Op::MaskSlices(MaskSlices { slices, weight: 1, len: 12, draw }));
    let mut executor = cpu::Executor::<f64>::new();
    let id = Execute::prepare(&mut executor, plan);
    Execute::write_ids(&mut executor, id, keys, &key);
    Execute::write(&mut executor, id, slices, &[1.0; 30]);
    Execute::run(&mut executor, id);
    let mask = drawn(key, [4, 3], 0.5);
    let slice = [vec![1.0], mask, vec![1.0; 2]].concat();
    assert_eq!(Execute::read(&mut executor, id, slices), slice.repeat(2));
}

#[test]
fn masks_of_different_keys_and_neighbouring_elements_are_independent() {
    // Keys that differ in one bit, as those of no two sites and steps do that a hash has made.
    let keys = [[0, 0], [1, 0], [0, 1], [1 << 31, 0], [0, 1 << 31], [u32::MAX, u32::MAX]];
    for rate in RATES {
        let masks = keys.map(|key| drawn(key, [ROWS, COLUMNS], rate));
        let both_dropped = |what: &str, a: &[f64], b: &[f64]| {
            let got = a.iter().zip(b).filter(|(a, b)| **a == 0.0 && **b == 0.0).count() as f64;
            let want = a.len() as f64 * rate * rate;
            let allowed = allowed(a.len(), rate * rate);
            assert!((got - want).abs() <= allowed, "{what}, p {rate}: {got} dropped in both, expected {want}");
        };
        for (at, mask) in masks.iter().enumerate() {
            masks[..at].iter().for_each(|other| both_dropped("two keys", mask, other));
            both_dropped("neighbours", &mask[1..], &mask[..mask.len() - 1]);
            both_dropped("rows", &mask[COLUMNS..], &mask[..mask.len() - COLUMNS]);
        }
    }
}
