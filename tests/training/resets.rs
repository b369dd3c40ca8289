//! Sequences that begin anew within a window: as if they had been cut there.
//!
//! The contract: what a network makes of a window with resets, forwards and backwards, is what it makes of the pieces
//! as sequences of their own, side by side and padded.

use recurrent::recipe::GradientCheckpointing;
use recurrent::{
    Activation, Batch, BatchShape, Cell, Clip, Config, Device, Directions, HeadTargets, InputColumn, InputKind, Inputs,
    Layer, Loss, Model, Optimizer, Pool, Predictor, Recipe, Reset, Sequences, Start, State, StreamingPredictor,
    Targets, Trainer,
};

use crate::bad_input::words;
use crate::common::heads::with_head_losses;
use crate::common::lists::mixed;
use crate::common::random::Random;
use crate::common::whole::{self, assert_close, assert_same, rng};

/// The same sums in f32 by kernels for other numbers of rows, and in another order.
const OTHER_ROWS: f32 = 2e-5;

const CELLS: [Cell; 6] = [
    Cell::Elman(Activation::Tanh),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::Cifg,
    Cell::PeepholeLstm,
];

const SHAPE: BatchShape = BatchShape { steps: 9, batch_size: 4 };
const LENGTHS: [usize; 4] = [9, 7, 9, 4];
/// One before the first step, one before the last, two of a sequence, two in a row, none of the third.
const RESETS: [(usize, usize); 7] = [(0, 1), (3, 0), (3, 3), (4, 1), (5, 1), (6, 0), (8, 0)];

/// Which step of which sequence each piece begins at, and how long it is.
fn pieces() -> Vec<(usize, usize, usize)> {
    let mut all = Vec::new();
    for (b, length) in LENGTHS.into_iter().enumerate() {
        let mut borders: Vec<usize> = RESETS.iter().filter(|reset| reset.1 == b).map(|reset| reset.0).collect();
        borders.extend([0, length]);
        borders.sort_unstable();
        borders.dedup();
        all.extend(borders.windows(2).map(|pair| (b, pair[0], pair[1] - pair[0])));
    }
    all
}

/// `[T, B, ·]` as pieces side by side, what is behind them being the first value.
fn cut<V: Copy>(values: &[V], rows: usize) -> Vec<V> {
    let width = values.len() / (SHAPE.steps * SHAPE.batch_size);
    let steps = pieces().iter().map(|piece| piece.2).max().unwrap();
    assert_eq!(rows, SHAPE.steps * SHAPE.batch_size);
    let of = |t: usize, (b, first, length): (usize, usize, usize)| {
        let row = if t < length { (first + t) * SHAPE.batch_size + b } else { 0 };
        values[row * width..(row + 1) * width].to_vec()
    };
    (0..steps).flat_map(|t| pieces().into_iter().flat_map(move |piece| of(t, piece))).collect()
}

fn cut_inputs(inputs: &Inputs) -> Inputs {
    let rows = SHAPE.steps * SHAPE.batch_size;
    match inputs {
        Inputs::Tokens(ids) => Inputs::Tokens(cut(ids, rows)),
        Inputs::Dense(x) => Inputs::Dense(cut(x, rows)),
        _ => panic!("another kind"),
    }
}

fn cut_targets(targets: &Targets) -> Targets {
    let rows = SHAPE.steps * SHAPE.batch_size;
    match targets {
        Targets::Classes(ids) => Targets::Classes(cut(ids, rows)),
        Targets::Values(y) => Targets::Values(cut(y, rows)),
        _ => panic!("another kind"),
    }
}

/// The window with resets, and its pieces, each from the state that the sequence has there.
fn both(config: &Config, model: &Model, start: Option<&State>) -> [Batch; 2] {
    let whole = whole::batch(&mut rng(71), config, Loss::CrossEntropy, SHAPE.steps, SHAPE.batch_size);
    let whole = whole.with_lengths(LENGTHS.to_vec()).with_resets(RESETS);
    let lengths: Vec<usize> = pieces().iter().map(|piece| piece.2).collect();
    let shape = BatchShape { steps: *lengths.iter().max().unwrap(), batch_size: lengths.len() };
    let sequences = Sequences::new(shape, cut_inputs(&whole.sequences.inputs)).with_lengths(lengths);
    let sequences =
        whole.sequences.columns.iter().fold(sequences, |sequences, InputColumn { name, inputs, .. }| {
            sequences.with_column(name, cut_inputs(inputs))
        });
    let mut cut = Batch::new(sequences, cut_targets(&whole.targets));
    for head in &whole.heads {
        cut = cut.with_head(HeadTargets::new(&head.name, cut_targets(&head.targets)));
    }
    let Some(start) = start else { return [whole, cut] };
    let fresh = model.initial_state(1).unwrap();
    let mut of_pieces = model.initial_state(shape.batch_size).unwrap();
    for (at, (b, first, _)) in pieces().into_iter().enumerate() {
        let goes_on = first == 0 && !RESETS.contains(&(0, b));
        let state = if goes_on { start.sequence(b).unwrap() } else { fresh.clone() };
        of_pieces.set_sequence(at, &state).unwrap();
    }
    [whole.with_start(Start::Given(start.clone())), cut.with_start(Start::Given(of_pieces))]
}

/// Layers of every cell and direction, joined, projected and residual, with and without a learned start.
fn configs() -> Vec<Config> {
    let mut all = Vec::new();
    for (number, cell) in CELLS.into_iter().enumerate() {
        let input = if number % 2 == 0 { InputKind::Tokens(5) } else { InputKind::Dense(4) };
        let plain = Config::of_cell(cell, input, 6, 3);
        all.push(plain.clone().with_learned_initial_state(true));
        all.push(plain.clone().with_layers(2).with_directions(Directions::Bidirectional));
        let reverse = plain.clone().with_directions(Directions::Reverse);
        all.push(reverse.with_learned_initial_state(number % 2 == 1));
        if matches!(cell, Cell::Lstm | Cell::Cifg) {
            all.push(
                plain.with_projection(4).with_directions(Directions::Bidirectional).with_learned_initial_state(true),
            );
        }
    }
    for seed in 0..4 {
        let config = Config::of_cell(Cell::Lstm, InputKind::Tokens(5), 6, 3).with_layers(3);
        let functions = [Activation::Gelu, Activation::Tanh];
        let config = mixed(config, &mut Random::new(30 + seed), &CELLS, &functions);
        // What is drawn would be drawn for other rows.
        all.push(config.with_zoneout(0.0, 0.0));
    }
    all
}

fn reads_forwards(config: &Config) -> bool {
    let is_forward = |layer: &Layer| !matches!(layer, Layer::Recurrent(spec) if spec.directions != Directions::Forward);
    config.layers.iter().all(is_forward)
}

fn recipe(config: &Config) -> Recipe {
    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    with_head_losses(recipe, config)
}

whole::on_both!(
    they_are_as_pieces_forwards,
    they_are_as_pieces_backwards,
    they_are_as_pieces_where_gradients_are_checkpointed,
    they_are_as_pieces_from_a_given_state,
    a_long_window_is_read_in_chunks_and_by_a_stream,
    windows_without_them_are_as_ever,
    a_loss_of_label_sequences_is_of_all_steps,
);

/// States begin anew, but the labels are those of the whole sequence.
fn a_loss_of_label_sequences_is_of_all_steps(device: &Device) {
    let config = Config::gru(InputKind::Dense(2), 5, 4);
    let model = Model::new(config.clone()).unwrap();
    let batch = whole::batch(&mut rng(75), &config, Loss::CrossEntropy, SHAPE.steps, SHAPE.batch_size);
    let labels = vec![vec![1, 2, 2], vec![3], vec![], vec![2, 1]];
    let batch = batch.with_targets(Targets::Sequences(labels)).with_lengths(LENGTHS.to_vec());
    let [mut own, mut cpu] = [device, &Device::cpu()]
        .map(|device| Trainer::new(device, &model, Recipe::new(Loss::ctc()).with_clip(Clip::None)).unwrap());
    let without = own.evaluate([&batch]).unwrap() as f32;
    let batch = batch.with_resets(RESETS);
    let [made, expected] = [&mut own, &mut cpu].map(|trainer| {
        let evaluated = trainer.evaluate([&batch]).unwrap() as f32;
        trainer.step(&batch).unwrap();
        let metrics = trainer.metrics().unwrap();
        [evaluated, metrics[0].loss as f32, metrics[0].grad_norm as f32]
    });
    assert_close("loss and norm", &made, &expected, OTHER_ROWS);
    assert!((made[0] - without).abs() > 1e-4, "{made:?} with resets, {without} without");
}

fn they_are_as_pieces_forwards(device: &Device) {
    for config in configs() {
        let model = Model::new(config.clone()).unwrap();
        let [whole, pieces] = both(&config, &model, None);
        let mut predictor = Predictor::new(device, &model).unwrap();
        let made = predictor.run(&whole.sequences).unwrap().outputs;
        let expected = predictor.run(&pieces.sequences).unwrap().outputs;
        compare_outputs(&config, &made, &expected);
    }
}

/// At every step that is valid.
fn compare_outputs(config: &Config, made: &[f32], of_pieces: &[f32]) {
    let (count, o) = (pieces().len(), config.outputs);
    for (at, (b, first, length)) in pieces().into_iter().enumerate() {
        for t in 0..length {
            let row = &made[((first + t) * SHAPE.batch_size + b) * o..][..o];
            let want = &of_pieces[(t * count + at) * o..][..o];
            assert_close(&format!("{config:?}, sequence {b}, step {}", first + t), row, want, OTHER_ROWS);
        }
    }
}

/// Loss, the gradient of every parameter, and the evaluation.
fn compare(device: &Device, config: &Config, recipe: &Recipe, start: Option<&State>) {
    let model = Model::new(config.clone()).unwrap();
    let batches = both(config, &model, start);
    let [made, expected] = batches.map(|batch| {
        let mut trainer = Trainer::new(device, &model, recipe.clone()).unwrap();
        let evaluated = trainer.evaluate([&batch]).unwrap();
        trainer.step(&batch).unwrap();
        let metrics = trainer.metrics().unwrap();
        assert!(metrics[0].updated, "{config:?}");
        let mut losses = vec![evaluated as f32, metrics[0].loss as f32];
        if start.is_none() {
            // Once more, from weights that have moved and among what is left of the first step.
            trainer.step(&batch).unwrap();
            losses.push(trainer.metrics().unwrap()[0].loss as f32);
        }
        (losses, trainer.gradients().unwrap())
    });
    assert_close(&format!("{config:?}: losses"), &made.0, &expected.0, OTHER_ROWS);
    for ((name, made), (_, expected)) in made.1.iter().zip(expected.1.iter()) {
        // What pieces are given says nothing of what is learned.
        if start.is_some() && name.ends_with("_0") {
            continue;
        }
        let what = format!("{config:?}: the gradient of {name}");
        // A gate's gradient may all be rounding.
        if expected.iter().any(|g| g.abs() > 1e-6) {
            assert_close(&what, made, expected, 10.0 * OTHER_ROWS);
        } else {
            assert!(made.iter().all(|g| g.abs() < 2e-6), "{what}: {made:?}");
        }
    }
}

fn they_are_as_pieces_backwards(device: &Device) {
    for config in configs() {
        compare(device, &config, &recipe(&config), None);
    }
}

fn they_are_as_pieces_where_gradients_are_checkpointed(device: &Device) {
    for config in configs().into_iter().filter(reads_forwards) {
        for every in [1, 3, 4] {
            let recipe = recipe(&config).with_gradient_checkpointing(GradientCheckpointing::Steps(every));
            compare(device, &config, &recipe, None);
        }
    }
}

fn they_are_as_pieces_from_a_given_state(device: &Device) {
    // A state of a direction from the last step to the first would be that of the last piece.
    for config in configs().into_iter().filter(reads_forwards) {
        let values = whole::reals(&mut rng(72), config.state_len(SHAPE.batch_size), 0.7);
        let start = State::new(&config, SHAPE.batch_size, values).unwrap();
        compare(device, &config, &recipe(&config), Some(&start));
        let model = Model::new(config.clone()).unwrap();
        let [whole, pieces] = both(&config, &model, Some(&start));
        let mut predictor = Predictor::new(device, &model).unwrap();
        let made = predictor.run(&whole.sequences).unwrap().outputs;
        let expected = predictor.run(&pieces.sequences).unwrap().outputs;
        compare_outputs(&config, &made, &expected);
    }
}

fn a_long_window_is_read_in_chunks_and_by_a_stream(device: &Device) {
    for cell in [Cell::Lstm, Cell::Gru(Reset::AfterProduct)] {
        let config = Config::of_cell(cell, InputKind::Dense(2), 5, 2).with_learned_initial_state(true);
        let model = Model::new(config.clone()).unwrap();
        let (steps, size) = (300, 2);
        let x = whole::reals(&mut rng(73), steps * size * 2, 1.0);
        // Before, at and behind the borders of chunks of any size up to that.
        let resets = [(0, 0), (63, 1), (64, 0), (127, 1), (128, 0), (128, 1), (256, 1), (299, 0)];
        let sequences = Sequences::dense(BatchShape { steps, batch_size: size }, x.clone()).with_resets(resets);
        let made = Predictor::new(device, &model).unwrap().run(&sequences).unwrap();
        let mut stream = StreamingPredictor::new(device, &model, size).unwrap();
        let mut expected = Vec::new();
        for (t, x) in x.chunks_exact(size * 2).enumerate() {
            for (_, b) in resets.iter().filter(|reset| reset.0 == t) {
                stream.reset_sequence(*b).unwrap();
            }
            expected.extend_from_slice(stream.step(x).unwrap());
        }
        assert_close(&format!("{cell:?}"), &made.outputs, &expected, OTHER_ROWS);
    }
}

/// A window without resets after one that had some has none of them left, and is read by the kernels that know none.
fn windows_without_them_are_as_ever(device: &Device) {
    let config = Config::lstm(InputKind::Dense(2), 5, 2).with_learned_initial_state(true);
    let model = Model::new(config.clone()).unwrap();
    let batch = whole::batch(&mut rng(74), &config, Loss::CrossEntropy, SHAPE.steps, SHAPE.batch_size);
    let mut first = Predictor::new(device, &model).unwrap();
    let expected = first.run(&batch.sequences).unwrap().outputs;
    let with_resets = batch.sequences.clone().with_resets(RESETS);
    let made = first.run(&with_resets).unwrap().outputs;
    assert_ne!(made, expected);
    assert_same("without", &first.run(&batch.sequences).unwrap().outputs, &expected);
    // Of two windows with resets at other places.
    let other = first.run(&batch.sequences.clone().with_resets([(1, 0)])).unwrap().outputs;
    assert_same("again", &first.run(&with_resets).unwrap().outputs, &made);
    assert_ne!(other, made);
}

#[test]
fn what_is_no_reset_is_refused() {
    let config = Config::gru(InputKind::Tokens(3), 4, 2);
    let batch = || Batch::tokens(BatchShape { steps: 3, batch_size: 2 }, vec![0; 6], vec![0; 6]);
    let mut trainer =
        Trainer::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), Recipe::new(Loss::CrossEntropy)).unwrap();
    let mut said = |batch: Batch| words(trainer.step(&batch));
    assert_eq!(
        said(batch().with_resets([(3, 0)])),
        "resets[0] is step 3 of sequence 0, expected a step before the 3 of that sequence"
    );
    assert_eq!(
        said(batch().with_lengths(vec![3, 1]).with_resets([(2, 0), (1, 1)])),
        "resets[0] is step 1 of sequence 1, expected a step before the 1 of that sequence"
    );
    assert_eq!(
        said(batch().with_resets([(0, 0), (1, 7)])),
        "resets[1] is step 1 of sequence 7, expected a sequence before the 2 of the batch"
    );
    let mut unsorted = batch();
    unsorted.sequences.resets = vec![(1, 0), (0, 1)];
    assert_eq!(said(unsorted), "resets[1] is (0, 1), expected one after (1, 0): Sequences::with_resets sorts them");
    // These are sorted, and said twice they are said once.
    assert_eq!(batch().with_resets([(1, 0), (0, 1), (1, 0)]).sequences.resets, [(0, 1), (1, 0)]);
    let pooled = config.pool(Pool::Last);
    let pooled = Model::new(pooled).unwrap();
    let mut trainer = Trainer::new(&Device::cpu(), &pooled, Recipe::new(Loss::CrossEntropy)).unwrap();
    let batch = batch().with_targets(Targets::Classes(vec![0; 2])).with_resets([(1, 0)]);
    assert_eq!(
        words(trainer.step(&batch)),
        "the sequences have resets, but the network pools each of them as a whole; expected none, and what begins \
         within a sequence as one of its own"
    );
    let front = Sequences::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![0, 1]).with_resets([(1, 0)]);
    assert!(words(front.with_front_padding(vec![1])).contains("have resets"));
}
