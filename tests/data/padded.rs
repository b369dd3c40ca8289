//! Sequences of unequal length: padded into one batch, and in buckets of similar length.

use proptest::prelude::*;
use recurrent::data::{Buckets, Example};
use recurrent::{Batch, BatchShape, Config, Error, InputKind, Inputs, Loss, Pool, Recipe, Sequences, Start, Targets};

/// 10 tokens, 10 classes at every step.
fn tokens() -> Config {
    Config::elman(InputKind::Tokens(10), 3, 10)
}

/// 2 features, 3 outputs at every step.
fn dense() -> Config {
    Config::elman(InputKind::Dense(2), 3, 3)
}

fn words<T>(result: recurrent::Result<T>) -> String {
    result.err().expect("this is a mistake, but it was accepted").to_string()
}

#[test]
fn tokens_are_padded_with_id_0_behind_their_end() {
    let examples = [Example::tokens(vec![1, 2, 3], vec![2, 3, 4]), Example::tokens(vec![7], vec![8])];
    let batch = Batch::pad(&examples, &tokens()).unwrap();
    let expected =
        Batch::tokens(BatchShape { steps: 3, batch_size: 2 }, vec![1, 7, 2, 0, 3, 0], vec![2, 8, 3, 0, 4, 0])
            .with_lengths(vec![3, 1]);
    assert_eq!(batch, expected);
    assert_eq!(batch.count(&tokens()), 4);
    let inputs = examples.each_ref().map(|example| &example.inputs);
    assert_eq!(Sequences::pad(inputs, &tokens()).unwrap(), expected.sequences);
}

#[test]
fn numbers_are_padded_with_zeros_row_by_row() {
    let one = Example::dense(vec![0.1, 0.2], Targets::Values(vec![0.3, 0.4, 0.5]));
    let two = Example::dense(vec![1.1, 1.2, 1.3, 1.4], Targets::Values(vec![2.1, 2.2, 2.3, 2.4, 2.5, 2.6]));
    let batch = Batch::pad([&one, &two], &dense()).unwrap();
    let inputs = vec![0.1, 0.2, 1.1, 1.2, 0.0, 0.0, 1.3, 1.4];
    let values = vec![0.3, 0.4, 0.5, 2.1, 2.2, 2.3, 0.0, 0.0, 0.0, 2.4, 2.5, 2.6];
    assert_eq!(
        batch,
        Batch::dense(BatchShape { steps: 2, batch_size: 2 }, inputs, Targets::Values(values)).with_lengths(vec![1, 2])
    );
}

#[test]
fn one_label_a_sequence_is_not_padded() {
    for read_out in [Some(Pool::Last), Some(Pool::Mean)] {
        let examples = [Example::tokens(vec![1, 2, 3], vec![4]), Example::tokens(vec![7], vec![8])];
        let config = tokens().with_pool(read_out);
        let batch = Batch::pad(&examples, &config).unwrap();
        assert_eq!(batch.targets, Targets::Classes(vec![4, 8]));
        assert_eq!(batch.count(&config), 2);
        let examples = [1, 3].map(|steps| Example::dense(vec![0.5; 2 * steps], Targets::Values(vec![steps as f32; 3])));
        let batch = Batch::pad(&examples, &dense().with_pool(read_out)).unwrap();
        assert_eq!(batch.targets, Targets::Values(vec![1.0, 1.0, 1.0, 3.0, 3.0, 3.0]));
    }
}

#[test]
fn sequences_of_one_length_have_no_padding() {
    let examples = [Example::tokens(vec![1, 2], vec![2, 3]), Example::tokens(vec![7, 8], vec![8, 9])];
    assert_eq!(
        Batch::pad(&examples, &tokens()).unwrap(),
        Batch::tokens(BatchShape { steps: 2, batch_size: 2 }, vec![1, 7, 2, 8], vec![2, 8, 3, 9])
    );
}

#[test]
fn what_cannot_be_padded_is_named() {
    let good = Example::tokens(vec![1, 2], vec![2, 3]);
    let refused = |bad: Example| {
        let said = words(Batch::pad([&good, &bad], &tokens()));
        assert_eq!(words(Buckets::new(vec![good.clone(), bad], 1, &tokens(), 0)), said);
        said
    };
    assert_eq!(refused(Example::tokens(vec![], vec![])), "examples[1].inputs is empty, expected at least 1 step");
    assert_eq!(refused(Example::tokens(vec![1, 2, 3], vec![1, 2])), "examples[1].targets has shape [2], expected [3]");
    assert_eq!(
        refused(Example::tokens(vec![1, 10], vec![0, 0])),
        "examples[1].inputs[1] is id 10, but the model has 10 tokens, counted from 0"
    );
    assert_eq!(
        refused(Example::tokens(vec![1, 2], vec![11, 0])),
        "examples[1].targets[0] is id 11, but the model has 10 outputs, counted from 0"
    );
    assert_eq!(
        refused(Example::dense(vec![0.5], Targets::Classes(vec![0]))),
        "the network reads tokens, but examples[1].inputs has dense inputs"
    );
    let values = Example::new(good.inputs.clone(), Targets::Values(vec![0.0; 20]));
    assert_eq!(refused(values), "examples[1].targets are real numbers, expected classes, as those of examples[0] are");

    let refused = |x: Vec<f32>, y: Vec<f32>| words(Batch::pad([&Example::dense(x, Targets::Values(y))], &dense()));
    assert_eq!(
        refused(vec![0.0; 3], vec![0.0; 3]),
        "examples[0].inputs has 3 numbers, expected a multiple of the 2 features of a step"
    );
    let of_every_step = "(one for every step, as the network has no pool)";
    assert_eq!(
        refused(vec![0.0; 4], vec![0.0; 3]),
        format!("examples[0].targets {of_every_step} has shape [3], expected [2, 3]")
    );
    assert_eq!(refused(vec![0.0, f32::NAN], vec![0.0; 3]), "examples[0].inputs[1] is NaN, expected a finite number");
    assert_eq!(
        refused(vec![0.0; 2], vec![f32::INFINITY; 3]),
        "examples[0].targets[0] is inf, expected a finite number"
    );
    let last = dense().pool(Pool::Last);
    let every = Example::dense(vec![0.0; 4], Targets::Values(vec![0.0; 6]));
    let of_each = "(one for each sequence, as the network has a pool)";
    assert_eq!(
        words(Batch::pad([&every], &last)),
        format!("examples[0].targets {of_each} has shape [6], expected [1, 3]")
    );

    let reads = Inputs::Tokens(vec![1]);
    assert_eq!(
        words(Sequences::pad([&reads], &dense())),
        "the network reads dense inputs, but sequences[0] has tokens"
    );
}

#[test]
fn nothing_to_pad_and_configurations_of_nothing_are_refused() {
    let nothing = "there are no sequences to pad, expected at least 1";
    assert_eq!(words(Batch::pad([], &tokens())), nothing);
    assert_eq!(words(Sequences::pad([], &tokens())), nothing);
    assert_eq!(words(Buckets::new(vec![], 4, &tokens(), 0)), nothing);
    let one = vec![Example::tokens(vec![1], vec![2])];
    assert!(matches!(Buckets::new(one.clone(), 0, &tokens(), 0), Err(Error::Config(_))));
    assert!(matches!(Buckets::new(one, 1, &tokens(), 0).unwrap().with_buckets(0), Err(Error::Config(_))));
    let wide = Config::elman(InputKind::Dense(0), 1, 1);
    let example = Example::dense(vec![], Targets::Classes(vec![]));
    assert!(matches!(Batch::pad([&example], &wide), Err(Error::Config(_))));
}

#[test]
fn a_batch_beyond_what_indices_reach_is_refused_and_not_allocated() {
    // One long sequence makes all of them long: 2^16 x 2^15 + 1 positions.
    let mut inputs = vec![Inputs::Tokens(vec![1]); 1 << 16];
    inputs[7] = Inputs::Tokens(vec![1; (1 << 15) + 1]);
    let config = Config::elman(InputKind::Tokens(2), 1, 1);
    let error = Sequences::pad(&inputs, &config).unwrap_err();
    let positions = (1u64 << 16) * ((1 << 15) + 1);
    assert!(matches!(error, Error::Limit { asked, .. } if asked == positions), "{error}");
    // In buckets it is a batch of its size that counts.
    let examples: Vec<Example> =
        inputs.into_iter().map(|inputs| Example::new(inputs, Targets::Classes(vec![0]))).collect();
    let config = config.pool(Pool::Last);
    assert!(matches!(Buckets::new(examples.clone(), usize::MAX, &config, 0), Err(Error::Limit { .. })));
    assert_eq!(
        Buckets::new(examples, 32, &config, 0).unwrap().shapes(),
        shapes(&[(1, 31), (1, 32), ((1 << 15) + 1, 1)])
    );
}

/// Examples of these lengths, told apart by what they read: example n reads n, then its length at every further step.
fn examples(lengths: &[usize]) -> Vec<Example> {
    let example = |(n, &length): (usize, &usize)| {
        let inputs: Vec<u32> = (0..length).map(|t| if t == 0 { n } else { length } as u32).collect();
        let targets = inputs.iter().map(|id| id + 1).collect();
        Example::tokens(inputs, targets)
    };
    lengths.iter().enumerate().map(example).collect()
}

/// A network that reads [`examples`].
/// The shapes of T by B.
fn shapes(sizes: &[(usize, usize)]) -> Vec<BatchShape> {
    sizes.iter().map(|&(steps, batch_size)| BatchShape { steps, batch_size }).collect()
}

fn reader() -> Config {
    Config::elman(InputKind::Tokens(1000), 1, 1001)
}

/// The examples that a batch was made of.
fn apart(batch: &Batch) -> Vec<Example> {
    let Sequences { steps, batch_size: size, inputs: Inputs::Tokens(ids), lengths, start: Start::Initial, .. } =
        &batch.sequences
    else {
        panic!("other sequences")
    };
    let Targets::Classes(classes) = &batch.targets else { panic!("other targets") };
    let column = |of: &[u32], b: usize| {
        let column: Vec<u32> = of.chunks(*size).map(|row| row[b]).collect();
        let (valid, padding) = column.split_at(lengths.as_ref().map_or(*steps, |lengths| lengths[b]));
        assert!(padding.iter().all(|id| *id == 0), "padding is not zero");
        valid.to_vec()
    };
    (0..*size).map(|b| Example::tokens(column(ids, b), column(classes, b))).collect()
}

#[test]
fn outliers_have_a_bucket_to_themselves() {
    let mut lengths = vec![5; 90];
    lengths.extend([6; 9]);
    lengths.push(900);
    let buckets = Buckets::new(examples(&lengths), 32, &reader(), 0).unwrap().with_buckets(2).unwrap();
    assert_eq!(buckets.shapes(), shapes(&[(6, 24), (6, 25), (900, 1)]));
    assert_eq!(buckets.padding(), 90.0 / (99.0 * 6.0 + 900.0));
    let buckets = buckets.with_buckets(100).unwrap();
    assert_eq!(buckets.shapes(), shapes(&[(5, 30), (6, 9), (900, 1)]), "no more buckets than lengths");
    assert_eq!(buckets.padding(), 0.0);
}

#[test]
fn evenly_spread_lengths_pad_as_documented() {
    let lengths: Vec<usize> = (1..=840).collect();
    let mut buckets = Buckets::new(examples(&lengths), 32, &reader(), 0).unwrap();
    let documented = |buckets: &Buckets, count: f64| (buckets.padding() - 1.0 / (count + 1.0)).abs() < 0.002;
    assert!(documented(&buckets, 4.0), "{}", buckets.padding());
    for count in [1, 8] {
        buckets = buckets.with_buckets(count).unwrap();
        assert!(documented(&buckets, count as f64), "{count}: {}", buckets.padding());
    }
}

#[test]
fn epochs_and_seeds_shuffle_members_and_batches() {
    let lengths: Vec<usize> = (0..100).map(|n| 1 + n % 20).collect();
    let buckets = |seed| Buckets::new(examples(&lengths), 8, &reader(), seed).unwrap();
    let epoch = |seed, n| buckets(seed).epoch(n).collect::<Vec<Batch>>();
    let first = epoch(1, 0);
    assert_ne!(first, epoch(1, 1));
    assert_ne!(first, epoch(2, 0));
    let steps = |batches: &[Batch]| batches.iter().map(|batch| batch.sequences.steps).collect::<Vec<_>>();
    assert!(!steps(&first).is_sorted(), "batches come from the shortest to the longest");
    assert_ne!(steps(&first), steps(&epoch(1, 1)));
    let of_one = |batches: &[Batch]| {
        let mut members: Vec<Vec<Example>> = batches.iter().map(apart).collect();
        members.sort_by_key(|members| members.iter().map(|e| format!("{e:?}")).min());
        members
    };
    assert_ne!(of_one(&first), of_one(&epoch(1, 1)), "the same examples share a batch in every epoch");
}

/// The fewest positions that any choice of at most `count` padded lengths leaves, by trying all.
fn fewest(lengths: &[usize], count: usize) -> usize {
    let mut steps = lengths.to_vec();
    steps.sort_unstable();
    steps.dedup();
    let choices = (0..1u32 << (steps.len() - 1)).filter(|choice| choice.count_ones() < count as u32);
    let positions = choices.map(|choice| {
        let chosen = |k: &usize| k + 1 == steps.len() || choice >> k & 1 == 1;
        let padded = |length: usize| (0..steps.len()).filter(chosen).map(|k| steps[k]).find(|s| *s >= length);
        lengths.iter().map(|length| padded(*length).expect("the longest is chosen")).sum()
    });
    positions.min().expect("a choice")
}

proptest! {
    #[test]
    fn padding_can_be_undone(lengths in prop::collection::vec(1usize..20, 1..20)) {
        let examples = examples(&lengths);
        let batch = Batch::pad(&examples, &reader()).unwrap();
        batch.check(&reader(), &Recipe::new(Loss::CrossEntropy)).unwrap();
        prop_assert_eq!(batch.sequences.steps, *lengths.iter().max().unwrap());
        prop_assert_eq!(batch.count(&reader()), lengths.iter().sum::<usize>());
        prop_assert_eq!(batch.sequences.lengths.is_some(), lengths.iter().any(|length| *length != lengths[0]));
        prop_assert_eq!(apart(&batch), examples);
    }

    #[test]
    fn an_epoch_is_every_example_once(
        lengths in prop::collection::vec(1usize..60, 1..150),
        batch in 1usize..20,
        count in 1usize..10,
        (seed, epoch) in any::<(u64, u64)>(),
    ) {
        let examples = examples(&lengths);
        let buckets = Buckets::new(examples.clone(), batch, &reader(), seed).unwrap().with_buckets(count).unwrap();
        let announced = buckets.epoch(epoch).len();
        let batches: Vec<Batch> = buckets.epoch(epoch).collect();
        prop_assert_eq!(batches.len(), announced);
        prop_assert!(batches.len() < lengths.len().div_ceil(batch) + count, "more batches than needed");
        for batch in &batches {
            batch.check(&reader(), &Recipe::new(Loss::CrossEntropy)).unwrap();
        }
        let mut seen: Vec<Example> = batches.iter().flat_map(apart).collect();
        let first = |example: &Example| if let Inputs::Tokens(ids) = &example.inputs { ids[0] } else { u32::MAX };
        seen.sort_by_key(first);
        prop_assert_eq!(seen, examples.clone());

        let mut sizes: Vec<_> = batches.iter().map(|b| (b.sequences.steps, b.sequences.batch_size)).collect();
        let all: usize = sizes.iter().map(|(steps, size)| steps * size).sum();
        sizes.sort_unstable();
        sizes.dedup();
        prop_assert!(sizes.iter().all(|(_, size)| *size <= batch));
        let steps = sizes.chunk_by(|a, b| a.0 == b.0);
        prop_assert!(steps.clone().count() <= count && steps.clone().all(|sizes| sizes.len() <= 2));
        prop_assert!(steps.clone().all(|sizes| sizes[sizes.len() - 1].1 - sizes[0].1 <= 1));
        prop_assert_eq!(shapes(&sizes), buckets.shapes());

        let valid: usize = lengths.iter().sum();
        prop_assert!((buckets.padding() - (1.0 - valid as f64 / all as f64)).abs() < 1e-12);
        prop_assert!(all <= lengths.len() * lengths.iter().max().unwrap(), "more padding than in one batch");
        let again = Buckets::new(examples, batch, &reader(), seed).unwrap().with_buckets(count).unwrap();
        prop_assert!(again.epoch(epoch).eq(batches), "the same seed and epoch, other batches");
    }

    #[test]
    fn no_choice_of_lengths_pads_less(lengths in prop::collection::vec(1usize..12, 1..40), count in 1usize..7) {
        let buckets = Buckets::new(examples(&lengths), 7, &reader(), 0).unwrap().with_buckets(count).unwrap();
        let positions: usize = buckets.epoch(0).map(|batch| batch.sequences.steps * batch.sequences.batch_size).sum();
        prop_assert_eq!(positions, fewest(&lengths, count));
    }
}
