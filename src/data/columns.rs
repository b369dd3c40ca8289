//! What is read beside the inputs of a network, by name, and the rules that it is held to.
//!
//! The contract: what passes has every column of the network once, each as long as the inputs.

use std::fmt;

use super::{Inputs, InputsRef, Sequences, wrong_kind};
use crate::error::{Error, Largest, Result};
use crate::model::{Column, Config, InputKind};

/// What is read of a column, time outermost.
///
/// ```
/// use recurrent::{BatchShape, InputColumn, Inputs, Sequences};
/// let shape = BatchShape { steps: 2, batch_size: 1 };
/// let words = Sequences::tokens(shape, vec![17, 4])
///     .with_column("tag", Inputs::Tokens(vec![3, 0]))
///     .with_column("shape", Inputs::Dense(vec![0.5, 1.0, 0.0, 0.1, 0.0, 0.0])); // three numbers a step
/// assert_eq!(words.columns[0], InputColumn::new("tag", Inputs::Tokens(vec![3, 0])));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InputColumn {
    /// The column's.
    pub name: String,
    /// `[T, B]` ids or `[T, B, ·]` numbers.
    pub inputs: Inputs,
}

impl InputColumn {
    /// What is read of a column of that name.
    pub fn new(name: impl Into<String>, inputs: Inputs) -> Self {
        InputColumn { name: name.into(), inputs }
    }
}

impl Sequences {
    /// The same, with what is read of a column beside the inputs.
    pub fn with_column(mut self, name: impl Into<String>, inputs: Inputs) -> Self {
        self.columns.push(InputColumn::new(name, inputs));
        self
    }

    /// The largest number that is read, where it is large.
    pub(super) fn largest(&self, config: &Config) -> Option<Largest> {
        let of = |argument: &dyn fmt::Display, inputs: &Inputs, input: InputKind| match inputs {
            Inputs::Tokens(_) | Inputs::OnDevice(_) => None,
            Inputs::Dense(x) => Largest::of(argument, x, &[self.steps, self.batch_size, input.size()]),
        };
        let columns = config.columns.iter().filter_map(|column| {
            let given = self.columns.iter().find(|given| given.name == column.name)?;
            of(&Argument(&column.name), &given.inputs, column.input)
        });
        columns.fold(of(&"inputs", &self.inputs, config.input), |largest, of_one| Largest::or(largest, Some(of_one)))
    }
}

/// A column's inputs, as an error names them.
struct Argument<'a>(&'a str);

impl fmt::Display for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inputs of column `{}`", self.0)
    }
}

/// Checks that columns are the network's, and can be read as `steps` steps of `batch_size` sequences.
pub(crate) fn check_columns(given: &[InputColumn], config: &Config, steps: usize, batch_size: usize) -> Result<()> {
    check_names(given, config, "the sequences have")?;
    for (column, inputs) in of_network(given, config) {
        check_column(column, inputs, steps, batch_size)?;
    }
    Ok(())
}

/// The columns in the network's order, with what is read of each.
pub(crate) fn of_network<'a>(
    given: &'a [InputColumn],
    config: &'a Config,
) -> impl Iterator<Item = (&'a Column, &'a Inputs)> {
    let find = |column: &'a Column| Some((column, &given.iter().find(|given| given.name == column.name)?.inputs));
    config.columns.iter().filter_map(find)
}

/// The column of that name.
pub(super) fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Column> {
    config.columns.iter().find(|column| column.name == name).ok_or_else(|| {
        let known: Vec<&str> = config.columns.iter().map(|column| column.name.as_str()).collect();
        Error::Data(format!("there is no column `{name}`, the network's columns are {known:?}"))
    })
}

/// Checks that a column can be read as so many steps.
pub(super) fn check_column(column: &Column, inputs: &Inputs, steps: usize, batch_size: usize) -> Result<()> {
    let argument = Argument(&column.name);
    match (inputs.borrowed(), column.input) {
        (InputsRef::Tokens(_), InputKind::Dense(_))
        | (InputsRef::Dense(_) | InputsRef::OnDevice(..), InputKind::Tokens(_)) => {
            let reads = if matches!(column.input, InputKind::Tokens(_)) { "tokens" } else { "numbers" };
            let has = if reads == "tokens" { "numbers" } else { "tokens" };
            Err(wrong_kind(&format!("column `{}` reads {reads}", column.name), &format!("its inputs are {has}")))
        }
        (inputs, input) => inputs.check_as(&argument, input, steps, batch_size),
    }
}

/// Checks that what is given by name are the columns of the network, each once.
pub(super) fn check_names(given: &[InputColumn], config: &Config, what: &str) -> Result<()> {
    for (at, InputColumn { name, .. }) in given.iter().enumerate() {
        if given[..at].iter().any(|other| other.name == *name) {
            return Err(Error::Data(format!("{what} a column `{name}` twice, expected it once")));
        }
        if !config.columns.iter().any(|column| column.name == *name) {
            let known: Vec<&str> = config.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Error::Data(format!("{what} a column `{name}`, but the network's columns are {known:?}")));
        }
    }
    match config.columns.iter().find(|column| given.iter().all(|given| given.name != column.name)) {
        None => Ok(()),
        Some(column) => {
            Err(Error::Data(format!("the network has a column `{}`, which {what} not; expected it", column.name)))
        }
    }
}
