//! A compiled network of one sequence says what its plan says, keeps its state, and refuses what it cannot read.

use crate::common::lists::mixed;
use crate::common::random::Random;
use crate::common::whole::{assert_close, assert_same, reals, rng};
use recurrent::model::Activation;
use recurrent::realtime::Refused;
use recurrent::{
    Cell, Config, Device, Directions, Error, InputKind, Layer, Model, Pool, RealTimePredictor, Recurrent, Reset,
    StreamingPredictor,
};

const STEPS: usize = 9;

const CELLS: [Cell; 7] = [
    Cell::Elman(Activation::Tanh),
    Cell::Elman(Activation::Relu),
    Cell::Lstm,
    Cell::PeepholeLstm,
    Cell::Cifg,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
];

const FUNCTIONS: [Activation; 6] = [
    Activation::Tanh,
    Activation::Relu,
    Activation::Sigmoid,
    Activation::Gelu,
    Activation::Softplus,
    Activation::Identity,
];

/// The same sums in another order, nine steps long.
const OTHER_ORDER: f32 = 4e-6;

/// Drawn networks of all that can be compiled.
fn drawn(count: u64) -> impl Iterator<Item = Config> {
    (0..count).map(|seed| {
        let mut random = Random::new(seed);
        let input = if seed % 3 == 0 { InputKind::Tokens(5) } else { InputKind::Dense(1 + seed as usize % 4) };
        let outputs = 1 + random.ids(1, 40)[0] as usize;
        let config = Config::new(input).layer(Recurrent::lstm(9)).layer(Recurrent::gru(20)).outputs(outputs);
        let config = mixed(config, &mut random, &CELLS, &FUNCTIONS);
        let pool = (seed % 4 == 1).then_some(Pool::Last);
        let mut config = config.with_directions(Directions::Forward).with_pool(pool).with_seed(seed);
        for layer in &mut config.layers {
            if let Layer::Recurrent(layer) = layer {
                layer.join = recurrent::Join::Concat;
            }
        }
        (config.columns, config.heads) = (Vec::new(), Vec::new());
        config
    })
}

/// One size a vector short, one whole, and one a vector and one long, of each cell.
fn sizes() -> impl Iterator<Item = Config> {
    let of_cell = |cell| {
        let hidden = [1, 7, 8, 15, 16, 17, 24, 31, 32, 40, 48, 49, 64, 65, 130];
        hidden.map(move |hidden| Config::new(InputKind::Dense(3)).layer(Recurrent::new(cell, hidden)).outputs(2))
    };
    CELLS.into_iter().flat_map(of_cell)
}

/// What is read of a network at some steps.
enum Read {
    Numbers(Vec<f32>),
    Tokens(Vec<u32>),
}

fn read(config: &Config, steps: usize) -> Read {
    match config.input {
        InputKind::Tokens(tokens) => Read::Tokens((0..steps as u32).map(|t| (t * 7 + 2) % tokens as u32).collect()),
        _ => Read::Numbers(reals(&mut rng(3), steps * config.input.size(), 1.0)),
    }
}

fn step(predictor: &mut RealTimePredictor, read: &Read, t: usize, y: &mut [f32]) {
    match read {
        Read::Tokens(ids) => predictor.step_token(ids[t], y).unwrap(),
        Read::Numbers(x) => {
            let width = x.len() / STEPS;
            predictor.step(&x[t * width..(t + 1) * width], y).unwrap();
        }
    }
}

#[test]
fn a_compiled_network_says_what_its_plan_says() {
    for config in drawn(120).chain(sizes()) {
        let model = Model::new(config.clone()).unwrap();
        let read = read(&config, STEPS);
        let mut plan = StreamingPredictor::new(&Device::cpu(), &model, 1).unwrap();
        let mut predictor = RealTimePredictor::new(&model).unwrap();
        let mut y = vec![f32::NAN; config.outputs];
        for t in 0..STEPS {
            let want = match &read {
                Read::Tokens(ids) => plan.step_tokens(&ids[t..t + 1]).unwrap(),
                Read::Numbers(x) => plan.step(&x[t * config.input.size()..(t + 1) * config.input.size()]).unwrap(),
            };
            step(&mut predictor, &read, t, &mut y);
            assert_close(&format!("step {t} of {config:?}"), &y, want, OTHER_ORDER);
        }
        let (got, want) = (predictor.state().unwrap(), plan.state().unwrap());
        assert_close(&format!("the state of {config:?}"), got.values(), want.values(), OTHER_ORDER);
    }
}

/// In a quarter of the memory, but for biases, scales and what fills up the last vector.
#[test]
fn weights_in_eight_bits_are_those_of_the_rounded_model() {
    for config in drawn(60).chain(sizes()) {
        let model = Model::new(config.clone()).unwrap();
        let rounded = model.rounded_to_int8();
        let (mut exact, mut bytes) =
            (RealTimePredictor::new(&rounded).unwrap(), RealTimePredictor::with_int8_weights(&model).unwrap());
        let (read, len) = (read(&config, STEPS), STEPS * config.outputs);
        let (mut want, mut got) = (vec![0.0; len], vec![0.0; len]);
        let rows = want.chunks_exact_mut(config.outputs).zip(got.chunks_exact_mut(config.outputs));
        for (t, (want, got)) in rows.enumerate() {
            step(&mut exact, &read, t, want);
            step(&mut bytes, &read, t, got);
        }
        assert_close(&format!("{config:?}"), &got, &want, OTHER_ORDER);
    }
    let large = Model::new(Config::lstm(InputKind::Tokens(300), 256, 300)).unwrap();
    let compiled = [RealTimePredictor::new(&large), RealTimePredictor::with_int8_weights(&large)];
    let [all, a_quarter] = compiled.map(|compiled| compiled.unwrap().weight_bytes() as f64);
    assert!(a_quarter < 0.27 * all, "{a_quarter} of {all} bytes");
}

/// No number moves by more than half a step of its row; what is no matrix stays, and twice is once.
#[test]
fn rounding_moves_matrices_by_half_a_step_at_most() {
    let layer = Recurrent::peephole_lstm(7).with_learned_initial_state(true);
    let config = Config::new(InputKind::Tokens(9)).embedding(5).layer(layer).layer_norm().outputs(3);
    let model = Model::new(config).unwrap();
    let (rounded, twice) = (model.rounded_to_int8(), model.rounded_to_int8().rounded_to_int8());
    let mut matrices = 0;
    for ((name, shape, exact), (_, _, rounded)) in model.tensors().zip(rounded.tensors()) {
        let is_matrix = name.contains("weight") && shape.len() == 2;
        matrices += usize::from(is_matrix);
        assert!(is_matrix || exact == rounded, "{name} is no matrix");
        for (exact, rounded) in exact.chunks(shape[shape.len() - 1]).zip(rounded.chunks(shape[shape.len() - 1])) {
            let step = exact.iter().fold(0.0f32, |most, w| most.max(w.abs())) / 127.0;
            let moved = exact.iter().zip(rounded).fold(0.0f32, |most, (w, r)| most.max((w - r).abs()));
            assert!(moved <= 0.5001 * step, "{name}: by {moved}, a step is {step}");
        }
    }
    assert_eq!(matrices, 4, "the table, W, U and V");
    for ((name, _, once), (_, _, twice)) in rounded.tensors().zip(twice.tensors()) {
        assert_close(name, twice, once, 1e-6);
    }
}

#[test]
fn a_block_is_its_steps_and_a_voice_has_a_state_of_its_own() {
    for config in drawn(30).filter(|config| matches!(config.input, InputKind::Dense(_))) {
        let mut predictor = RealTimePredictor::new(&Model::new(config.clone()).unwrap()).unwrap();
        let read = read(&config, STEPS);
        let Read::Numbers(x) = &read else { unreachable!() };
        let mut want = vec![0.0; STEPS * config.outputs];
        let mut other = predictor.clone();
        for (t, y) in want.chunks_exact_mut(config.outputs).enumerate() {
            step(&mut predictor, &read, t, y);
        }
        let mut got = vec![f32::NAN; want.len()];
        other.block(x, &mut got).unwrap();
        assert_same("a block", &got, &want);
        assert_same("the state", other.state().unwrap().values(), predictor.state().unwrap().values());

        // From there on, and from the start.
        let middle = predictor.state().unwrap();
        predictor.block(x, &mut want).unwrap();
        other.reset();
        other.block(x, &mut got).unwrap();
        other.set_state(&middle).unwrap();
        other.block(x, &mut got).unwrap();
        assert_same("from a state", &got, &want);
    }
}

#[test]
fn what_cannot_be_read_leaves_the_state_and_says_why() {
    let model = Model::new(Config::gru(InputKind::Dense(2), 8, 3)).unwrap();
    let mut predictor = RealTimePredictor::new(&model).unwrap();
    predictor.step(&[0.5, 0.25], &mut [0.0; 3]).unwrap();
    let before = predictor.state().unwrap();
    let mut y = [1.0; 3];
    let mut refused = |x: &[f32], y: &mut [f32]| predictor.step(x, y).unwrap_err();
    assert_eq!(refused(&[0.5], &mut y), Refused::Inputs { given: 1, expected: 2 });
    assert_eq!(y, [0.0; 3], "silence");
    assert_eq!(refused(&[0.5, 0.5], &mut [0.0; 2]), Refused::Outputs { given: 2, expected: 3 });
    assert_eq!(refused(&[0.5; 4], &mut [0.0; 6]), Refused::Outputs { given: 6, expected: 3 });
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(refused(&[0.5, x], &mut [0.0; 3]), Refused::NotFinite { at: 1 });
    }
    assert_eq!(predictor.step_token(1, &mut [0.0; 3]), Err(Refused::Numbers));
    assert_eq!(predictor.block(&[0.0; 4], &mut [0.0; 5]), Err(Refused::Outputs { given: 5, expected: 3 }));
    assert_eq!(predictor.block(&[0.0; 5], &mut [0.0; 6]), Err(Refused::Inputs { given: 5, expected: 4 }));
    assert_eq!(predictor.block(&[], &mut []), Ok(()));
    assert_same("the state", predictor.state().unwrap().values(), before.values());

    let tokens = Model::new(Config::gru(InputKind::Tokens(4), 8, 3)).unwrap();
    let mut predictor = RealTimePredictor::new(&tokens).unwrap();
    assert_eq!(predictor.step(&[0.0; 4], &mut [0.0; 3]), Err(Refused::Tokens));
    assert_eq!(predictor.step_token(4, &mut [0.0; 3]), Err(Refused::Token { token: 4, tokens: 4 }));
    assert_eq!(predictor.step_token(3, &mut [0.0; 2]), Err(Refused::Outputs { given: 2, expected: 3 }));
    let error = Error::from(Refused::Token { token: 4, tokens: 4 });
    assert_eq!(error.to_string(), "token 4 is read, but the model has 4, counted from 0");
}

#[test]
fn what_cannot_be_compiled_is_refused_by_name() {
    let gru = Config::gru(InputKind::Dense(2), 8, 3);
    for (config, says) in [
        (gru.clone().with_directions(Directions::Bidirectional), "reads sequences both ways"),
        (gru.clone().dense_column("shape", 2), "reads columns beside its inputs"),
        (gru.clone().head("value", 1), "has heads"),
        (gru.clone().pool(Pool::Mean), "pools all its steps"),
        (gru.pool(Pool::Max), "pools all its steps"),
    ] {
        let error = RealTimePredictor::new(&Model::new(config).unwrap()).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("expected") && error.contains("Predictor"), "{error}");
    }
}

/// A signal that fades away ends at zero and not in numbers that slow the processor down: at no step on its way.
#[test]
fn no_state_becomes_subnormal() {
    for cell in CELLS {
        let mut layer = Recurrent::new(cell, 16);
        layer.bias = false;
        let config = Config::new(InputKind::Dense(1)).layer(layer).outputs(1);
        let mut predictor = RealTimePredictor::new(&Model::new(config).unwrap()).unwrap();
        predictor.block(&[1.0; 8], &mut [0.0; 8]).unwrap();
        // Silence, and then inputs that are themselves among them.
        for (step, x) in [0.0; 1000].into_iter().chain([1e-40; 20]).enumerate() {
            predictor.step(&[x], &mut [0.0]).unwrap();
            let state = predictor.state().unwrap();
            let is_good = |v: &f32| *v == 0.0 || v.is_normal();
            assert!(state.values().iter().all(is_good), "{cell:?}, step {step}: {:?}", state.values());
        }
        assert_eq!(predictor.state().unwrap().values(), vec![0.0; predictor.config().state_len(1)], "{cell:?}");
    }
}
