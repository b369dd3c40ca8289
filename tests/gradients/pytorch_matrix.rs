//! The executors against numbers from PyTorch over layers, directions, unequal lengths, biases, learned initial states
//! and read-outs: outputs, final state, loss, norm and every gradient.
//!
//! The cases are small and many; that every combination is among them is a test of its own.

use std::collections::HashSet;
use std::path::Path;

use recurrent::formats::Names;
use recurrent::internals::cpu;
use recurrent::internals::plan::Target;
use recurrent::{Directions, Model};
use safetensors::SafeTensors;

use crate::common::compare::{EXACT, F32_NETWORK, F64, Tolerance, assert_close};
use crate::common::executor::{Execute, gpu};
use crate::common::fixture::{Fixture, LISTS, MATRIX, check_case, folder};
use crate::common::whole;

#[test]
fn the_f64_executor_agrees_on_every_structure() {
    for target in [Target::cpu(), Target::webgpu()] {
        check_all(cpu::Executor::<f64>::new, target, F64);
    }
}

#[test]
fn the_f32_executor_agrees_on_every_structure() {
    for target in [Target::cpu(), Target::webgpu()] {
        check_all(cpu::Executor::<f32>::new, target, F32_NETWORK);
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn the_gpu_agrees_on_every_structure() {
    // By a workgroup without memory the recurrence goes step by step; as the adapter offers, in one dispatch.
    let whole = whole::gpu().target();
    for target in [whole, Target { workgroup_bytes: 0, ..whole }] {
        check_all(gpu, target, F32_NETWORK);
    }
}

#[test]
fn every_executor_agrees_on_every_list() {
    let lists = Fixture::load_many(LISTS);
    assert!(lists.len() > 10);
    for fixture in &lists {
        for target in [Target::cpu(), Target::webgpu()] {
            check_case(cpu::Executor::<f64>::new, target, fixture, F64);
            check_case(cpu::Executor::<f32>::new, target, fixture, F32_NETWORK);
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn the_gpu_agrees_on_every_list() {
    let whole = whole::gpu().target();
    for target in [whole, Target { workgroup_bytes: 0, ..whole }] {
        Fixture::load_many(LISTS).iter().for_each(|fixture| check_case(gpu, target, fixture, F32_NETWORK));
    }
}

/// PyTorch to the crate and back: what is exported are the parameters that PyTorch's outputs in the fixture came from.
/// `python scripts/fixtures.py --check-export target/tmp/export` lets PyTorch compute them again from these files.
#[test]
fn what_pytorch_made_goes_back_as_it_came() {
    for file in MATRIX {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export").join(file);
        std::fs::create_dir_all(&to).unwrap();
        for fixture in Fixture::load_many(file) {
            let case = fixture.name.split('/').next_back().unwrap();
            let within = Names::new().recurrent(format!("{case}/")).read_out(format!("{case}/")).ignore_others();
            let from = folder().join(format!("{file}.safetensors"));
            let model = Model::import(from, fixture.config(), &within).unwrap();
            let path = to.join(format!("{case}.safetensors"));
            model.export(&path, &Names::new()).unwrap();

            let bytes = std::fs::read(&path).unwrap();
            let exported = SafeTensors::deserialize(&bytes).unwrap();
            assert_eq!(exported.len(), model.layout().parameters().len(), "{}", fixture.name);
            for parameter in model.layout().parameters() {
                let tensor = exported.tensor(&parameter.name).unwrap();
                let got: Vec<f64> =
                    tensor.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
                assert_eq!(tensor.shape(), parameter.shape);
                assert_close(&fixture.name, &got, &fixture.real(&parameter.name), EXACT);
            }
        }
    }
}

#[test]
fn every_combination_is_among_the_cases() {
    // PyTorch has no GRU that resets before the product: of that there are a few alone.
    for file in MATRIX.iter().filter(|file| **file != "matrix_gru_before") {
        let names: HashSet<String> = Fixture::load_many(file).into_iter().map(|fixture| fixture.name).collect();
        for layers in [1, 2] {
            for directions in [1, 2] {
                for lengths in ["equal", "unequal"] {
                    for bias in ["bias", "nobias"] {
                        let name = format!("{file}/l{layers}_d{directions}_{lengths}_{bias}");
                        assert!(names.contains(&name), "no case {name}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_kind_of_data_meets_directions_and_lengths() {
    let mut met = HashSet::new();
    for fixture in MATRIX.iter().flat_map(|file| Fixture::load_many(file)) {
        let (config, window) = (fixture.config(), fixture.window());
        let unequal = window.lengths.iter().any(|&length| (length as usize) < window.steps);
        let both = config.recurrent_layers().next().unwrap().directions == Directions::Bidirectional;
        met.insert((both, unequal, config.input, fixture.loss().kind(), config.pooling()));
    }
    // Directions, lengths, two inputs, two losses, three read-outs.
    assert_eq!(met.len(), 2 * 2 * 2 * 2 * 3);
}

fn check_all<E: Execute>(executor: impl Fn() -> E, target: Target, tolerance: Tolerance) {
    for fixture in MATRIX.iter().flat_map(|file| Fixture::load_many(file)) {
        check_case(&executor, target, &fixture, tolerance);
    }
}
