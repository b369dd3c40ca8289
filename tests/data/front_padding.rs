//! Batches that are padded in front: they are the batches that are padded behind.

use recurrent::data::Example;
use recurrent::{Batch, BatchShape, Config, HeadTargets, InputKind, Inputs, Pool, Recurrent, Sequences, Targets};

/// `[T_b, width]` each, at the end of T steps, `[T, B, width]`.
fn in_front<V: Copy + Default>(sequences: &[Vec<V>], steps: usize, width: usize) -> Vec<V> {
    let mut laid = vec![V::default(); steps * sequences.len() * width];
    for (b, sequence) in sequences.iter().enumerate() {
        let before = steps - sequence.len() / width;
        for (t, row) in sequence.chunks(width).enumerate() {
            laid[((before + t) * sequences.len() + b) * width..][..width].copy_from_slice(row);
        }
    }
    laid
}

#[test]
fn a_batch_that_was_padded_in_front_is_one_that_is_padded_behind() {
    let config = Config::new(InputKind::Dense(2)).token_column("kind", 4, 2).layer(Recurrent::gru(3));
    let config = config.head("value", 2).pool(Pool::Last).outputs(3);
    let lengths = [3usize, 1, 4];
    let x: Vec<Vec<f32>> = (0..3).map(|b| (0..2 * lengths[b]).map(|i| (10 * b + i) as f32 + 1.0).collect()).collect();
    let kinds: Vec<Vec<u32>> = (0..3).map(|b| (0..lengths[b]).map(|i| 1 + ((b + i) % 3) as u32).collect()).collect();
    let values: Vec<Vec<f32>> = x.iter().map(|x| x.iter().map(|v| v * 0.5).collect()).collect();
    let weights: Vec<Vec<f32>> = x.iter().map(|x| x.iter().map(|v| v + 0.25).collect()).collect();
    let masks: Vec<Vec<bool>> = (0..3).map(|b| (0..lengths[b]).map(|i| (b + i) % 2 == 0).collect()).collect();
    let example = |b: usize| {
        let value = HeadTargets::new("value", values[b].clone()).with_loss_weights(weights[b].clone());
        Example::dense(x[b].clone(), vec![b as u32])
            .with_column("kind", Inputs::Tokens(kinds[b].clone()))
            .with_head(value.with_loss_mask(masks[b].iter().flat_map(|m| [*m; 2]).collect()))
    };
    let expected = Batch::pad(&[example(0), example(1), example(2)], &config).unwrap();

    let shape = BatchShape { steps: 4, batch_size: 3 };
    let sequences = Sequences::dense(shape, in_front(&x, 4, 2));
    let sequences = sequences.with_column("kind", Inputs::Tokens(in_front(&kinds, 4, 1)));
    let masks: Vec<Vec<bool>> = masks.iter().map(|mask| mask.iter().flat_map(|m| [*m; 2]).collect()).collect();
    let value = HeadTargets::new("value", in_front(&values, 4, 2)).with_loss_weights(in_front(&weights, 4, 2));
    let value = value.with_loss_mask(in_front(&masks, 4, 2));
    let batch = Batch::new(sequences, Targets::Classes(vec![0, 1, 2])).with_head(value);
    assert_eq!(batch.with_front_padding(lengths.to_vec(), &config).unwrap(), expected);
}

#[test]
fn lengths_are_found_by_the_id_in_front() {
    let sequences = Sequences::tokens(BatchShape { steps: 3, batch_size: 3 }, vec![0, 0, 5, 0, 7, 0, 4, 8, 0]);
    // The last step stays where all is padding, and what stands behind the first other id counts.
    assert_eq!(sequences.lengths_behind(0), Some(vec![1, 2, 3]));
    assert_eq!(sequences.lengths_behind(9), Some(vec![3; 3]));
    let nothing = Sequences::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![0, 0]);
    assert_eq!(nothing.lengths_behind(0), Some(vec![1]));
    assert_eq!(Sequences::dense(BatchShape { steps: 1, batch_size: 1 }, vec![0.0]).lengths_behind(0), None);
    // All of T steps: nothing to say.
    let whole = sequences.with_front_padding(vec![3; 3]).unwrap();
    assert_eq!(whole.lengths, None);
}

#[test]
fn what_cannot_be_moved_is_named() {
    let config = Config::gru(InputKind::Tokens(5), 3, 2);
    let sequences = || Sequences::tokens(BatchShape { steps: 2, batch_size: 2 }, vec![0, 1, 2, 3]);
    let said =
        |sequences: Sequences, lengths: Vec<usize>| sequences.with_front_padding(lengths).unwrap_err().to_string();
    assert_eq!(said(sequences(), vec![1]), "lengths has shape [1], expected [2]");
    assert_eq!(said(sequences(), vec![1, 3]), "lengths[1] is 3, expected 1 to the 2 steps of the batch");
    assert_eq!(said(sequences(), vec![0, 1]), "lengths[0] is 0, expected 1 to the 2 steps of the batch");
    assert_eq!(
        said(sequences().with_lengths(vec![2, 1]), vec![1, 2]),
        "the sequences have lengths [2, 1] already, so their padding is behind them; expected none"
    );
    let odd = sequences().with_inputs(Inputs::Tokens(vec![0; 3]));
    let expected = "expected a multiple of the 2 × 2 steps of the batch";
    assert_eq!(said(odd, vec![1, 2]), format!("inputs has 3 elements, {expected}"));
    let column = sequences().with_column("kind", Inputs::Tokens(vec![1]));
    assert_eq!(said(column, vec![1, 2]), format!("column `kind` has 1 elements, {expected}"));
    let batch = Batch::new(sequences(), Targets::Classes(vec![0; 4])).with_loss_mask(vec![true; 5]);
    let error = batch.with_front_padding(vec![1, 2], &config).unwrap_err();
    assert_eq!(error.to_string(), format!("mask has 5 elements, {expected}"));
}
