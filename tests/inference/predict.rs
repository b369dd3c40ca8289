//! Inference over whole sequences: over more steps than a chunk, of any length each, both ways, and from any state, on
//! the CPU and on the GPU.
//!
//! What a predictor says is held against a stream that goes step by step, and against each sequence by itself.

use crate::common::lists::with_dense;
use crate::common::whole::{self, assert_close, assert_same, rng};
use recurrent::model::Activation;
use recurrent::{
    Batch, BatchShape, Cell, Config, Device, Directions, Dropout, Error, InputKind, Inputs, Loss, Model, Pool,
    Predictor, Recipe, Recurrent, Reset, Sequences, Start, State, StreamingPredictor, Targets, Trainer,
};

/// The same sums in f32 by kernels for other numbers of rows, over hundreds of steps that forget.
const OTHER_ROWS: f32 = 1e-5;

/// Two chunks of 128 steps and three steps, too few for a whole sequence at once.
const STEPS: usize = 259;
/// On either side of the borders between chunks, and at the ends.
const LENGTHS: [usize; 8] = [259, 1, 127, 128, 129, 256, 257, 255];
const BATCH: usize = LENGTHS.len();

/// Every cell, of one layer and of two, and layers that differ.
fn configs() -> Vec<Config> {
    let dense = |cell: Cell| Config::of_cell(cell, InputKind::Dense(3), 12, 4);
    vec![
        dense(Cell::Elman(Activation::Tanh)).with_seed(1),
        Config::lstm(InputKind::Tokens(5), 12, 4).with_layers(2).with_learned_initial_state(true).with_seed(2),
        dense(Cell::Gru(Reset::AfterProduct)).with_layers(2).with_bias(false).with_seed(3),
        dense(Cell::Gru(Reset::BeforeProduct)).with_learned_initial_state(true).with_seed(4),
        Config::new(InputKind::Tokens(5))
            .layer(Recurrent::gru(7).with_learned_initial_state(true))
            .layer(Recurrent::lstm(12))
            .layer(Recurrent::lstm(12))
            .layer(Recurrent::lstm(5).with_learned_initial_state(true).with_bias(false))
            .outputs(4)
            .with_seed(5),
        with_dense(dense(Cell::Lstm).with_seed(6)),
        dense(Cell::Lstm).with_projection(5).with_layers(3).with_learned_initial_state(true).with_seed(7),
    ]
}

/// A model of random parameters, a learned initial state too, which is zero before training.
fn model(config: &Config) -> Model {
    let model = Model::new(config.clone()).unwrap();
    let start = |name: &str, values: &[f32]| match name {
        _ if ["h_0", "c_0"].iter().any(|state| name.ends_with(state)) => whole::reals(&mut rng(5), values.len(), 0.9),
        _ => values.to_vec(),
    };
    let tensors: Vec<_> = model.tensors().map(|(name, shape, values)| (name, shape, start(name, values))).collect();
    Model::from_tensors(config.clone(), tensors.iter().map(|(name, shape, v)| (*name, *shape, v.as_slice()))).unwrap()
}

fn sequences(config: &Config, steps: usize, lengths: &[usize]) -> Sequences {
    let batch = whole::batch(&mut rng(6), config, Loss::MeanSquared, steps, lengths.len());
    batch.sequences.with_lengths(lengths.to_vec())
}

/// Some steps of one sequence, or of all.
fn cut(sequences: &Sequences, config: &Config, steps: std::ops::Range<usize>, of: Option<usize>) -> Inputs {
    let rows =
        steps.flat_map(|t| of.map_or(0..sequences.batch_size, |b| b..b + 1).map(move |b| t * sequences.batch_size + b));
    match &sequences.inputs {
        Inputs::Tokens(ids) => Inputs::Tokens(rows.map(|row| ids[row]).collect()),
        Inputs::Dense(x) => {
            let width = config.input.size();
            Inputs::Dense(rows.flat_map(|row| &x[row * width..][..width]).copied().collect())
        }
        _ => panic!("another kind"),
    }
}

/// One sequence by itself, as long as it is.
fn alone(sequences: &Sequences, config: &Config, b: usize) -> Sequences {
    let steps = sequences.lengths.as_ref().unwrap()[b];
    let inputs = cut(sequences, config, 0..steps, Some(b));
    Sequences::new(BatchShape { steps, batch_size: 1 }, inputs)
}

/// Row b of every `[B, width]` in some values.
fn of_sequence(values: &[f32], width: usize, size: usize, b: usize) -> Vec<f32> {
    values.chunks_exact(width).skip(b).step_by(size).flatten().copied().collect()
}

/// By single steps of a stream: the outputs `[T, B, O]` of a network that is read out at every step, zeros behind the
/// ends, and each sequence's state at its end.
fn by_steps(device: &Device, model: &Model, sequences: &Sequences) -> (Vec<f32>, State) {
    let (config, lengths) = (model.config(), sequences.lengths.as_ref().unwrap());
    let mut stream = StreamingPredictor::new(device, model, sequences.batch_size).unwrap();
    let mut outputs = Vec::new();
    let mut ends = model.initial_state(sequences.batch_size).unwrap();
    for t in 0..sequences.steps {
        let mut row = stream.sequence(1, &cut(sequences, config, t..t + 1, None)).unwrap().to_vec();
        for (b, length) in lengths.iter().enumerate().filter(|(_, length)| **length <= t) {
            assert!(*length > 0);
            row[b * config.outputs..(b + 1) * config.outputs].fill(0.0);
        }
        outputs.extend(row);
        for b in (0..lengths.len()).filter(|b| lengths[*b] == t + 1) {
            ends.set_sequence(b, &stream.state().unwrap().sequence(b).unwrap()).unwrap();
        }
    }
    (outputs, ends)
}

fn more_steps_than_a_chunk_are_as_many_single_ones(device: &Device) {
    for config in configs() {
        let sequences = sequences(&config, STEPS, &LENGTHS);
        let (outputs, ends) = by_steps(device, &model(&config), &sequences);
        let width = config.outputs;
        let at = |t: usize, b: usize| &outputs[(t * BATCH + b) * width..][..width];
        for read_out in [None, Some(Pool::Last), Some(Pool::Mean)] {
            let model = model(&config.clone().with_pool(read_out));
            // The read-out is linear: of the mean it is the mean of the outputs.
            let want: Vec<f32> = match read_out {
                None => outputs.clone(),
                Some(Pool::Last) => (0..BATCH).flat_map(|b| at(LENGTHS[b] - 1, b)).copied().collect(),
                _ => (0..BATCH * width)
                    .map(|i| (0..LENGTHS[i / width]).map(|t| at(t, i / width)[i % width]).sum::<f32>())
                    .zip(LENGTHS.iter().flat_map(|length| std::iter::repeat_n(*length, width)))
                    .map(|(sum, length)| sum / length as f32)
                    .collect(),
            };
            let got = Predictor::new(device, &model).unwrap().run(&sequences).unwrap();
            let what = format!("{config:?}, {read_out:?}");
            assert_close(&format!("{what}: outputs"), &got.outputs, &want, OTHER_ROWS);
            assert_close(&format!("{what}: states"), got.state.values(), ends.values(), OTHER_ROWS);
            if read_out.is_none() {
                for (row, out) in got.outputs.chunks_exact(width).enumerate() {
                    let valid = row / BATCH < LENGTHS[row % BATCH];
                    assert_eq!(valid, out.iter().any(|y| *y != 0.0), "{what}: step {}", row / BATCH);
                }
            }
        }
    }
}

fn an_evaluation_over_more_steps_than_a_chunk_is_of_the_same_outputs(device: &Device) {
    for config in configs() {
        for read_out in [None, Some(Pool::Last), Some(Pool::Mean)] {
            let model = model(&config.clone().with_pool(read_out));
            let sequences = sequences(&config, STEPS, &LENGTHS);
            let outputs = Predictor::new(device, &model).unwrap().run(&sequences).unwrap().outputs;
            let batch = Batch::new(sequences, Targets::Values(vec![0.0; outputs.len()]));
            let count = batch.count(model.config());
            // Behind the ends outputs are the zeros that are expected.
            let squares: f64 = outputs.iter().map(|y| f64::from(*y).powi(2)).sum();
            let want = squares / (count * config.outputs) as f64;
            let mut trainer = Trainer::new(device, &model, Recipe::new(Loss::MeanSquared)).unwrap();
            let got = trainer.evaluate([batch]).unwrap();
            assert!((got - want).abs() <= 1e-5 * want, "{config:?}, {read_out:?}: {got}, by the outputs {want}");
        }
    }
}

fn both_ways_a_sequence_is_read_as_by_itself(device: &Device) {
    let lengths = [5, 1, 7, 4];
    for config in configs() {
        for read_out in [None, Some(Pool::Last), Some(Pool::Mean)] {
            // Which of the two that need the end of a sequence.
            let ways = [Directions::Bidirectional, Directions::Reverse][usize::from(read_out == Some(Pool::Last))];
            let config = config.clone().with_directions(ways).with_pool(read_out);
            let sequences = sequences(&config, 7, &lengths);
            let mut predictor = Predictor::new(device, &model(&config)).unwrap();
            let together = predictor.run(&sequences).unwrap();
            assert_eq!(together.state.values().len(), config.state_len(4));
            for (b, length) in lengths.into_iter().enumerate() {
                let one = predictor.run(&alone(&sequences, &config, b)).unwrap();
                let mut outputs = of_sequence(&together.outputs, config.outputs, 4, b);
                if read_out.is_none() {
                    let padding = outputs.split_off(length * config.outputs);
                    assert!(padding.iter().all(|y| *y == 0.0), "outputs behind the end of sequence {b}");
                }
                assert_close(&format!("{config:?}: outputs of {b}"), &outputs, &one.outputs, OTHER_ROWS);
                let state = together.state.sequence(b).unwrap();
                assert_close(&format!("{config:?}: state of {b}"), state.values(), one.state.values(), OTHER_ROWS);
            }
        }
    }
}

fn states_are_found_by_layer_and_direction(device: &Device) {
    let config = Config::lstm(InputKind::Dense(3), 12, 4).with_layers(2).with_directions(Directions::Bidirectional);
    let sequences = sequences(&config, 7, &[7, 3]);
    let state = Predictor::new(device, &self::model(&config)).unwrap().run(&sequences).unwrap().state;
    assert_eq!(state.batch_size(), 2);
    let mut seen = 0;
    for (s, layer, direction) in (0..8).map(|i| (i / 4, i / 2 % 2, i % 2)) {
        let rows = if s == 0 { state.h(layer) } else { state.c(layer) }.unwrap().chunks_exact(2 * 12);
        let part: Vec<f32> = rows.flat_map(|row| &row[direction * 12..(direction + 1) * 12]).copied().collect();
        // [S, L, B, D, H].
        let at = |b: usize| (((s * 2 + layer) * 2 + b) * 2 + direction) * 12;
        let want = [0, 1].map(|b| &state.values()[at(b)..at(b) + 12]).concat();
        assert_same(&format!("state {s} of layer {layer}, direction {direction}"), &part, &want);
        seen += want.len();
    }
    assert_eq!(seen, state.values().len());
    for layer in [2, usize::MAX] {
        assert_eq!((state.h(layer), state.c(layer)), (None, None));
    }
    assert_eq!((state.batch_size(), state.values().len()), (2, config.state_len(2)));
    // Values of another network make no state, nor does none at all.
    for (batch_size, len) in [(2, 5), (1, 2 * 2 * 2 * 24), (usize::MAX, 0)] {
        let refused = State::new(&config, batch_size, vec![0.0; len]);
        assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
    }
    assert!(matches!(State::new(&config, 0, Vec::new()), Err(Error::Config(_))));

    // Where h is projected it is not as wide as c: both directions of h of both layers, then of c.
    let config = config.with_projection(5).with_learned_initial_state(true);
    let model = self::model(&config);
    let state = Predictor::new(device, &model).unwrap().run(&sequences).unwrap().state;
    assert_eq!((state.values().len(), config.state_len(2)), (2 * 2 * (10 + 24), 2 * 2 * (10 + 24)));
    for layer in [0, 1] {
        assert_same("h", state.h(layer).unwrap(), &state.values()[layer * 20..][..20]);
        assert_same("c", state.c(layer).unwrap(), &state.values()[40 + layer * 48..][..48]);
    }
    let second = state.sequence(1).unwrap();
    assert_same("h of a sequence", second.h(1).unwrap(), &state.h(1).unwrap()[10..]);
    assert_same("c of a sequence", second.c(0).unwrap(), &state.c(0).unwrap()[24..]);
    let start = model.initial_state(2).unwrap();
    let [h_0, c_0] = ["h_0", "c_0"].map(|name| model.parameter(name).unwrap());
    assert_same("the start of h", start.h(1).unwrap(), &h_0[10..].repeat(2));
    assert_same("the start of c", start.c(1).unwrap(), &c_0[24..].repeat(2));
    let narrow = State::new(&config.clone().with_projection(4), 2, vec![0.0; 2 * 2 * (8 + 24)]).unwrap();
    let refused = Predictor::new(device, &model).unwrap().run(&sequences.clone().with_start(Start::Given(narrow)));
    assert!(refused.unwrap_err().to_string().contains("h [2, 10] of both directions of layer 0"));

    // One way and read out at every step, what is read out of the last state is the last output.
    let config = configs()[2].clone();
    let model = self::model(&config);
    let last = Predictor::new(device, &model).unwrap().run(&self::sequences(&config, 9, &[9])).unwrap();
    let h = last.state.h(1).unwrap();
    let [weight, bias] = ["weight", "bias"].map(|name| model.parameter(name).unwrap());
    let rows = weight.chunks_exact(12).zip(bias);
    let want: Vec<f32> = rows.map(|(v, b)| v.iter().zip(h).map(|(v, h)| v * h).sum::<f32>() + b).collect();
    assert_close("the last output", &last.outputs[8 * 4..], &want, OTHER_ROWS);
    assert_eq!(last.state.c(0), None, "a GRU has no c");
}

fn sequences_go_on_from_a_state_that_is_given(device: &Device) {
    for config in configs() {
        let mut predictor = Predictor::new(device, &model(&config)).unwrap();
        let whole = sequences(&config, 150, &[150, 150]);
        let want = predictor.run(&whole).unwrap();
        let part = |steps: std::ops::Range<usize>, start| {
            let inputs = cut(&whole, &config, steps.clone(), None);
            Sequences::new(BatchShape { steps: steps.len(), batch_size: 2 }, inputs).with_start(start)
        };
        let first = predictor.run(&part(0..20, Start::Initial)).unwrap();
        let then = predictor.run(&part(20..150, Start::Given(first.state))).unwrap();
        let outputs = [first.outputs, then.outputs].concat();
        assert_close("the outputs of two parts", &outputs, &want.outputs, OTHER_ROWS);
        assert_close("the state after them", then.state.values(), want.state.values(), OTHER_ROWS);
        // And no trace of it is left.
        let again = predictor.run(&whole).unwrap();
        assert_same("the outputs once more", &again.outputs, &want.outputs);
        assert_same("the state once more", again.state.values(), want.state.values());
    }
}

fn a_model_takes_the_place_of_another_of_its_configuration(device: &Device) {
    let config = configs()[1].clone();
    let sequences = sequences(&config, 9, &[9, 4]);
    let first = model(&config);
    let mut tensors: Vec<_> = first.tensors().map(|(name, shape, v)| (name, shape, v.to_vec())).collect();
    tensors.iter_mut().for_each(|(_, _, values)| values.iter_mut().for_each(|v| *v *= -0.5));
    let tensors = tensors.iter().map(|(name, shape, values)| (*name, *shape, values.as_slice()));
    let second = Model::from_tensors(config.clone(), tensors).unwrap();

    let [want, other] = [&first, &second].map(|m| Predictor::new(device, m).unwrap().run(&sequences).unwrap());
    assert_ne!(want.outputs, other.outputs);
    let mut predictor = Predictor::new(device, &first).unwrap();
    predictor.run(&sequences).unwrap();
    predictor.set_model(&second).unwrap();
    assert_eq!(predictor.run(&sequences).unwrap(), other);
    for (changed, words) in [
        (config.clone().with_bias(false), ["layer 0 is", "bias: false", "bias: true"]),
        (config.clone().outputs(3), ["number of outputs", "is 3", "expected 4"]),
        (config.clone().dense(12, Activation::Tanh), ["number of layers", "is 3", "expected 2"]),
        (config.clone().head("tag", 2), ["heads", "tag", "expected []"]),
    ] {
        let error = predictor.set_model(&Model::new(changed).unwrap()).unwrap_err();
        assert!(matches!(&error, Error::Config(what) if words.iter().all(|word| what.contains(word))), "{error}");
    }
    assert_eq!(predictor.run(&sequences).unwrap(), other, "a refused model leaves the one before");
    // How it was drawn is not what it is.
    predictor.set_model(&Model::new(config.clone().with_seed(77).with_forget_bias(1.0)).unwrap()).unwrap();
    assert_ne!(predictor.run(&sequences).unwrap(), other);
    predictor.set_model(&first).unwrap();
    assert_eq!(predictor.run(&sequences).unwrap(), want);
    assert_eq!(*predictor.config(), config);
}

fn what_cannot_be_read_is_refused(device: &Device) {
    let config = configs()[0].clone();
    let mut predictor = Predictor::new(device, &model(&config)).unwrap();
    let good = sequences(&config, 5, &[5, 2]);
    let want = predictor.run(&good).unwrap();
    let data = |sequences: &Sequences| matches!(sequences.check(&config), Err(Error::Data(_)));
    let carry = predictor.run(&good.clone().with_start(Start::Carry)).unwrap_err();
    assert!(matches!(&carry, Error::Data(what) if what.contains("a predictor keeps none")), "{carry}");
    for lengths in [vec![0, 2], vec![6, 2]] {
        let bad = good.clone().with_lengths(lengths);
        assert!(data(&bad) && matches!(predictor.run(&bad), Err(Error::Data(_))));
    }
    let narrow = State::new(&Config::elman(InputKind::Dense(3), 3, 1), 2, vec![0.0; 6]).unwrap();
    assert!(data(&good.clone().with_start(Start::Given(narrow))));
    let one = State::new(&config, 1, vec![0.0; config.state_len(1)]).unwrap();
    for bad in [good.clone().with_lengths(vec![5]), good.clone().with_start(Start::Given(one)), {
        let mut longer = good.clone();
        longer.steps = 6;
        longer
    }] {
        assert!(matches!(predictor.run(&bad), Err(Error::Shape { .. })), "{bad:?}");
    }
    assert!(matches!(
        predictor.run(&Sequences::tokens(BatchShape { steps: 1, batch_size: 1 }, vec![0])),
        Err(Error::Data(_))
    ));
    assert!(matches!(
        predictor.run(&Sequences::dense(BatchShape { steps: 0, batch_size: 2 }, Vec::new())),
        Err(Error::Config(_))
    ));
    assert_eq!(predictor.run(&good).unwrap(), want, "what is refused leaves nothing behind");
}

whole::on_both!(
    padding_may_be_as_large_as_numbers_are,
    more_steps_than_a_chunk_are_as_many_single_ones,
    an_evaluation_over_more_steps_than_a_chunk_is_of_the_same_outputs,
    both_ways_a_sequence_is_read_as_by_itself,
    states_are_found_by_layer_and_direction,
    sequences_go_on_from_a_state_that_is_given,
    a_model_takes_the_place_of_another_of_its_configuration,
    what_cannot_be_read_is_refused,
);

/// Numbers so large that their product with W is not finite.
fn padding_may_be_as_large_as_numbers_are(device: &Device) {
    for config in configs().into_iter().filter(|config| matches!(config.input, InputKind::Dense(_))) {
        let config = config.with_directions(Directions::Bidirectional);
        let model = model(&config);
        let batch = whole::batch(&mut rng(7), &config, Loss::MeanSquared, 5, 2).with_lengths(vec![5, 3]);
        let mut large = batch.clone();
        let Inputs::Dense(x) = &mut large.sequences.inputs else { unreachable!() };
        let row = x.len() / 10;
        x.chunks_exact_mut(row).skip(7).step_by(2).for_each(|padding| padding.fill(f32::MAX));
        let run = |batch: &Batch| {
            let prediction = Predictor::new(device, &model).unwrap().run(&batch.sequences).unwrap();
            let recipe = Recipe::new(Loss::MeanSquared).with_dropout(Dropout::variational(0.2, 0.2));
            let mut trainer = Trainer::new(device, &model, recipe).unwrap();
            trainer.step(batch).unwrap();
            (prediction, trainer.metrics().unwrap())
        };
        assert_eq!(run(&batch), run(&large));
    }
}
