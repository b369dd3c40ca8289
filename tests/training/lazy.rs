//! Tables of which a step updates the rows that occur: these as if there were no others, all others not at all.
//!
//! That their gradient is right is the oracle's to say, and the kernels' that they do what their twins do.

use recurrent::{
    Batch, BatchShape, Checkpoint, Clip, Config, Device, EmbeddingUpdate, InputKind, Inputs, Layer, Loss, Model,
    Optimizer, Recipe, Recurrent, Sequences, Targets, Trainer,
};

use crate::common::whole::{self, assert_close, bytes, refuses, rng};

/// The same sums in another order.
const OTHER_ORDER: f32 = 1e-5;
/// Rows of the tables of [`words`], the embedding's and the column's.
const ROWS: [usize; 2] = [50, 40];
/// Those of them that [`window`] says.
const OCCURRING: [[u32; 3]; 2] = [[3, 7, 21], [0, 11, 39]];

/// Words and their kinds; 21 fills up.
fn words(rows: [usize; 2], padding: Option<usize>) -> Config {
    let mut config = Config::new(InputKind::Tokens(rows[0])).token_column("kind", rows[1], 3).embedding(5);
    if let Some(Layer::Embedding(embedding)) = config.layers.first_mut() {
        embedding.padding = padding;
    }
    config.layer(Recurrent::gru(9)).outputs(3)
}

fn lazy(optimizer: Optimizer) -> Recipe {
    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(0.05)).with_optimizer(optimizer, 0.02);
    recipe.with_embedding_update(EmbeddingUpdate::Lazy)
}

fn optimizers() -> [Optimizer; 9] {
    [
        Optimizer::sgd(0.0),
        Optimizer::sgd(0.9),
        Optimizer::rms_prop(),
        Optimizer::adam_w(0.1),
        Optimizer::nesterov(0.9),
        Optimizer::Adagrad { epsilon: 1e-3 },
        Optimizer::ams_grad(0.1),
        Optimizer::r_adam(0.1),
        Optimizer::lion(0.1),
    ]
}

/// A window of three words and kinds, each of which occurs, by these ids.
fn window(seed: u64, ids: [[u32; 3]; 2]) -> Batch {
    let shape = BatchShape { steps: 5, batch_size: 3 };
    let mut random = rng(seed);
    let mut tokens = |ids: [u32; 3]| -> Vec<u32> {
        let others = whole::ids(&mut random, 12, 3);
        [0, 1, 2].into_iter().chain(others).map(|at: u32| ids[at as usize]).collect()
    };
    let sequences = Sequences::tokens(shape, tokens(ids[0])).with_column("kind", Inputs::Tokens(tokens(ids[1])));
    Batch::new(sequences, whole::ids(&mut random, 15, 3).into())
}

fn trainer(device: &Device, config: &Config, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap()
}

/// Parameters and moments, and where the rows of both tables lie in them.
fn flat(trainer: &mut Trainer) -> (Vec<Vec<f32>>, [std::ops::Range<usize>; 2]) {
    let checkpoint = trainer.checkpoint().unwrap();
    let tables = ["embedding.weight", "column.kind.weight"];
    let tables = tables.map(|name| checkpoint.model.layout().get(name).unwrap().range());
    let mut all = vec![checkpoint.model.values().to_vec()];
    all.extend(checkpoint.training.unwrap().moments);
    (all, tables)
}

whole::on_both!(
    what_does_not_occur_stays_bit_for_bit,
    what_occurs_is_trained_as_if_there_were_no_others,
    without_momentum_it_is_exact,
    windows_of_a_step_are_one,
    a_training_goes_on_bit_for_bit,
    a_trace_has_a_gradient_of_what_occurs_alone,
    a_frozen_table_stays,
);

fn what_does_not_occur_stays_bit_for_bit(device: &Device) {
    for optimizer in optimizers() {
        let mut trainer = trainer(device, &words(ROWS, Some(21)), lazy(optimizer));
        // So that there are moments that could decay.
        let [all, other] = [window(1, [[3, 7, 8], [0, 11, 12]]), window(2, OCCURRING)];
        // Behind the end of a sequence nothing occurs.
        let Inputs::Tokens(tokens) = &other.sequences.inputs else { panic!("tokens") };
        let mut tokens = tokens.clone();
        (tokens[12], tokens[13]) = (8, 8);
        let columns = other.sequences.columns[0].inputs.clone();
        let shape = BatchShape { steps: 5, batch_size: 3 };
        let sequences = Sequences::tokens(shape, tokens).with_column("kind", columns).with_lengths(vec![4, 4, 5]);
        let other = Batch::new(sequences, other.targets);
        trainer.step(&all).unwrap();
        let (before, tables) = flat(&mut trainer);
        trainer.step(&other).unwrap();
        let (after, _) = flat(&mut trainer);
        for (part, (before, after)) in before.iter().zip(&after).enumerate() {
            for ((table, width), occurring) in tables.iter().zip([5, 3]).zip([vec![3, 7], OCCURRING[1].to_vec()]) {
                let rows = before[table.clone()].chunks(width).zip(after[table.clone()].chunks(width));
                for (id, (before, after)) in (0..).zip(rows) {
                    let what = format!("{optimizer:?}: row {id} of part {part}");
                    assert_eq!(before != after, occurring.contains(&id), "{what}: {before:?} and {after:?}");
                }
            }
        }
    }
}

fn what_occurs_is_trained_as_if_there_were_no_others(device: &Device) {
    let small = words([3, 3], Some(2));
    for optimizer in optimizers() {
        let mut large = trainer(device, &words(ROWS, Some(21)), lazy(optimizer));
        let model = large.model().unwrap();
        // The same network of the rows that occur.
        let mut of_those = Model::new(small.clone()).unwrap();
        for (name, _, values) in model.tensors() {
            let rows = match name {
                "embedding.weight" => Some((OCCURRING[0], 5)),
                "column.kind.weight" => Some((OCCURRING[1], 3)),
                _ => None,
            };
            let chosen = rows.map(|(ids, width)| ids.map(|id| &values[id as usize * width..][..width]).concat());
            of_those.set_parameter(name, &chosen.unwrap_or(values.to_vec())).unwrap();
        }
        let recipe = lazy(optimizer).with_embedding_update(EmbeddingUpdate::Exact);
        let mut alone = Trainer::new(device, &of_those, recipe).unwrap();
        for seed in 0..4 {
            large.step(&window(seed, OCCURRING)).unwrap();
            alone.step(&window(seed, [[0, 1, 2]; 2])).unwrap();
        }
        let [got, want] = [&mut large, &mut alone].map(|trainer| trainer.metrics().unwrap());
        for (got, want) in got.iter().zip(&want) {
            let [got, want] = [got, want].map(|metrics| [metrics.loss as f32, metrics.grad_norm as f32]);
            assert_close("loss and norm", &got, &want, OTHER_ORDER);
        }
        let [got, want] = [&mut large, &mut alone].map(|trainer| trainer.model().unwrap());
        for (name, _, want) in want.tensors() {
            let got = got.parameter(name).unwrap();
            let rows = |ids: [u32; 3], width| ids.map(|id| &got[id as usize * width..][..width]).concat();
            let got = match name {
                "embedding.weight" => rows(OCCURRING[0], 5),
                "column.kind.weight" => rows(OCCURRING[1], 3),
                _ => got.to_vec(),
            };
            assert_close(&format!("{name} by {optimizer:?}"), &got, want, OTHER_ORDER);
        }
    }
}

fn without_momentum_it_is_exact(device: &Device) {
    let recipe = lazy(Optimizer::sgd(0.0)).with_clip(Clip::None);
    let exact = recipe.clone().with_embedding_update(EmbeddingUpdate::Exact);
    let mut both = [recipe, exact].map(|recipe| trainer(device, &words(ROWS, Some(21)), recipe));
    for seed in 0..4 {
        both.iter_mut().for_each(|trainer| trainer.step(&window(seed, OCCURRING)).unwrap());
    }
    let [got, want] = both.each_mut().map(|trainer| trainer.model().unwrap());
    assert_close("parameters", got.values(), want.values(), OTHER_ORDER);
}

/// The sequences of several batches of the same number of steps as one.
fn side_by_side(parts: &[Batch]) -> Batch {
    let steps = parts[0].sequences.steps;
    let size = parts.iter().map(|part| part.sequences.batch_size).sum();
    let join = |of: fn(&Batch) -> &Inputs| -> Vec<u32> {
        let row = |t: usize, part: &Batch| {
            let Inputs::Tokens(tokens) = of(part) else { panic!("tokens") };
            tokens[t * part.sequences.batch_size..][..part.sequences.batch_size].to_vec()
        };
        (0..steps).flat_map(|t| parts.iter().flat_map(move |part| row(t, part))).collect()
    };
    let targets: Vec<u32> = (0..steps)
        .flat_map(|t| {
            parts.iter().flat_map(move |part| {
                let Targets::Classes(classes) = &part.targets else { panic!("classes") };
                classes[t * part.sequences.batch_size..][..part.sequences.batch_size].to_vec()
            })
        })
        .collect();
    let sequences = Sequences::tokens(BatchShape { steps, batch_size: size }, join(|part| &part.sequences.inputs));
    let kinds = Inputs::Tokens(join(|part| &part.sequences.columns[0].inputs));
    Batch::new(sequences.with_column("kind", kinds), targets.into())
}

fn windows_of_a_step_are_one(device: &Device) {
    let config = words(ROWS, None);
    let mut random = rng(3);
    // Of other sizes, each of which says something that the others do not.
    let parts = [1, 2, 2].map(|size| whole::batch(&mut random, &config, Loss::CrossEntropy, 6, size));
    let all = side_by_side(&parts);
    for optimizer in optimizers() {
        let mut both = [(); 2].map(|()| trainer(device, &config, lazy(optimizer)));
        for _ in 0..3 {
            both[0].step(&all).unwrap();
            both[1].step_accumulated(&parts).unwrap();
        }
        let ((got, _), (want, _)) = (flat(&mut both[1]), flat(&mut both[0]));
        for (got, want) in got.iter().zip(&want) {
            assert_close("parameters and moments", got, want, OTHER_ORDER);
        }
    }
}

fn a_training_goes_on_bit_for_bit(device: &Device) {
    let mut first = trainer(device, &words(ROWS, None), lazy(Optimizer::adam()));
    first.step(&window(1, OCCURRING)).unwrap();
    let checkpoint = first.checkpoint().unwrap().to_bytes().unwrap();
    let mut resumed = Trainer::resume(device, &Checkpoint::from_bytes(&checkpoint).unwrap()).unwrap();
    assert_eq!(resumed.recipe().embedding_update, EmbeddingUpdate::Lazy);
    for trainer in [&mut first, &mut resumed] {
        trainer.step(&window(2, [[1, 2, 3]; 2])).unwrap();
        trainer.step_accumulated(&[window(3, OCCURRING), window(4, [[5, 6, 7]; 2])]).unwrap();
    }
    assert!(bytes(&mut first) == bytes(&mut resumed));
}

fn a_trace_has_a_gradient_of_what_occurs_alone(device: &Device) {
    let of = |update| {
        let recipe = lazy(Optimizer::adam()).with_embedding_update(update).with_trace();
        let mut trainer = trainer(device, &words(ROWS, Some(21)), recipe);
        trainer.step(&window(1, OCCURRING)).unwrap();
        trainer.trace().unwrap()
    };
    let [got, want] = [EmbeddingUpdate::Lazy, EmbeddingUpdate::Exact].map(of);
    assert_eq!(got.parameters.len(), want.parameters.len());
    for (got, want) in got.parameters.iter().zip(&want.parameters) {
        assert_eq!((&got.name, got.gradient.zeros), (&want.name, want.gradient.zeros));
        assert_close(&got.name, &[got.gradient.norm as f32], &[want.gradient.norm as f32], OTHER_ORDER);
    }
    let table = got.parameters.iter().find(|parameter| parameter.name == "embedding.weight").unwrap();
    assert_eq!(table.gradient.zeros, (ROWS[0] - 2) * 5);
}

fn a_frozen_table_stays(device: &Device) {
    let mut trainer = trainer(device, &words(ROWS, None), lazy(Optimizer::adam_w(0.1)));
    trainer.freeze(&["embedding.weight"]).unwrap();
    let (before, tables) = flat(&mut trainer);
    trainer.step(&window(1, OCCURRING)).unwrap();
    let (after, _) = flat(&mut trainer);
    let same = |table: &std::ops::Range<usize>| before[0][table.clone()] == after[0][table.clone()];
    assert_eq!(tables.each_ref().map(same), [true, false]);
}

#[test]
fn where_all_rows_have_a_gradient_or_there_are_none_it_is_refused() {
    let tied = Config::new(InputKind::Tokens(7)).embedding(4).layer(Recurrent::lstm(4)).outputs(7).tied();
    let expected = ["EmbeddingUpdate::Lazy", "expected EmbeddingUpdate::Exact"];
    let new = |config: Config| {
        Trainer::new(&Device::cpu(), &Model::new(config).unwrap(), lazy(Optimizer::adam())).and_then(|mut trainer| {
            trainer.prepare(BatchShape { steps: 2, batch_size: 1 })?;
            Ok(())
        })
    };
    refuses(new(tied), &[expected[0], "the read-out is tied to it", expected[1]]);
    for config in [Config::lstm(InputKind::Dense(3), 4, 2), Config::lstm(InputKind::Tokens(3), 4, 2)] {
        refuses(new(config), &[expected[0], "neither an embedding nor a column of tokens", expected[1]]);
    }
}
