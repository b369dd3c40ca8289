//! Streams: step by step, in pieces or as a whole, a model says the same; and drawing from what it says.

use crate::common::whole::{self, assert_close, assert_same, rng};
use rand::RngExt;
use recurrent::model::Activation;
use recurrent::{
    BatchShape, Cell, Clip, Config, Device, Directions, Error, InputKind, Inputs, Loss, Model, Optimizer, Pool,
    Predictor, Recipe, Recurrent, Sequences, Start, State, StreamingPredictor, Targets, Trainer, sample,
};

/// The same sums in f32 by kernels for other numbers of rows, nine steps long.
const OTHER_ROWS: f32 = 2e-6;

const STEPS: usize = 9;
const BATCH: usize = 3;
const HIDDEN: usize = 21;

fn configs() -> [Config; 5] {
    let tokens = Config::elman(InputKind::Tokens(5), HIDDEN, 5).with_seed(1);
    let dense = Config::elman(InputKind::Dense(4), HIDDEN, 2).with_seed(2);
    let relu = dense.clone().with_cell(Cell::Elman(Activation::Relu)).with_seed(3);
    let layer = |layer: Recurrent| layer.with_bias(false);
    let list = Config::new(InputKind::Dense(4)).layer(layer(Recurrent::lstm(5))).layer(Recurrent::gru(HIDDEN));
    let list = list.layer(Recurrent::lstm(9)).dense(7, Activation::Gelu).outputs(3).with_seed(4);
    let projected = Recurrent::lstm(HIDDEN).with_projection(5);
    let projected = Config::new(InputKind::Dense(4)).layer(projected).layer(Recurrent::cifg(9).with_projection(8));
    [tokens, dense, relu, list, projected.outputs(3).with_seed(5)]
}

fn open(device: &Device, config: &Config, batch: usize) -> StreamingPredictor {
    StreamingPredictor::new(device, &Model::new(config.clone()).unwrap(), batch).unwrap()
}

fn inputs(config: &Config, steps: usize, batch: usize) -> Inputs {
    whole::batch(&mut rng(7), config, Loss::MeanSquared, steps, batch).sequences.inputs
}

/// The inputs of some steps, of all sequences or of one.
fn cut(config: &Config, inputs: &Inputs, steps: std::ops::Range<usize>, sequence: Option<usize>) -> Inputs {
    let sequences = sequence.map_or(0..BATCH, |b| b..b + 1);
    let rows = steps.flat_map(|t| sequences.clone().map(move |b| t * BATCH + b));
    match inputs {
        Inputs::Tokens(ids) => Inputs::Tokens(rows.map(|row| ids[row]).collect()),
        Inputs::Dense(x) => {
            let width = config.input.size();
            Inputs::Dense(rows.flat_map(|row| x[row * width..][..width].to_vec()).collect())
        }
        _ => panic!("another kind"),
    }
}

/// One step.
fn step<'a>(stream: &'a mut StreamingPredictor, inputs: &Inputs) -> &'a [f32] {
    match inputs {
        Inputs::Tokens(ids) => stream.step_tokens(ids).unwrap(),
        Inputs::Dense(x) => stream.step(x).unwrap(),
        _ => panic!("another kind"),
    }
}

fn steps_pieces_and_the_whole_say_the_same(device: &Device) {
    for config in configs() {
        let inputs = inputs(&config, STEPS, BATCH);
        let mut stream = open(device, &config, BATCH);
        let want = stream.sequence(STEPS, &inputs).unwrap().to_vec();
        assert_eq!(want.len(), STEPS * BATCH * config.outputs);
        let last = stream.state().unwrap();

        let mut stream = open(device, &config, BATCH);
        let mut got = Vec::new();
        for t in 0..STEPS {
            got.extend_from_slice(step(&mut stream, &cut(&config, &inputs, t..t + 1, None)));
        }
        assert_close("the outputs of single steps", &got, &want, OTHER_ROWS);
        assert_close("the state after single steps", stream.state().unwrap().values(), last.values(), OTHER_ROWS);

        let mut stream = open(device, &config, BATCH);
        got.clear();
        got.extend_from_slice(step(&mut stream, &cut(&config, &inputs, 0..1, None)));
        for piece in [1..5, 5..7, 7..8, 8..9] {
            let part = cut(&config, &inputs, piece.clone(), None);
            got.extend_from_slice(stream.sequence(piece.len(), &part).unwrap());
        }
        assert_close("the outputs of pieces", &got, &want, OTHER_ROWS);
        assert_close("the state after pieces", stream.state().unwrap().values(), last.values(), OTHER_ROWS);

        // One reading at the end: the last of all readings.
        let mut stream = open(device, &config.clone().pool(Pool::Last), BATCH);
        let got = stream.sequence(STEPS, &inputs).unwrap();
        assert_close("the last outputs", got, &want[(STEPS - 1) * BATCH * config.outputs..], OTHER_ROWS);
    }
}

fn a_stream_says_what_training_sees(device: &Device) {
    for config in configs() {
        let state = State::new(&config, BATCH, whole::reals(&mut rng(8), config.state_len(BATCH), 0.9)).unwrap();
        let batch = whole::batch(&mut rng(7), &config, Loss::MeanSquared, STEPS, BATCH);
        let targets = Targets::Values(vec![0.25; STEPS * BATCH * config.outputs]);
        let batch = batch.with_targets(targets).with_start(Start::Given(state.clone()));
        let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 1e-30);
        let mut trainer = Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap();
        trainer.step(&batch).unwrap();

        let mut stream = open(device, &config, BATCH);
        stream.set_state(&state).unwrap();
        let mut sum = 0.0;
        for t in 0..STEPS {
            let outputs = step(&mut stream, &cut(&config, &batch.sequences.inputs, t..t + 1, None));
            sum += outputs.iter().map(|y| (f64::from(*y) - 0.25).powi(2)).sum::<f64>();
        }
        let (want, got) = (sum / (STEPS * BATCH * config.outputs) as f64, trainer.metrics().unwrap()[0].loss);
        assert!((got - want).abs() <= 1e-6 * want, "the loss is {got}, by the stream's outputs {want}");
        let trained = trainer.state().unwrap().unwrap();
        assert_close("the last state", stream.state().unwrap().values(), trained.values(), OTHER_ROWS);
    }
}

fn sequences_of_a_batch_do_not_mix(device: &Device) {
    for config in configs() {
        let inputs = inputs(&config, STEPS, BATCH);
        let together = open(device, &config, BATCH).sequence(STEPS, &inputs).unwrap().to_vec();
        for b in 0..BATCH {
            let mut alone = open(device, &config, 1);
            let got = alone.sequence(STEPS, &cut(&config, &inputs, 0..STEPS, Some(b))).unwrap();
            let rows = together.chunks_exact(config.outputs).skip(b).step_by(BATCH);
            let want: Vec<f32> = rows.flatten().copied().collect();
            assert_close(&format!("sequence {b}"), got, &want, OTHER_ROWS);
        }
    }
}

fn a_state_is_kept_set_and_reset(device: &Device) {
    let config = &configs()[1];
    let mut stream = open(device, config, BATCH);
    assert_same("the first state", stream.state().unwrap().values(), &[0.0; BATCH * HIDDEN]);
    let [first, second] = [0, 1].map(|t| cut(config, &inputs(config, 2, BATCH), t..t + 1, None));
    let fresh = step(&mut stream, &first).to_vec();
    let state = stream.state().unwrap();
    assert!(state.values().iter().any(|v| v.abs() > 0.01));
    let then = step(&mut stream, &second).to_vec();

    stream.set_state(&state).unwrap();
    assert_same("the state that was set", stream.state().unwrap().values(), state.values());
    assert_same("the step from it", step(&mut stream, &second), &then);
    stream.reset().unwrap();
    assert_same("the state after a reset", stream.state().unwrap().values(), &[0.0; BATCH * HIDDEN]);
    assert_same("the step from there", step(&mut stream, &first), &fresh);

    // A call that is refused leaves the state alone.
    let there = stream.state().unwrap();
    let one = State::new(config, 1, vec![0.0; HIDDEN]).unwrap();
    assert!(matches!(stream.set_state(&one), Err(Error::Shape { .. })));
    let mut values = stream.state().unwrap().values().to_vec();
    values[1] = f32::NAN;
    let refused = State::new(config, BATCH, values);
    assert!(matches!(refused, Err(Error::Data(what)) if what == "element 1 of the state is NaN"));
    assert!(stream.step(&[0.0; 5]).is_err() && stream.step_tokens(&[0; BATCH]).is_err());
    assert!(stream.sequence(0, &Inputs::Dense(Vec::new())).is_err());
    assert_same("the state after refused calls", stream.state().unwrap().values(), there.values());
}

/// Four learned states of an LSTM of two layers, each unlike the others: h and then c of both.
fn a_learned_state_is_where_a_stream_begins(device: &Device) {
    let config =
        Config::lstm(InputKind::Dense(4), HIDDEN, 2).with_layers(2).with_learned_initial_state(true).with_seed(4);
    let model = Model::new(config.clone()).unwrap();
    let learned: Vec<f32> = (0..4 * HIDDEN).map(|at| (at as f32 * 0.7).sin()).collect();
    let (h, c) = learned.split_at(2 * HIDDEN);
    let value = |name: &str, values: &[f32]| match name {
        "h_0" => h.to_vec(),
        "c_0" => c.to_vec(),
        _ => values.to_vec(),
    };
    let tensors: Vec<_> = model.tensors().map(|(name, shape, values)| (name, shape, value(name, values))).collect();
    let tensors = tensors.iter().map(|(name, shape, values)| (*name, *shape, values.as_slice()));
    let model = Model::from_tensors(config.clone(), tensors).unwrap();
    let want: Vec<f32> = learned.chunks(HIDDEN).flat_map(|row| row.repeat(BATCH)).collect();

    let inputs = inputs(&config, STEPS, BATCH);
    let mut stream = StreamingPredictor::new(device, &model, BATCH).unwrap();
    assert_same("the first state", stream.state().unwrap().values(), &want);
    let outputs = stream.sequence(STEPS, &inputs).unwrap().to_vec();
    assert!(stream.state().unwrap().values() != want);
    stream.reset().unwrap();
    assert_same("the state after a reset", stream.state().unwrap().values(), &want);
    assert_same("the outputs after a reset", stream.sequence(STEPS, &inputs).unwrap(), &outputs);

    // Zeros are another state, and one that can be set.
    stream.set_state(&State::new(&config, BATCH, vec![0.0; want.len()]).unwrap()).unwrap();
    assert!(stream.sequence(STEPS, &inputs).unwrap() != outputs);

    // A training whose windows start from zero starts there too: at this rate it learns nothing.
    let batch = whole::batch(&mut rng(7), &config, Loss::MeanSquared, STEPS, BATCH);
    let recipe = Recipe::new(Loss::MeanSquared).with_optimizer(Optimizer::sgd(0.0), 1e-30);
    let mut trainer = Trainer::new(device, &model, recipe).unwrap();
    trainer.step(&batch).unwrap();
    stream.reset().unwrap();
    stream.sequence(STEPS, &batch.sequences.inputs).unwrap();
    let trained = trainer.state().unwrap().unwrap();
    assert_close("the last state", stream.state().unwrap().values(), trained.values(), OTHER_ROWS);
}

fn a_model_that_needs_the_end_of_a_sequence_is_refused(device: &Device) {
    let config = configs()[1].clone();
    let both = config.clone().with_directions(Directions::Bidirectional);
    let reverse = config.clone().with_directions(Directions::Reverse);
    let message = |config: Config| {
        let error = StreamingPredictor::new(device, &Model::new(config).unwrap(), 1).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        error.to_string()
    };
    for (config, what, instead) in [
        (both.clone(), "layer 0 (rnn) reads sequences both ways", "needs layers that read forwards"),
        (both.pool(Pool::Mean), "layer 0 (rnn) reads sequences both ways", "needs layers that read forwards"),
        (reverse, "layer 0 (rnn) reads sequences from their end", "needs layers that read forwards"),
        (config.clone().pool(Pool::Max), "layer 1 (pool) pools a whole sequence", "a model without a pool"),
        (config.clone().dense(3, Activation::Relu).pool(Pool::First), "layer 2 (pool) pools", "a model without a pool"),
        (config.clone().pool(Pool::Mean).dense(3, Activation::Relu), "layer 1 (pool) is a mean", "below the read-out"),
    ] {
        let message = message(config);
        assert!(message.contains(what) && message.contains(instead) && message.contains("a Predictor"), "{message}");
    }
    for read_out in [Some(Pool::Last), Some(Pool::Mean)] {
        assert!(StreamingPredictor::new(device, &Model::new(config.clone().with_pool(read_out)).unwrap(), 1).is_ok());
    }
}

/// At every step what a predictor says of the sequence so far.
fn one_sequence_goes_back_and_the_others_go_on(device: &Device) {
    let mean = Config::lstm(InputKind::Dense(4), HIDDEN, 3).with_learned_initial_state(true).pool(Pool::Mean);
    for config in configs().into_iter().chain([mean]) {
        let all = inputs(&config, STEPS, BATCH);
        let at = |steps: std::ops::Range<usize>| cut(&config, &all, steps, None);
        let [mut whole, mut reset, mut fresh] = [(); 3].map(|()| open(device, &config, BATCH));
        for t in 0..STEPS {
            if t == 4 {
                reset.reset_sequence(1).unwrap();
            }
            let width = config.outputs;
            let of = |outputs: &[f32], b: usize| outputs[b * width..][..width].to_vec();
            let from_start = step(&mut whole, &at(t..t + 1)).to_vec();
            let from_reset = step(&mut reset, &at(t..t + 1)).to_vec();
            let expected = if t < 4 { from_start.clone() } else { step(&mut fresh, &at(t..t + 1)).to_vec() };
            assert_same("the one that went back", &of(&from_reset, 1), &of(&expected, 1));
            assert_same("one beside it", &of(&from_reset, 0), &of(&from_start, 0));
            assert_same("one behind it", &of(&from_reset, 2), &of(&from_start, 2));
        }
        // Where another sequence is.
        let other = reset.state().unwrap().sequence(0).unwrap();
        reset.set_sequence(2, &other).unwrap();
        let after = reset.state().unwrap();
        assert_eq!((after.sequence(2), after.sequence(0)), (Some(other.clone()), Some(other)));
        whole::refuses(reset.reset_sequence(3), &["sequence 3 is to be reset", "the stream has 3"]);
        let state = reset.state().unwrap();
        whole::refuses(reset.set_sequence(0, &state), &["state has shape [3", "expected [1"]);
    }
}

fn a_mean_is_that_of_the_steps_so_far(device: &Device) {
    let config = configs()[1].clone().pool(Pool::Mean);
    let model = Model::new(config.clone()).unwrap();
    let whole = whole::batch(&mut rng(11), &config, Loss::MeanSquared, STEPS, BATCH).sequences;
    let mut predictor = Predictor::new(device, &model).unwrap();
    let mut stream = StreamingPredictor::new(device, &model, BATCH).unwrap();
    assert_eq!(stream.config(), &config);
    for turn in 0..2 {
        for t in 0..STEPS {
            let so_far = cut(&config, &whole.inputs, 0..t + 1, None);
            let want =
                predictor.run(&Sequences::new(BatchShape { steps: t + 1, batch_size: BATCH }, so_far)).unwrap().outputs;
            let got = step(&mut stream, &cut(&config, &whole.inputs, t..t + 1, None)).to_vec();
            assert_close(&format!("step {t}, turn {turn}"), &got, &want, OTHER_ROWS);
        }
        stream.reset().unwrap();
    }
    let at_once = stream.sequence(STEPS, &whole.inputs).unwrap().to_vec();
    assert_close("all steps at once", &at_once, &predictor.run(&whole).unwrap().outputs, OTHER_ROWS);
}

whole::on_both!(
    a_mean_is_that_of_the_steps_so_far,
    one_sequence_goes_back_and_the_others_go_on,
    a_learned_state_is_where_a_stream_begins,
    a_model_that_needs_the_end_of_a_sequence_is_refused,
    steps_pieces_and_the_whole_say_the_same,
    a_stream_says_what_training_sees,
    sequences_of_a_batch_do_not_mix,
    a_state_is_kept_set_and_reset,
);

#[test]
fn temperature_0_is_the_likeliest_whatever_the_number() {
    for uniform in [0.0, 0.5, 0.999_999] {
        assert_eq!(sample(&[0.5, -1.0, 3.0, 2.9], 0.0, uniform).unwrap(), 2);
        assert_eq!(sample(&[-7.0], 0.0, uniform).unwrap(), 0);
        assert_eq!(sample(&[1.0, 4.0, 4.0], 0.0, uniform).unwrap(), 1, "the first of equals");
    }
    // So small a temperature is 0 but in name.
    assert_eq!(sample(&[0.5, 3.0, 2.9], f64::MIN_POSITIVE, 0.9).unwrap(), 1);
    assert_eq!(sample(&[f32::MAX, -f32::MAX, f32::MAX / 2.0], 1.0, 0.9).unwrap(), 0);
}

#[test]
fn draws_follow_the_softmax_at_the_temperature() {
    const DRAWS: usize = 100_000;
    let outputs = [1.0f32, 0.0, 2.5, -1.0, 2.0];
    for temperature in [0.3, 1.0, 4.0] {
        let weights = outputs.map(|y| (f64::from(y) / temperature).exp());
        let total: f64 = weights.iter().sum();
        let mut random = rng(11);
        let mut counts = [0u32; 5];
        for _ in 0..DRAWS {
            counts[sample(&outputs, temperature, random.random()).unwrap() as usize] += 1;
        }
        for (i, (count, weight)) in counts.iter().zip(weights).enumerate() {
            let p = weight / total;
            let (got, expected) = (f64::from(*count), p * DRAWS as f64);
            // Five standard deviations: one seed in a million is further off.
            let allowed = 5.0 * (expected * (1.0 - p)).sqrt();
            assert!((got - expected).abs() <= allowed, "{temperature}: token {i} {got} times, expected {expected:.0}");
        }
    }
    // The borders of the unit interval, and a token that cannot be drawn.
    assert_eq!(sample(&outputs, 1.0, 0.0).unwrap(), 0);
    assert_eq!(sample(&outputs, 1.0, 1.0 - f64::EPSILON / 2.0).unwrap(), 4);
    assert_eq!(sample(&[-1e6, 0.0], 1.0, 0.0).unwrap(), 1);
}

#[test]
fn what_cannot_be_drawn_from_is_an_error() {
    for temperature in [-1.0, -f64::MIN_POSITIVE, f64::NAN, f64::INFINITY] {
        let error = sample(&[1.0, 2.0], temperature, 0.5).unwrap_err();
        let words = format!("invalid configuration: the temperature is {temperature}, expected a number of at least 0");
        assert_eq!(error.to_string(), words);
        assert!(matches!(error, Error::Config(_)));
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = sample(&[1.0, bad], 0.0, 0.5).unwrap_err();
        assert_eq!(error.to_string(), format!("output 1 is {bad}, so nothing can be drawn"));
        assert!(matches!(error, Error::Data(_)));
    }
    assert_eq!(sample(&[], 1.0, 0.5).unwrap_err().to_string(), "there are no outputs to draw from");
}
