//! What every example that trains one network is asked, and how it keeps what it has trained.
//!
//! The contract: the same options mean the same everywhere; a checkpoint of another program is refused by name.

use std::{
    collections::BTreeMap,
    iter,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, error::ErrorKind, parser::ValueSource};
use recurrent::{Checkpoint, Config, InputKind, Model};
use serde::{Serialize, de::DeserializeOwned};

use crate::{cell::CellName, files};

/// Options that mean something where nothing is trained.
const PREDICTING: &[&str] = &[
    "predict",
    "tag",
    "checkpoint",
    "ctc",
    "column",
    "separator",
    "decimal_comma",
    "comment",
    "no_header",
    "header",
    "midi",
    "length",
    "temperature",
    "device",
    "json",
];

/// What all examples may be asked. An example names the defaults: see [`parse`].
#[derive(Args, Clone)]
pub struct Options {
    /// Where the data is; without it the example makes its own
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Train nothing: say what the trained network of --checkpoint makes of this file
    #[arg(long, value_name = "FILE")]
    pub predict: Option<PathBuf>,
    /// The trained network, as it was at its best evaluation
    #[arg(long, value_name = "FILE")]
    pub checkpoint: PathBuf,
    /// Where the picture of the run is drawn (SVG)
    #[arg(long, value_name = "FILE")]
    pub plot: PathBuf,
    /// The cell of every layer
    #[arg(long)]
    pub cell: CellName,
    /// Layers of cells, each reading the one below
    #[arg(long)]
    pub layers: usize,
    /// Hidden units of a layer
    #[arg(long)]
    pub hidden: usize,
    /// How often the training data is read, at most
    #[arg(long)]
    pub epochs: u64,
    /// Stop after this many consecutive evaluations without improvement
    #[arg(long, value_name = "EPOCHS")]
    pub patience: usize,
    /// Sequences that are read side by side
    #[arg(long)]
    pub batch_size: usize,
    /// The highest; it rises in the first epoch and falls to nothing in half a cosine
    #[arg(long, allow_negative_numbers = true)]
    pub learning_rate: f64,
    /// The probability that a number between two layers is left out in training; 0 for one layer
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub dropout: f64,
    /// What weights, orders and made-up data are drawn from
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// best, cpu, gpu, gpu:INDEX or gpu:NAME
    #[arg(long, default_value = "best")]
    pub device: String,
    /// Print one JSON object a line in place of prose
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Returns the network that the options describe.
    pub fn config(&self, input: InputKind, outputs: usize) -> Config {
        self.cell.config(input, self.hidden, outputs).with_layers(self.layers).with_seed(self.seed)
    }

    /// Returns what the data is called: by its path, or `synthetic`, where the example makes its own.
    pub fn name(&self, synthetic: &str) -> String {
        let synthetic = || format!("{synthetic} (made up; --data takes real ones)");
        self.data.as_ref().map_or_else(synthetic, |path| path.display().to_string())
    }

    /// Looks at what a training is asked and at the files that it writes, before it trains for minutes.
    /// `more` are checkpoints besides that of the options.
    pub fn prepare(&self, more: &[PathBuf]) -> Result<()> {
        ensure!(self.epochs > 0, "--epochs is 0, expected at least 1");
        ensure!(self.patience > 0, "--patience is 0, expected at least 1");
        ensure!(self.batch_size > 0, "--batch-size is 0, expected at least 1");
        let checkpoints: Vec<&Path> = iter::once(&self.checkpoint).chain(more).map(PathBuf::as_path).collect();
        files::prepare(self.data.as_deref(), &checkpoints, &[&self.plot])
    }

    /// Keeps a trained network with its [`notes`].
    pub fn save(&self, model: &Model, program: &str, prepared: &impl Serialize) -> Result<()> {
        let mut checkpoint = Checkpoint::from(model.clone());
        checkpoint.notes = notes(program, prepared)?;
        Ok(checkpoint.save(&self.checkpoint)?)
    }

    /// Loads a network with its [`notes`]; a checkpoint of another program is an error.
    pub fn load<P: DeserializeOwned>(&self, program: &str) -> Result<(Model, P)> {
        load(&self.checkpoint, program)
    }
}

/// Loads a network with its [`notes`]; a checkpoint of another program is an error.
pub fn load<P: DeserializeOwned>(path: &Path, program: &str) -> Result<(Model, P)> {
    let checkpoint = Checkpoint::load(path)
        .with_context(|| format!("train first: `{program}` without an option that reads it writes it"))?;
    let read = || {
        let by = checkpoint.notes.get("program").context("it names no program")?;
        ensure!(by == program, "it was written by `{by}`");
        let prepared = checkpoint.notes.get("prepared").context("it has no note `prepared`")?;
        Ok(serde_json::from_str(prepared)?)
    };
    let prepared = read().with_context(|| format!("checkpoint {} was not written by `{program}`", path.display()))?;
    Ok((checkpoint.model, prepared))
}

/// Returns what is kept beside a network: the program that trained it, and what its data was prepared by.
pub fn notes(program: &str, prepared: &impl Serialize) -> Result<BTreeMap<String, String>> {
    let (program, prepared) = (program.to_owned(), serde_json::to_string(prepared)?);
    Ok(BTreeMap::from([("program".to_owned(), program), ("prepared".to_owned(), prepared)]))
}

/// Parses the command line, with an example's defaults by option; ends the process on a mistake, as clap does.
pub fn parse<C: Parser>(defaults: &[(&'static str, &'static str)]) -> C {
    let mut command = C::command();
    for &(option, default) in defaults {
        command = command.mut_arg(option, |arg| arg.required(false).default_value(default));
    }
    command = command.mut_arg("dropout", |arg| arg.default_value_if("layers", "1", "0"));
    let matches = command.get_matches_mut();
    let given = |option: &&str| matches.value_source(option) == Some(ValueSource::CommandLine);
    let options: Vec<&str> = command.get_arguments().map(|arg| arg.get_id().as_str()).collect();
    // What an example is told by `tag` it has in place of a file.
    let predicting = options.iter().find(|option| ["predict", "tag"].contains(option) && given(option)).copied();
    if let Some(predicting) = predicting
        && let Some(idle) = options.into_iter().filter(given).find(|option| !PREDICTING.contains(option))
    {
        let idle = idle.replace('_', "-");
        let what = format!(
            "--{predicting} trains nothing, so --{idle} cannot be used with it: the checkpoint says what it is"
        );
        C::command().error(ErrorKind::ArgumentConflict, what).exit()
    }
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}
