//! Parameters before training: the bounds that each way of drawing promises, of every cell, direction and gate.
//!
//! Bounds are held from both sides: nothing lies outside, and of so many numbers the largest is near.

use recurrent::{Activation, Cell, Config, Directions, Init, InputKind, Model, Reset};

const INPUTS: usize = 40;
const HIDDEN: usize = 36;
const OUTPUTS: usize = 50;
const CELLS: [Cell; 6] = [
    Cell::Elman(Activation::Tanh),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::Cifg,
    Cell::PeepholeLstm,
];

/// Two layers of both directions that learn their initial state.
fn model(cell: Cell, init: Init) -> Model {
    Model::new(config(cell).with_init(init)).unwrap()
}

fn config(cell: Cell) -> Config {
    let config = Config::of_cell(cell, InputKind::Dense(INPUTS), HIDDEN, OUTPUTS).with_layers(2).with_seed(9);
    config.with_directions(Directions::Bidirectional).with_learned_initial_state(true)
}

#[track_caller]
fn assert_fills(name: &str, values: &[f32], bound: f64) {
    let largest = values.iter().fold(0.0, |max: f64, v| max.max(f64::from(v.abs())));
    assert!(largest <= bound * (1.0 + 1e-6), "{name}: {largest} is beyond {bound}");
    // Of 36 numbers and more all stay below this once in a hundred million draws.
    assert!(largest >= bound * 0.6, "{name}: {largest} is far from {bound}");
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
    let deviation = bound / (3.0 * values.len() as f64).sqrt();
    assert!(mean.abs() <= 5.0 * deviation, "{name}: a mean of {mean}, expected 0 within {deviation}");
}

#[test]
fn uniform_is_pytorchs() {
    for cell in CELLS {
        for (name, _, values) in model(cell, Init::Uniform).tensors() {
            match name {
                "h_0" | "c_0" => assert!(values.iter().all(|v| *v == 0.0), "{name}"),
                // The read-out sums over both directions.
                "weight" | "bias" => assert_fills(name, values, 1.0 / (2.0 * HIDDEN as f64).sqrt()),
                _ => assert_fills(name, values, 1.0 / (HIDDEN as f64).sqrt()),
            }
        }
    }
}

#[test]
fn glorot_is_by_the_fans_of_one_gate() {
    for cell in CELLS {
        for (name, shape, values) in model(cell, Init::Glorot).tensors() {
            if shape.len() == 1 || matches!(name, "h_0" | "c_0") {
                assert!(values.iter().all(|v| *v == 0.0), "{name}");
            } else {
                let out = if name == "weight" { OUTPUTS } else { HIDDEN };
                assert_fills(name, values, (6.0 / (out + shape[1]) as f64).sqrt());
            }
        }
    }
}

/// The blocks of U, one a gate, of every layer and direction.
fn blocks(model: &Model) -> Vec<Vec<f32>> {
    let of_u = model.tensors().filter(|(name, ..)| name.starts_with("weight_hh"));
    of_u.flat_map(|(.., values)| values.chunks_exact(HIDDEN * HIDDEN).map(<[f32]>::to_vec)).collect()
}

#[test]
fn every_gate_has_an_orthogonal_matrix_of_its_own() {
    for cell in CELLS {
        let blocks = blocks(&model(cell, Init::Orthogonal));
        assert_eq!(blocks.len(), 4 * cell.gates());
        for (at, u) in blocks.iter().enumerate() {
            for (i, a) in u.chunks_exact(HIDDEN).enumerate() {
                for (j, b) in u.chunks_exact(HIDDEN).enumerate() {
                    let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let expected = f64::from(u8::from(i == j));
                    // Rows of 36 numbers, each rounded to f32.
                    assert!((product - expected).abs() < 1e-6, "rows {i} and {j} of block {at}: {product}");
                }
            }
            assert!(blocks[..at].iter().all(|before| before != u), "block {at} is drawn apart");
        }
    }
}

#[test]
fn every_gate_has_an_identity() {
    for cell in CELLS {
        for u in blocks(&model(cell, Init::Identity)) {
            assert!((0..u.len()).all(|at| u[at] == f32::from(u8::from(at / HIDDEN == at % HIDDEN))));
        }
    }
}

/// Of a layer whose h is projected a gate's block of U has more rows than columns: these are orthonormal.
#[test]
fn a_projection_is_drawn_by_its_fans_and_leaves_columns_orthogonal() {
    const SIZE: usize = 20;
    for cell in [Cell::Lstm, Cell::Cifg] {
        let drawn = |init| Model::new(config(cell).with_projection(SIZE).with_init(init)).unwrap();
        for (init, of_u, of_w_hr) in [
            (Init::Uniform, HIDDEN, HIDDEN),
            // 6 / bound²: both fans.
            (Init::Glorot, HIDDEN + SIZE, HIDDEN + SIZE),
        ] {
            let model = drawn(init);
            let bound = |fan: usize| (if init == Init::Uniform { 1.0 } else { 6.0 } / fan as f64).sqrt();
            for (name, fan) in [("weight_hh_l1_reverse", of_u), ("weight_hr_l0", of_w_hr), ("weight_hr_l1", of_w_hr)] {
                assert_fills(name, model.parameter(name).unwrap(), bound(fan));
            }
        }
        let (orthogonal, identity) = (drawn(Init::Orthogonal), drawn(Init::Identity));
        for name in ["weight_hh_l0", "weight_hh_l0_reverse", "weight_hh_l1", "weight_hh_l1_reverse"] {
            let u = orthogonal.parameter(name).unwrap();
            assert_eq!(u.len(), cell.gates() * HIDDEN * SIZE);
            for u in u.chunks_exact(HIDDEN * SIZE) {
                for (i, j) in (0..SIZE).flat_map(|i| (0..SIZE).map(move |j| (i, j))) {
                    let product: f64 = u.chunks_exact(SIZE).map(|row| f64::from(row[i]) * f64::from(row[j])).sum();
                    let expected = f64::from(u8::from(i == j));
                    assert!((product - expected).abs() < 1e-6, "columns {i} and {j}: {product}");
                }
            }
            let is_one = |at: usize| at % (HIDDEN * SIZE) / SIZE == at % SIZE;
            let u = identity.parameter(name).unwrap();
            assert!((0..u.len()).all(|at| u[at] == f32::from(u8::from(is_one(at)))));
        }
    }
}

#[test]
fn a_forget_gates_biases_sum_to_what_is_asked() {
    let second = HIDDEN..2 * HIDDEN;
    let cells = [(Cell::Lstm, second.clone()), (Cell::Cifg, 0..HIDDEN), (Cell::PeepholeLstm, second)];
    for (init, (cell, forget)) in
        [Init::Uniform, Init::Glorot].into_iter().flat_map(|init| cells.clone().map(|of| (init, of)))
    {
        let config = config(cell).with_init(init);
        let [plain, biased] = [config.clone(), config.with_forget_bias(1.5)].map(|config| Model::new(config).unwrap());
        let mut seen = 0;
        for ((name, _, plain), (_, _, values)) in plain.tensors().zip(biased.tensors()) {
            let is_bias = name.starts_with("bias_");
            for (row, (before, value)) in plain.iter().zip(values).enumerate() {
                match name {
                    _ if !is_bias || !forget.contains(&row) => assert_eq!(before, value, "{name}[{row}]"),
                    _ if name.starts_with("bias_ih") => assert_eq!(*value, 1.5, "{name}[{row}]"),
                    _ => assert_eq!(*value, 0.0, "{name}[{row}]"),
                }
            }
            seen += usize::from(is_bias);
        }
        assert_eq!(seen, 8, "two biases of two layers and directions");
    }
}

#[test]
fn a_seed_is_a_network() {
    let drawn = |seed| Model::new(config(Cell::Lstm).with_seed(seed)).unwrap();
    assert!(drawn(1) == drawn(1));
    assert!(drawn(1).values() != drawn(2).values());
}
