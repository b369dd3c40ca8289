//! How far the gradients of random lists of layers are from those of the f64 twin, layer kind by layer kind: a table
//! for who wants to know, and no check.
//!
//! The contract: the networks are drawn as those of `properties.rs`, the same in every run.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config as Settings, RngSeed, TestRunner};
use recurrent::Layout;
use recurrent::internals::cpu;
use recurrent::internals::plan::Target;

use crate::common::executor::gpu;
use crate::common::whole;
use crate::properties::{Case, cases, gradients};

/// Ten times what was seen.
const MOST: f64 = 1e-4;
/// How many networks.
const LISTS: usize = 500;

/// What a parameter is of, a kind of layer, a read-out or a column: its module, without the number.
fn kind(name: &str) -> Option<&str> {
    let (module, _) = name.split_once('.')?;
    Some(module.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_'))
}

/// The largest error of a tensor's gradient over its largest element, by kind, and over all networks the mean of those
/// errors. What is small beside the network's largest gradient is measured against a thousandth of that.
fn table(name: &str, gradients_of: impl Fn(&Case) -> Vec<f64>) {
    let mut runner = TestRunner::new(Settings { rng_seed: RngSeed::Fixed(500), ..Settings::default() });
    let mut errors: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let drawn = std::iter::repeat_with(|| cases().new_tree(&mut runner).unwrap().current());
    // Whose parameters have a module each.
    let lists = drawn.filter(|case| Layout::new(&case.config).unwrap().parameters()[0].name.contains('.'));
    for case in lists.take(LISTS) {
        let (got, want) = (gradients_of(&case), gradients(&case, cpu::Executor::<f64>::new(), Target::cpu()));
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let least = largest(&want) * 1e-3;
        for parameter in Layout::new(&case.config).unwrap().parameters() {
            let [got, want] = [&got, &want].map(|flat| &flat[parameter.range()]);
            let apart: Vec<f64> = got.iter().zip(want).map(|(got, want)| got - want).collect();
            let error = largest(&apart) / largest(want).max(least).max(f64::MIN_POSITIVE);
            errors.entry(kind(&parameter.name).unwrap().to_owned()).or_default().push(error);
        }
    }
    println!("| {name} | tensors | worst | mean |\n|---|---|---|---|");
    for (kind, errors) in errors {
        let (count, worst) = (errors.len(), errors.iter().fold(0.0f64, |worst, error| worst.max(*error)));
        assert!(worst < MOST, "{kind}: {worst:e}");
        println!("| {kind} | {count} | {worst:.1e} | {:.1e} |", errors.iter().sum::<f64>() / count as f64);
    }
}

#[test]
#[ignore = "a table that takes minutes: cargo test --test gradients -- --ignored --nocapture errors"]
fn errors_by_layer_kind() {
    table("CPU, f32", |case| gradients(case, cpu::Executor::<f32>::new(), Target::webgpu()));
    table("GPU", |case| gradients(case, gpu(), whole::gpu().target()));
}
