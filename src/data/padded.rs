//! Sequences of unequal length as one batch: side by side, padded behind the end of each.
//!
//! The contract: what is padded here passes [`Batch::check`] with the loss that its targets are for; padding is id 0 or
//! 0.0, of inputs and targets alike, and the lengths say where it begins.

use super::beside::{inputs_side_by_side, on_device, side_by_side};
use super::columns::{self, InputColumn};
use super::labels::{HeadTargets, Labels, check_labels, check_names, check_weighing};
use super::{Batch, Inputs, Sequences, Start, Targets, check_finite, check_ids, id_out_of_range, wrong_kind};
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
    /// `[T]` ids or `[T, N]` numbers where every step is read out, else one id or `[N]` numbers; or one sequence of
    /// labels.
    pub targets: Targets,
    /// Which of these positions count in the loss, or which of their numbers; `None`: all.
    pub loss_mask: Option<Vec<bool>>,
    /// How much each of them counts; `None`: all alike.
    pub loss_weights: Option<Vec<f32>>,
    /// What is expected of each of the network's heads, in the same way.
    pub heads: Vec<HeadTargets>,
}

impl Example {
    /// `[T]` ids to read, and the classes expected: `[T]`, or one.
    pub fn tokens(tokens: Vec<u32>, targets: Vec<u32>) -> Self {
        Self::new(Inputs::Tokens(tokens), Targets::Classes(targets))
    }

    /// What is read and what is expected.
    pub fn new(inputs: Inputs, targets: Targets) -> Self {
        let (loss_mask, loss_weights) = (None, None);
        Example { inputs, columns: Vec::new(), targets, loss_mask, loss_weights, heads: Vec::new() }
    }

    /// `[T, I]` numbers to read, and what is expected.
    pub fn dense(inputs: Vec<f32>, targets: impl Into<Targets>) -> Self {
        Self::new(Inputs::Dense(inputs), targets.into())
    }

    /// The same, of which only some positions count in the loss, or some of their numbers: a flag for each label, or
    /// for each number of one.
    ///
    /// ```
    /// use recurrent::data::Example;
    /// use recurrent::{Inputs, Targets};
    /// // Two series, of the second of which the first number is missing.
    /// let targets = Targets::Values(vec![0.2, f32::NAN, 0.3, 0.7]);
    /// let example = Example::new(Inputs::Dense(vec![0.1, 0.2]), targets);
    /// let example = example.with_loss_mask(vec![true, false, true, true]);
    /// # assert!(example.loss_mask.is_some());
    /// ```
    pub fn with_loss_mask(self, mask: Vec<bool>) -> Self {
        Example { loss_mask: Some(mask), ..self }
    }

    /// The same, of which every position counts so much in the loss, or every number of one.
    pub fn with_loss_weights(self, weights: Vec<f32>) -> Self {
        Example { loss_weights: Some(weights), ..self }
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
            None => {
                let (loss_mask, loss_weights) = (self.loss_mask.as_deref(), self.loss_weights.as_deref());
                Some(Labels { targets: &self.targets, loss_mask, loss_weights })
            }
            Some(name) => self.heads.iter().find(|head| head.name == name).map(HeadTargets::labels),
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
            resets: Vec::new(),
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
        let laid = |read_out| laid_labels(examples, steps, read_out, config);
        let HeadTargets { targets, loss_mask, loss_weights, .. } = laid(config.read_out());
        let heads = config.read_outs().filter(|read_out| read_out.name.is_some()).map(laid).collect();
        Batch { sequences, targets, loss_mask, loss_weights, heads }
    }
}

/// The labels of a read-out side by side, padded to `steps`, and mask and weights where any has them.
fn laid_labels(examples: &[&Example], steps: usize, read_out: ReadOut<'_>, config: &Config) -> HeadTargets {
    // As check_examples says, all are of one kind.
    let first = examples.iter().find_map(|example| example.labels(read_out));
    let read_out = first.map_or(read_out, |labels| labels.targets.positions(read_out));
    let rows = |steps: usize| read_out.rows.count(BatchShape { steps, batch_size: 1 });
    let all: Vec<(usize, Labels<'_>)> = examples
        .iter()
        .filter_map(|example| Some((rows(length(&example.inputs, config)), example.labels(read_out)?)))
        .collect();
    let (mut classes, mut values, mut sequences, mut numbers) = (Vec::new(), Vec::new(), Vec::new(), 1);
    for (rows, labels) in &all {
        match labels.targets {
            Targets::Classes(ids) => classes.push(&ids[..]),
            Targets::Values(reals) => {
                values.push(&reals[..]);
                numbers = reals.len() / rows;
            }
            Targets::Sequences(labels) => sequences.extend(labels.iter().cloned()),
            Targets::OnDevice(_) | Targets::None => {}
        }
    }
    let targets = match (classes.is_empty(), values.is_empty()) {
        (true, true) if !sequences.is_empty() => Targets::Sequences(sequences),
        (true, true) => Targets::None,
        (_, true) => Targets::Classes(side_by_side(&classes, rows(steps), 1)),
        _ => Targets::Values(side_by_side(&values, rows(steps), numbers)),
    };
    // Where one is masked or weighed by numbers, all are.
    let width = all.iter().map(|(rows, labels)| labels.weighed(*rows)).max().unwrap_or(1);
    let has_mask = all.iter().any(|(_, labels)| labels.loss_mask.is_some());
    let loss_mask = has_mask.then(|| {
        let masks: Vec<_> = all.iter().map(|(rows, labels)| spread(labels.loss_mask, true, *rows, width)).collect();
        side_by_side(&borrowed(&masks), rows(steps), width)
    });
    let has_weights = all.iter().any(|(_, labels)| labels.loss_weights.is_some());
    let loss_weights = has_weights.then(|| {
        let weights: Vec<_> = all.iter().map(|(rows, labels)| spread(labels.loss_weights, 1.0, *rows, width)).collect();
        side_by_side(&borrowed(&weights), rows(steps), width)
    });
    HeadTargets { name: read_out.name.unwrap_or_default().to_owned(), targets, loss_mask, loss_weights }
}

fn borrowed<V>(all: &[Vec<V>]) -> Vec<&[V]> {
    all.iter().map(Vec::as_slice).collect()
}

/// `[rows]` or `[rows, width]` as `[rows, width]`, `rest` where there is nothing.
fn spread<V: Copy>(given: Option<&[V]>, rest: V, rows: usize, width: usize) -> Vec<V> {
    match given {
        None => vec![rest; rows * width],
        Some(given) if given.len() == rows => given.iter().flat_map(|v| std::iter::repeat_n(*v, width)).collect(),
        Some(given) => given.to_vec(),
    }
}

/// The steps of checked inputs.
pub(super) fn length(inputs: &Inputs, config: &Config) -> usize {
    match inputs {
        Inputs::Tokens(ids) => ids.len(),
        Inputs::Dense(x) => x.len() / config.input.size(),
        Inputs::OnDevice(x) => x.len() / config.input.size(),
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
            let read_out = labels.targets.positions(read_out);
            let name = format!("examples[{b}].{}", read_out.argument("targets"));
            let rows = read_out.rows.count(shape);
            let of_example = |what| format!("examples[{b}].{}", read_out.argument(what));
            match (labels.targets, first.targets) {
                (Targets::Classes(ids), Targets::Classes(_)) => {
                    check_labels(&name, shape, read_out, None, ids.len())?;
                    check_weighing(labels, (rows, None), of_example)?;
                    let wrong = |(r, id): &(usize, &u32)| {
                        **id as usize >= read_out.outputs && labels.weight(rows, 1, (*r, 0)) > 0.0
                    };
                    if let Some((r, id)) = ids.iter().enumerate().find(wrong) {
                        return Err(id_out_of_range(*id, read_out.outputs, "outputs", &format!("{name}[{r}]")));
                    }
                }
                (Targets::Values(reals), Targets::Values(of_first)) => {
                    // How many numbers the outputs describe is for the loss to say.
                    let first_rows =
                        read_out.rows.count(BatchShape { steps: length(&examples[0].inputs, config), batch_size: 1 });
                    let numbers = match of_first.len() / first_rows {
                        numbers
                            if (1..=read_out.outputs).contains(&numbers) && of_first.len() == numbers * first_rows =>
                        {
                            numbers
                        }
                        _ => read_out.outputs,
                    };
                    check_labels(&name, shape, read_out, Some(numbers), reals.len())?;
                    check_weighing(labels, (rows, Some(numbers)), of_example)?;
                    let weighed = labels.weighed(rows);
                    let counts = |at: usize| {
                        let n = if weighed > 1 { at % numbers } else { 0 };
                        labels.weight(rows, weighed, (at / numbers, n)) > 0.0
                    };
                    let wrong = |(at, value): &(usize, &f32)| !value.is_finite() && counts(*at);
                    if let Some((at, value)) = reals.iter().enumerate().find(wrong) {
                        return Err(Error::Data(format!("{name}[{at}] is {value}, expected a finite number")));
                    }
                }
                (Targets::Sequences(sequences), Targets::Sequences(_)) => {
                    if sequences.len() != 1 {
                        return Err(Error::shape(&name, &[1], &[sequences.len()]));
                    }
                    check_weighing(labels, (rows, None), of_example)?;
                    let ids = sequences[0].iter().enumerate();
                    let wrong = |(_, id): &(usize, &u32)| **id as usize >= read_out.outputs;
                    if labels.weight(rows, 1, (0, 0)) > 0.0
                        && let Some((at, id)) = ids.into_iter().find(wrong)
                    {
                        return Err(id_out_of_range(*id, read_out.outputs, "outputs", &format!("{name}[0][{at}]")));
                    }
                }
                (Targets::None, Targets::None) => check_weighing(labels, (rows, None), of_example)?,
                (given, of_first) => return Err(two_kinds(&name, given.kind(), of_first.kind())),
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
        (Inputs::OnDevice(_), _) => return Err(on_device(argument)),
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
