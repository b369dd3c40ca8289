//! What is read beside the inputs: that it is learned from, goes through loaders and files, and what is refused.
//!
//! That its gradient is right is the oracle's to say; here is what a user does with it.

use recurrent::data::{Buckets, Example};
use recurrent::{
    Activation, Batch, BatchShape, Checkpoint, Config, Device, Dropout, Error, InputColumn, InputKind, Inputs, Loss,
    Model, Pool, Predictor, Recipe, Recurrent, Sequences, StreamingPredictor, Trainer,
};

use crate::common::whole::{self, assert_close, bytes, refuses, rng};

/// The same sums in f32 by kernels for other numbers of rows.
const OTHER_ROWS: f32 = 1e-5;

/// Words, and beside each a kind and two numbers.
fn words() -> Config {
    Config::new(InputKind::Tokens(6))
        .token_column("kind", 4, 3)
        .dense_column("shape", 2)
        .embedding(5)
        .layer(Recurrent::gru(9))
        .outputs(3)
}

/// Numbers, and a key beside them.
fn numbers() -> Config {
    Config::new(InputKind::Dense(2)).token_column("key", 4, 3).layer(Recurrent::lstm(8)).outputs(2)
}

whole::on_both!(
    what_a_column_alone_says_is_learned,
    a_training_goes_on_bit_for_bit,
    a_stream_says_what_a_predictor_says,
    padding_says_nothing,
);

fn what_a_column_alone_says_is_learned(device: &Device) {
    for config in [words(), numbers()] {
        let shape = BatchShape { steps: 6, batch_size: 4 };
        let mut window = whole::batch(&mut rng(1), &config, Loss::CrossEntropy, shape.steps, shape.batch_size);
        let Inputs::Tokens(column) = &window.sequences.columns[0].inputs else { panic!("tokens") };
        // The inputs do not tell it.
        window.targets = column.iter().map(|id| id % config.outputs as u32).collect::<Vec<_>>().into();
        let recipe = Recipe::new(Loss::CrossEntropy).with_learning_rate(0.05);
        let mut trainer = Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap();
        for _ in 0..60 {
            trainer.step(&window).unwrap();
        }
        trainer.metrics().unwrap();
        // Nor do they at another place.
        let mut other = whole::batch(&mut rng(2), &config, Loss::CrossEntropy, shape.steps, shape.batch_size);
        let Inputs::Tokens(column) = &other.sequences.columns[0].inputs else { panic!("tokens") };
        other.targets = column.iter().map(|id| id % config.outputs as u32).collect::<Vec<_>>().into();
        let loss = trainer.evaluate([&other]).unwrap();
        assert!(loss < 0.3, "{loss} of {config:?}");
    }
}

fn a_training_goes_on_bit_for_bit(device: &Device) {
    for config in [words(), numbers()] {
        let window = whole::batch(&mut rng(3), &config, Loss::CrossEntropy, 5, 3);
        let recipe = Recipe::new(Loss::CrossEntropy).with_dropout(Dropout::variational(0.3, 0.0));
        let mut trainer = Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap();
        trainer.step(&window).unwrap();
        let checkpoint = trainer.checkpoint().unwrap();
        let mut resumed =
            Trainer::resume(device, &Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap()).unwrap();
        for trainer in [&mut trainer, &mut resumed] {
            trainer.step_accumulated(&[window.clone(), window.clone()]).unwrap();
        }
        assert!(bytes(&mut trainer) == bytes(&mut resumed));
    }
}

fn a_stream_says_what_a_predictor_says(device: &Device) {
    for config in [words(), numbers()] {
        let model = Model::new(config.clone()).unwrap();
        let sequences = whole::batch(&mut rng(4), &config, Loss::CrossEntropy, 140, 2).sequences;
        let want = Predictor::new(device, &model).unwrap().run(&sequences).unwrap();
        let mut stream = StreamingPredictor::new(device, &model, 2).unwrap();
        let mut said = Vec::new();
        for steps in [0..1, 1..2, 2..132, 132..140] {
            let cut = |inputs: &Inputs| match inputs {
                Inputs::Tokens(ids) => Inputs::Tokens(ids[steps.start * 2..steps.end * 2].to_vec()),
                Inputs::Dense(x) => {
                    let row = x.len() / 140;
                    Inputs::Dense(x[steps.start * row..steps.end * row].to_vec())
                }
                _ => panic!("another kind"),
            };
            let columns: Vec<InputColumn> =
                sequences.columns.iter().map(|column| InputColumn::new(&column.name, cut(&column.inputs))).collect();
            let inputs = cut(&sequences.inputs);
            said.extend_from_slice(stream.sequence_with_columns(steps.len(), &inputs, &columns).unwrap());
        }
        assert_close("outputs", &said, &want.outputs, OTHER_ROWS);
        let error = match &sequences.inputs {
            Inputs::Tokens(ids) => stream.step_tokens(&ids[..2]).map(drop),
            Inputs::Dense(x) => stream.step(&x[..4]).map(drop),
            _ => panic!("another kind"),
        };
        let name = &config.columns[0].name;
        assert!(matches!(error, Err(Error::Data(what)) if what.contains(&format!("a column `{name}`"))));
    }
}

fn padding_says_nothing(device: &Device) {
    let config = words().layer(Recurrent::gru(4).bidirectional()).pool(Pool::Max);
    let model = Model::new(config.clone()).unwrap();
    let examples: Vec<Example> = [3, 1, 5]
        .into_iter()
        .map(|steps| {
            let drawn = whole::batch(&mut rng(steps as u64), &config, Loss::CrossEntropy, steps, 1);
            let example = Example::new(drawn.sequences.inputs, drawn.targets);
            let columns = drawn.sequences.columns.into_iter();
            columns.fold(example, |example, column| example.with_column(column.name, column.inputs))
        })
        .collect();
    let mut predictor = Predictor::new(device, &model).unwrap();
    let together = Batch::pad(&examples, &config).unwrap();
    let inputs = Sequences::pad(examples.iter().map(|example| &example.inputs), &config).unwrap();
    let padded = examples[0].columns.iter().enumerate().fold(inputs, |inputs, (at, column)| {
        inputs.pad_column(&column.name, examples.iter().map(|example| &example.columns[at].inputs), &config).unwrap()
    });
    assert_eq!(padded, together.sequences);
    let all = predictor.run(&together.sequences).unwrap().outputs;
    // Whatever lies behind the end.
    let mut nonsense = together.sequences.clone();
    let lengths = nonsense.lengths.clone().unwrap();
    for column in &mut nonsense.columns {
        match &mut column.inputs {
            Inputs::Tokens(ids) => {
                let behind = ids.iter_mut().enumerate().filter(|(at, _)| at / 3 >= lengths[at % 3]);
                behind.for_each(|(_, id)| *id = 3);
            }
            Inputs::Dense(x) => {
                let behind = x.iter_mut().enumerate().filter(|(at, _)| at / 2 / 3 >= lengths[at / 2 % 3]);
                behind.for_each(|(_, x)| *x = 1e30);
            }
            _ => panic!("another kind"),
        }
    }
    assert_eq!(predictor.run(&nonsense).unwrap().outputs, all);
    for (b, example) in examples.iter().enumerate() {
        let alone = predictor.run(&Batch::pad([example], &config).unwrap().sequences).unwrap().outputs;
        assert_close("a sequence alone", &alone, &all[b * 3..][..3], OTHER_ROWS);
    }
    let buckets = Buckets::new(examples, 2, &config, 0).unwrap();
    for batch in buckets.epoch(0) {
        batch.check(&config, &Recipe::new(Loss::CrossEntropy)).unwrap();
    }
}

#[test]
fn columns_that_cannot_be_are_refused() {
    let config = || Config::new(InputKind::Tokens(3));
    let made = |config: Config| Model::new(config.outputs(2));
    let gru = || Recurrent::gru(3);
    refuses(made(config().dense_column("x", 2).layer(gru())), &["column `x`", "beside tokens that no embedding reads"]);
    refuses(
        made(config().dense_column("x", 2).dense(3, Activation::Tanh).layer(gru())),
        &["column `x`", "expected an embedding as layer 0, or dense inputs"],
    );
    let embedded = || config().embedding(2).layer(gru());
    refuses(made(embedded().dense_column("x", 2).token_column("x", 2, 3)), &["two columns are called `x`"]);
    refuses(made(embedded().dense_column("x", 0)), &["inputs of column `x`", "is 0"]);
    refuses(made(embedded().token_column("x", 0, 2)), &["inputs of column `x`", "is 0"]);
    refuses(made(embedded().token_column("x", 2, 0)), &["numbers of column `x`", "is 0"]);
    for name in ["", "a.b", "a b", "a\tb"] {
        refuses(made(embedded().dense_column(name, 2)), &["a column is called", &format!("{name:?}")]);
    }
    let mut without = embedded().token_column("x", 2, 2);
    without.columns[0].embedding = None;
    refuses(made(without), &["column `x` reads tokens, but has no table"]);
    let mut padded = embedded().token_column("x", 2, 2);
    padded.columns[0].embedding = padded.columns[0].embedding.map(|embedding| embedding.with_padding(2));
    refuses(made(padded), &["column `x` has padding id 2, but 2 tokens"]);
    let mut with = embedded().dense_column("x", 2);
    with.columns[0].embedding = Some(recurrent::Embedding::new(2));
    refuses(made(with), &["column `x` has a table, but reads numbers"]);
    // A table of the read-out's size, but rows of another.
    let tied = Config::new(InputKind::Tokens(3)).embedding(2).dense_column("x", 1);
    refuses(made(tied.layer(gru()).dense(3, Activation::Tanh).tied()), &["tied"]);
}

#[test]
fn inputs_that_are_not_the_columns_are_refused() {
    let config = words();
    let whole = whole::batch(&mut rng(5), &config, Loss::CrossEntropy, 2, 3).sequences;
    let with = |change: &dyn Fn(&mut Sequences)| {
        let mut sequences = whole.clone();
        change(&mut sequences);
        sequences
    };
    let mut predictor = Predictor::new(&Device::cpu(), &Model::new(config.clone()).unwrap()).unwrap();
    for (sequences, words) in [
        (with(&|given| given.columns.truncate(1)), ["column `shape`", "the sequences have not"]),
        (with(&|given| given.columns.push(given.columns[0].clone())), ["column `kind` twice", "once"]),
        (with(&|given| given.columns[0].name = "other".to_owned()), ["`other`", "\"kind\", \"shape\""]),
        (
            with(&|given| given.columns[0].inputs = Inputs::Dense(vec![0.0; 6])),
            ["column `kind` reads tokens", "numbers"],
        ),
        (
            with(&|given| given.columns[1].inputs = Inputs::Tokens(vec![0; 6])),
            ["column `shape` reads numbers", "tokens"],
        ),
        (with(&|given| given.columns[0].inputs = Inputs::Tokens(vec![0; 5])), ["inputs of column `kind`", "[2, 3]"]),
        (with(&|given| given.columns[1].inputs = Inputs::Dense(vec![0.0; 6])), ["column `shape`", "[2, 3, 2]"]),
        (with(&|given| given.columns[0].inputs = Inputs::Tokens(vec![4; 6])), ["column `kind`[0] (step 0", "id 4"]),
        (
            with(&|given| given.columns[1].inputs = Inputs::Dense(vec![f32::INFINITY; 12])),
            ["column `shape`[0]", "finite"],
        ),
    ] {
        refuses(sequences.check(&config), &words);
        refuses(predictor.run(&sequences), &words);
    }
    assert!(predictor.run(&whole).is_ok());
    let example = Example::tokens(vec![1, 2], vec![0, 1]).with_column("kind", Inputs::Tokens(vec![1, 2]));
    refuses(Batch::pad([&example], &config), &["column `shape`", "examples[0] has not"]);
    let short = example.clone().with_column("shape", Inputs::Dense(vec![0.0; 2]));
    refuses(Batch::pad([&short], &config), &["examples[0]", "column `shape`", "[2, 1, 2]"]);
    let tokens = [vec![0, 1, 2], vec![3]].map(Inputs::Tokens);
    let kinds = |kinds: &[Vec<u32>], name: &str| {
        let kinds: Vec<Inputs> = kinds.iter().cloned().map(Inputs::Tokens).collect();
        Sequences::pad(&tokens, &config).unwrap().pad_column(name, &kinds, &config)
    };
    assert!(kinds(&[vec![0; 3], vec![0]], "kind").is_ok());
    refuses(kinds(&[vec![0; 3], vec![0]], "sort"), &["no column `sort`", "[\"kind\", \"shape\"]"]);
    refuses(kinds(&[vec![0; 3]], "kind"), &["column `kind`", "[2]", "[1]"]);
    refuses(kinds(&[vec![0; 3], vec![0; 2]], "kind"), &["sequences[1]", "column `kind`", "[1, 1]"]);
    refuses(kinds(&[vec![0; 3], vec![4]], "kind"), &["sequences[1]", "column `kind`[0]", "id 4"]);
    refuses(kinds(&[vec![0; 3], vec![0]], "shape"), &["sequences[0]", "column `shape` reads numbers"]);
    let foreign = Sequences::dense(BatchShape { steps: 1, batch_size: 1 }, vec![0.0]);
    let foreign = foreign.with_column("x", Inputs::Tokens(vec![0]));
    refuses(foreign.check(&Config::gru(InputKind::Dense(1), 2, 1)), &["a column `x`", "columns are []"]);
}
