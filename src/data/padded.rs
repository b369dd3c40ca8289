//! Sequences of unequal length as one batch: side by side, padded behind the end of each.
//!
//! The contract: what is padded here passes [`Batch::check`] with the loss that its targets are for; padding is id 0 or
//! 0.0, of inputs and targets alike, and the lengths say where it begins.

use std::borrow::Cow;

use super::beside::{inputs_side_by_side, side_by_side};
use super::columns::{self, InputColumn};
use super::labels::{HeadTargets, Labels, check_labels, check_names};
use super::{Batch, Inputs, Sequences, Start, Targets, check_finite, check_ids, check_len, wrong_kind};
use crate::error::{Error, Result};
use crate::model::{BatchShape, Config, InputKind, MAX_ELEMENTS, ReadOut};

/// One sequence of T steps, with what is expected of it.
///
/// ```
/// use recurrent::data::Example;
/// use recurrent::{Batch, Config, InputKind, Pool};
/// let config = Config::gru(InputKind::Tokens(4), 8, 2).pool(Pool::Last);
/// let examples = [Example::tokens(vec![0, 1, 0], vec![1]), Example::tokens(vec![2, 3], vec![0])];
/// let batch = Batch::pad(&examples, &config)?; // three steps, the second sequence padded
/// assert_eq!(batch.sequences.lengths, Some(vec![3, 2]));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Example {
    /// `[T]` ids or `[T, I]` numbers.
    pub inputs: Inputs,
    /// What is read beside it, of each of the network's columns.
    pub columns: Vec<InputColumn>,
    /// `[T]` ids or `[T, O]` numbers where every step is read out, else one id or `[O]` numbers.
    pub targets: Targets,
    /// What is expected of each of the network's heads, in the same way; a mask is `[T]` or one.
    pub heads: Vec<HeadTargets>,
}

impl Example {
    /// `[T]` ids to read, and the classes expected: `[T]`, or one.
    pub fn tokens(tokens: Vec<u32>, targets: Vec<u32>) -> Self {
        Self::new(Inputs::Tokens(tokens), Targets::Classes(targets))
    }

    /// What is read and what is expected.
    pub fn new(inputs: Inputs, targets: Targets) -> Self {
        Example { inputs, columns: Vec::new(), targets, heads: Vec::new() }
    }

    /// `[T, I]` numbers to read, and what is expected.
    pub fn dense(inputs: Vec<f32>, targets: impl Into<Targets>) -> Self {
        Self::new(Inputs::Dense(inputs), targets.into())
    }

    /// The same, with what is expected of a head.
    pub fn with_head(mut self, head: HeadTargets) -> Self {
        self.heads.push(head);
        self
    }

    /// The same, with what is read of a column beside the inputs: `[T]` ids or `[T, ·]` numbers.
    pub fn with_column(mut self, name: impl Into<String>, inputs: Inputs) -> Self {
        self.columns.push(InputColumn::new(name, inputs));
        self
    }

    /// What is expected of a read-out, where there is anything.
    fn labels(&self, read_out: ReadOut<'_>) -> Option<Labels<'_>> {
        match read_out.name {
            None => Some(Labels { targets: &self.targets, loss_mask: None }),
            Some(name) => {
                let head = self.heads.iter().find(|head| head.name == name)?;
                Some(Labels { targets: &head.targets, loss_mask: head.loss_mask.as_deref() })
            }
        }
    }
}

impl Sequences {
    /// Lays B sequences, each `[T]` ids or `[T, I]` numbers with a T of its own, side by side, padded to the longest.
    ///
    /// # Errors
    /// [`Error::Config`] for a configuration that is none; [`Error::Data`] for no sequences, or one that is empty, of
    /// the wrong kind, no whole number of steps, with an id out of range or a number that is not finite;
    /// [`Error::Limit`] for more elements than 32-bit indices reach.
    pub fn pad<'a>(inputs: impl IntoIterator<Item = &'a Inputs>, config: &Config) -> Result<Self> {
        config.check()?;
        let inputs: Vec<&Inputs> = inputs.into_iter().collect();
        let mut longest = 0;
        for (b, inputs) in inputs.iter().enumerate() {
            longest = longest.max(check_inputs(&format!("sequences[{b}]"), inputs, config)?);
        }
        check_padded(longest, inputs.len(), config)?;
        Ok(Self::laid(&inputs, longest, config))
    }

    /// The same, with what is read of a column beside each sequence, `[T]` ids or `[T, ·]` numbers, padded as they are.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Inputs, Recurrent, Sequences};
    /// let config = Config::new(InputKind::Tokens(9)).token_column("tag", 4, 2).embedding(8);
    /// let config = config.layer(Recurrent::gru(8)).outputs(2);
    /// let [words, tags] = [[vec![3, 8, 1], vec![2]], [vec![0, 3, 3], vec![1]]].map(|ids| ids.map(Inputs::Tokens));
    /// let sequences = Sequences::pad(&words, &config)?.pad_column("tag", &tags, &config)?;
    /// assert_eq!(sequences.columns[0].inputs, Inputs::Tokens(vec![0, 1, 3, 0, 3, 0]));
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] for a name that no column of the network has, and for inputs that [`Sequences::pad`] would
    /// refuse of the column; [`Error::Shape`] for another number of sequences, or of steps of one.
    pub fn pad_column<'a>(
        self,
        name: &str,
        inputs: impl IntoIterator<Item = &'a Inputs>,
        config: &Config,
    ) -> Result<Self> {
        let inputs: Vec<&Inputs> = inputs.into_iter().collect();
        let column = columns::find(config, name)?;
        if inputs.len() != self.batch_size {
            return Err(Error::shape(
                &format!("the sequences of column `{name}`"),
                &[self.batch_size],
                &[inputs.len()],
            ));
        }
        for (b, inputs) in inputs.iter().enumerate() {
            columns::check_column(column, inputs, self.length(b), 1)
                .map_err(|error| error.inside(&format!("sequences[{b}]")))?;
        }
        let laid = inputs_side_by_side(&inputs, self.steps, column.input);
        Ok(self.with_column(name, laid))
    }

    /// Lays checked inputs side by side, padded to `steps`.
    fn laid(inputs: &[&Inputs], steps: usize, config: &Config) -> Self {
        let lengths: Vec<usize> = inputs.iter().map(|inputs| length(inputs, config)).collect();
        Sequences {
            steps,
            batch_size: inputs.len(),
            inputs: inputs_side_by_side(inputs, steps, config.input),
            columns: Vec::new(),
            lengths: lengths.iter().any(|&length| length < steps).then_some(lengths),
            start: Start::Initial,
        }
    }
}

impl Batch {
    /// Lays examples side by side, padded to the longest; they start from a state of zeros or the learned one.
    ///
    /// # Errors
    /// Same as [`Sequences::pad`]; [`Error::Shape`] for targets of another length than the sequence asks for;
    /// [`Error::Data`] for targets of two kinds, or with an id out of range or a number that is not finite, and for
    /// heads that are not those of the network.
    pub fn pad<'a>(examples: impl IntoIterator<Item = &'a Example>, config: &Config) -> Result<Self> {
        let examples: Vec<&Example> = examples.into_iter().collect();
        let longest = check_examples(&examples, config)?;
        check_padded(longest, examples.len(), config)?;
        Ok(Self::laid(&examples, longest, config))
    }

    /// Lays checked examples side by side, padded to `steps`.
    pub(super) fn laid(examples: &[&Example], steps: usize, config: &Config) -> Self {
        let inputs: Vec<&Inputs> = examples.iter().map(|example| &example.inputs).collect();
        let columns = laid_columns(examples, steps, config);
        let sequences = Sequences { columns, ..Sequences::laid(&inputs, steps, config) };
        let (targets, loss_mask) = laid_labels(examples, steps, config.read_out());
        let named = config.read_outs().filter_map(|read_out| Some((read_out.name?, read_out)));
        let heads = named.map(|(name, read_out)| {
            let (targets, loss_mask) = laid_labels(examples, steps, read_out);
            HeadTargets { name: name.to_owned(), targets, loss_mask }
        });
        let heads = heads.collect();
        Batch { sequences, targets, loss_mask, heads }
    }
}

/// The labels of a read-out side by side, padded to `steps`, and the mask where any has one.
fn laid_labels(examples: &[&Example], steps: usize, read_out: ReadOut<'_>) -> (Targets, Option<Vec<bool>>) {
    let (mut classes, mut values, mut masks) = (Vec::new(), Vec::new(), Vec::new());
    for labels in examples.iter().filter_map(|example| example.labels(read_out)) {
        let count = match labels.targets {
            Targets::Classes(ids) => {
                classes.push(&ids[..]);
                ids.len()
            }
            Targets::Values(reals) => {
                values.push(&reals[..]);
                reals.len() / read_out.outputs
            }
        };
        masks.push(labels.loss_mask.map_or_else(|| Cow::Owned(vec![true; count]), Cow::Borrowed));
    }
    // One label a sequence is a read-out of one step.
    let labels = read_out.rows.count(BatchShape { steps, batch_size: 1 });
    let targets = if values.is_empty() {
        Targets::Classes(side_by_side(&classes, labels, 1))
    } else {
        Targets::Values(side_by_side(&values, labels, read_out.outputs))
    };
    let is_masked = masks.iter().any(|mask| matches!(mask, Cow::Borrowed(_)));
    let masks: Vec<&[bool]> = masks.iter().map(|mask| &mask[..]).collect();
    (targets, is_masked.then(|| side_by_side(&masks, labels, 1)))
}

/// The steps of checked inputs.
pub(super) fn length(inputs: &Inputs, config: &Config) -> usize {
    match inputs {
        Inputs::Tokens(ids) => ids.len(),
        Inputs::Dense(x) => x.len() / config.input.size(),
    }
}

/// Whether a network can be trained on all of them, and the steps of the longest.
pub(super) fn check_examples(examples: &[&Example], config: &Config) -> Result<usize> {
    config.check()?;
    let mut longest = 0;
    for (b, example) in examples.iter().enumerate() {
        let steps = check_inputs(&format!("examples[{b}].inputs"), &example.inputs, config)?;
        longest = longest.max(steps);
        check_columns(example, config, b, steps)?;
        check_names(&example.heads, config, &format!("examples[{b}]"))?;
        let shape = BatchShape { steps, batch_size: 1 };
        for read_out in config.read_outs() {
            let (Some(labels), Some(first)) = (example.labels(read_out), examples[0].labels(read_out)) else {
                continue;
            };
            let name = format!("examples[{b}].{}", read_out.argument("targets"));
            match (labels.targets, first.targets) {
                (Targets::Classes(ids), Targets::Classes(_)) => {
                    check_labels(&name, shape, read_out, None, ids.len())?;
                    check_ids(ids, read_out.outputs, "outputs", |at| format!("{name}[{at}]"))?;
                }
                (Targets::Values(reals), Targets::Values(_)) => {
                    check_labels(&name, shape, read_out, Some(read_out.outputs), reals.len())?;
                    check_finite(&name, reals)?;
                }
                (Targets::Classes(_), _) => return Err(two_kinds(&name, "classes", "real numbers")),
                (Targets::Values(_), _) => return Err(two_kinds(&name, "real numbers", "classes")),
            }
            if let Some(mask) = labels.loss_mask {
                let name = format!("examples[{b}].{}", read_out.argument("mask"));
                check_len(&name, &[read_out.rows.count(shape)], mask.len())?;
            }
        }
    }
    Ok(longest)
}

fn two_kinds(argument: &str, given: &str, expected: &str) -> Error {
    Error::Data(format!("{argument} are {given}, expected {expected}, as those of examples[0] are"))
}

/// Whether a network can read them, and how many steps they are.
fn check_inputs(argument: &str, inputs: &Inputs, config: &Config) -> Result<usize> {
    let given = match (inputs, config.input) {
        (Inputs::Tokens(ids), InputKind::Tokens(vocabulary)) => {
            check_ids(ids, vocabulary, "tokens", |at| format!("{argument}[{at}]"))?;
            ids.len()
        }
        (Inputs::Dense(x), InputKind::Dense(features)) => {
            check_finite(argument, x)?;
            if !x.len().is_multiple_of(features) {
                return Err(Error::Data(format!(
                    "{argument} has {} numbers, expected a multiple of the {features} features of a step",
                    x.len()
                )));
            }
            x.len()
        }
        (Inputs::Tokens(_), _) => {
            return Err(wrong_kind("network reads dense inputs", &format!("{argument} has tokens")));
        }
        (Inputs::Dense(_), _) => {
            return Err(wrong_kind("network reads tokens", &format!("{argument} has dense inputs")));
        }
    };
    if given == 0 {
        return Err(Error::Data(format!("{argument} is empty, expected at least 1 step")));
    }
    Ok(length(inputs, config))
}

/// Whether `size` sequences, padded to `steps`, are a batch that can be made at all.
pub(super) fn check_padded(steps: usize, size: usize, config: &Config) -> Result<()> {
    if size == 0 {
        return Err(Error::Data("there are no sequences to pad, expected at least 1".to_owned()));
    }
    let features = if let InputKind::Dense(features) = config.input { features } else { 1 };
    let shape = BatchShape { steps, batch_size: 1 };
    let outputs = config
        .read_outs()
        .map(|read_out| (read_out.argument("outputs").to_string(), read_out.rows.count(shape), read_out.outputs));
    for (what, steps, width) in std::iter::once(("inputs".to_owned(), steps, features)).chain(outputs) {
        let asked = [steps, size, width].iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
        if asked > MAX_ELEMENTS {
            return Err(Error::Limit {
                what: format!("{size} sequences padded to {steps} steps, {width} {what} each,"),
                limit: "elements that 32-bit indices reach",
                asked,
                allowed: MAX_ELEMENTS,
            });
        }
    }
    Ok(())
}

/// Checks the columns of an example of so many steps.
fn check_columns(example: &Example, config: &Config, b: usize, steps: usize) -> Result<()> {
    columns::check_names(&example.columns, config, &format!("examples[{b}] has"))?;
    for (column, inputs) in columns::of_network(&example.columns, config) {
        columns::check_column(column, inputs, steps, 1).map_err(|error| error.inside(&format!("examples[{b}]")))?;
    }
    Ok(())
}

/// The columns of checked examples side by side, padded to `steps`.
fn laid_columns(examples: &[&Example], steps: usize, config: &Config) -> Vec<InputColumn> {
    let laid = config.columns.iter().map(|column| {
        let of_column = |example: &&'_ Example| {
            example.columns.iter().find(|given| given.name == column.name).map(|given| given.inputs.clone())
        };
        let all: Vec<Inputs> = examples.iter().filter_map(of_column).collect();
        InputColumn::new(&column.name, inputs_side_by_side(&all.iter().collect::<Vec<_>>(), steps, column.input))
    });
    laid.collect()
}
