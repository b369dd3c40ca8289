//! The command line: what may be asked, after the habits of char-rnn.
//!
//! The contract: an option of training that was not given is `None`, so that resuming can tell it from one that
//! contradicts the checkpoint; [`crate::settings`] holds the defaults.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use recurrent::{Activation, Clip, Init};
use recurrent_examples::cell::CellName;
use serde::{Deserialize, Serialize};

/// Where training leaves its network and the other commands look for it.
pub const CHECKPOINT: &str = "out/text.safetensors";
/// Where training leaves the plot of its losses.
pub const PLOT: &str = "out/text.svg";

/// A network of characters or, with --words, of words: Elman, LSTM or GRU layers that learn a text by truncated
/// back-propagation through time, and write more of it.
///
/// Without a subcommand it trains; without --data it learns the source of this very crate.
///
/// A word is a run of letters, digits and underscores, in upper or lower case as it is written; punctuation marks and
/// line ends are words of their own. What --vocabulary leaves out is read as <unk>, and never written.
#[derive(Parser)]
#[command(name = "text", max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub train: TrainArgs,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Common {
    /// best, cpu, gpu, gpu:INDEX or gpu:NAME; the command `devices` lists what there is
    #[arg(long, global = true, default_value = "best")]
    pub device: String,
    /// Print one JSON object a line in place of prose
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Learn a text (what happens without a subcommand)
    Train(Box<TrainArgs>),
    /// Write text with a trained network
    Sample(SampleArgs),
    /// Measure a trained network on a text
    Eval(EvalArgs),
    /// List the devices of this machine
    Devices,
}

#[derive(Args, Clone, Default, PartialEq)]
pub struct TrainArgs {
    /// A UTF-8 text to learn [default: the source of this crate]
    #[arg(long, value_name = "FILE")]
    pub data: Option<String>,
    /// Learn words in place of characters; the read-out is tied to an embedding, as wide as the hidden units
    #[arg(long)]
    pub words: bool,
    /// Of --words: how many the network knows at most, the most frequent ones that the training part has twice or more
    /// [default: 10000]
    #[arg(long, value_name = "WORDS")]
    pub vocabulary: Option<usize>,
    /// Hidden units [default: 256, of words 192]
    #[arg(long)]
    pub hidden: Option<usize>,
    /// Steps of a window: how far the gradient reaches back [default: 50, of words 35]
    #[arg(long)]
    pub seq_length: Option<usize>,
    /// Places of the text that are read side by side [default: 32, of words 16]
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// How often the text is read, counted from the first training [default: 18, of words 12]
    #[arg(long)]
    pub epochs: Option<u64>,
    /// Stop after this many consecutive validations without improvement [default: 5]
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<usize>,
    /// The full rate; another one may be given to a training that goes on [default: 0.003]
    #[arg(long, allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// What the learning rate is multiplied by after an epoch; 1 keeps it [default: 0.9, of words
    /// 0.75]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub learning_rate_decay: Option<f64>,
    /// Epochs at the full learning rate, before it decays [default: 8, of words 5]
    #[arg(long, value_name = "EPOCHS")]
    pub learning_rate_decay_after: Option<u64>,
    /// [default: adam]
    #[arg(long)]
    pub optimizer: Option<OptimizerName>,
    /// Of sgd [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    pub momentum: Option<f64>,
    /// Of adamw [default: 0.01]
    #[arg(long, allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    #[command(flatten)]
    pub clip: ClipArgs,
    /// The share of the text, from its beginning, that is learned [default: 0.9]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub train_fraction: Option<f64>,
    /// The share after it that is measured after every epoch; the rest is the test's [default: 0.05]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub validation_fraction: Option<f64>,
    /// [default: elman, of words lstm]
    #[arg(long)]
    pub cell: Option<CellName>,
    /// Layers of cells, each reading the one below [default: 1]
    #[arg(long)]
    pub layers: Option<usize>,
    /// The probability that what a layer hands to the next, of words also to the read-out, is left out in training
    /// [default: 0, of words 0.4]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub dropout: Option<f64>,
    /// The same of the characters, or of the elements of a word's embedding, that the first layer reads, one choice a
    /// window [default: 0, of words 0.2]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub dropout_inputs: Option<f64>,
    /// The same of the hidden state where it meets U, one choice a window [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub dropout_hidden: Option<f64>,
    /// Of elman [default: tanh]
    #[arg(long)]
    pub activation: Option<ActivationName>,
    /// How the weights are drawn [default: uniform]
    #[arg(long)]
    pub init: Option<InitName>,
    /// What the weights and the sample are drawn from [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where the network is saved, as it was at its best validation; what --resume goes on with lies beside it
    /// as NAME.training.safetensors [default: out/text.safetensors, or the one that is resumed]
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Where the plot of the losses is drawn [default: out/text.svg]
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Go on where the training of this checkpoint stopped; other options must agree with it, but for --data, --epochs,
    /// --patience and --learning-rate
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
}

#[derive(Args, Clone, Default, PartialEq)]
#[group(multiple = false)]
pub struct ClipArgs {
    /// Scale the gradient down to this norm where it is longer [default: 5]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    pub grad_clip: Option<f64>,
    /// Hold each element of the gradient within ± this value
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    pub clip_value: Option<f64>,
    /// Scale the gradient to this norm, up or down
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    pub normalize_grad: Option<f64>,
    /// Leave the gradient as it is
    #[arg(long)]
    pub no_clip: bool,
}

#[derive(Args)]
pub struct SampleArgs {
    /// The trained network
    #[arg(long, value_name = "FILE", default_value = CHECKPOINT)]
    pub checkpoint: PathBuf,
    /// Below 1 more cautious, above 1 wilder; 0 always takes the likeliest
    #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
    pub temperature: f64,
    /// The text to continue; a network of words reads what it does not know as <unk>
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub prime: String,
    /// Characters or words to write [default: 500, of words 120]
    #[arg(long)]
    pub length: Option<usize>,
    /// What they are drawn from
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Args)]
pub struct EvalArgs {
    /// The trained network
    #[arg(long, value_name = "FILE", default_value = CHECKPOINT)]
    pub checkpoint: PathBuf,
    /// A UTF-8 text, of characters that the network knows [default: the text that was learned]
    #[arg(long, value_name = "FILE")]
    pub data: Option<String>,
    /// Which part of the text, divided as for training
    #[arg(long, default_value = "test")]
    pub split: Split,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Split {
    Train,
    Validation,
    Test,
    All,
}

#[derive(Clone, Copy, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    Sgd,
    Rmsprop,
    Adam,
    Adamw,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum ActivationName {
    Tanh,
    Relu,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum InitName {
    Uniform,
    Glorot,
    Orthogonal,
    Identity,
}

impl From<ActivationName> for Activation {
    fn from(name: ActivationName) -> Self {
        match name {
            ActivationName::Tanh => Activation::Tanh,
            ActivationName::Relu => Activation::Relu,
        }
    }
}

impl From<InitName> for Init {
    fn from(name: InitName) -> Self {
        match name {
            InitName::Uniform => Init::Uniform,
            InitName::Glorot => Init::Glorot,
            InitName::Orthogonal => Init::Orthogonal,
            InitName::Identity => Init::Identity,
        }
    }
}

impl ClipArgs {
    /// What is done to the gradient, if anything was said about it.
    pub fn clip(&self) -> Option<Clip> {
        let none = self.no_clip.then_some(Clip::None);
        let norm = self.grad_clip.map(Clip::Norm);
        norm.or(self.clip_value.map(Clip::Value)).or(self.normalize_grad.map(Clip::Normalize)).or(none)
    }
}

/// What was asked and the options common to all commands; ends the process on a mistake, as clap does.
pub fn parse() -> (Command, Common) {
    let cli = Cli::parse();
    let before = cli.train != TrainArgs::default();
    match cli.command {
        None => (Command::Train(Box::new(cli.train)), cli.common),
        // clap's own rule against this mix would also refuse `--json sample`.
        Some(_) if before => {
            Cli::command().error(ErrorKind::ArgumentConflict, "options of a subcommand belong after its name").exit()
        }
        Some(command) => (command, cli.common),
    }
}
