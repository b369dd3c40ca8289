//! What a training run is: every choice that its weights depend on, kept in the checkpoint's notes.
//!
//! The contract: the same settings and text give the same run; a resumed run has those it started with, and an option
//! that says otherwise is an error.

use anyhow::{Result, bail, ensure};
use recurrent::{
    Activation, Cell, Clip, Config, Dropout, DropoutLayer, Init, InputKind, LearningRateSchedule, Loss, Optimizer,
    Recipe, Recurrent, Reset,
};
use recurrent_examples::cell::CellName;
use serde::{Deserialize, Serialize};

use crate::args::{OptimizerName, TrainArgs};

/// Every field but `clip` is named after its option.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// A file, or `None` for the embedded source.
    pub data: Option<String>,
    /// How many words at most are known; `None` where characters are learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
    pub hidden: usize,
    pub seq_length: usize,
    pub batch_size: usize,
    pub epochs: u64,
    pub patience: usize,
    learning_rate: f64,
    /// What a run that went on was told in place of it; the one it began with says which training it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed_learning_rate: Option<f64>,
    learning_rate_decay: f64,
    learning_rate_decay_after: u64,
    optimizer: OptimizerName,
    momentum: f64,
    weight_decay: f64,
    clip: Clip,
    pub train_fraction: f64,
    pub validation_fraction: f64,
    cell: CellName,
    pub layers: usize,
    dropout: f64,
    dropout_inputs: f64,
    dropout_hidden: f64,
    activation: Activation,
    init: Init,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            data: None,
            vocabulary: None,
            hidden: 256,
            seq_length: 50,
            batch_size: 32,
            epochs: 18,
            patience: 5,
            learning_rate: 3e-3,
            changed_learning_rate: None,
            learning_rate_decay: 0.9,
            learning_rate_decay_after: 8,
            optimizer: OptimizerName::Adam,
            momentum: 0.0,
            weight_decay: 0.01,
            clip: Clip::Norm(5.0),
            train_fraction: 0.9,
            validation_fraction: 0.05,
            cell: CellName::Elman,
            layers: 1,
            dropout: 0.0,
            dropout_inputs: 0.0,
            dropout_hidden: 0.0,
            activation: Activation::Tanh,
            init: Init::Uniform,
            seed: 0,
        }
    }
}

impl Settings {
    /// The defaults where words are learned.
    fn of_words() -> Self {
        Settings {
            vocabulary: Some(10_000),
            hidden: 192,
            seq_length: 35,
            batch_size: 16,
            epochs: 12,
            learning_rate_decay: 0.75,
            learning_rate_decay_after: 5,
            cell: CellName::Lstm,
            dropout: 0.4,
            dropout_inputs: 0.2,
            ..Settings::default()
        }
    }

    /// Those of a fresh run.
    pub fn fresh(args: &TrainArgs) -> Result<Self> {
        if args.words { Settings::of_words() } else { Settings::default() }.with(args)
    }

    /// Those of a run that goes on; it may be longer and at another rate, and its text may have moved.
    pub fn resumed(self, args: &TrainArgs) -> Result<Self> {
        ensure!(
            !args.words || self.vocabulary.is_some(),
            "--words contradicts the checkpoint, whose network is of characters: leave it out to resume"
        );
        let rate = args.learning_rate.filter(|rate| *rate != self.rate());
        let asked = self.clone().with(&TrainArgs { learning_rate: None, ..args.clone() })?;
        let asked = Settings { changed_learning_rate: rate.or(self.changed_learning_rate), ..asked };
        let had = self.lasting_as_long_as(&asked);
        let (asked_fields, had_fields) = (serde_json::to_value(&asked)?, serde_json::to_value(&had)?);
        for (field, had) in had_fields.as_object().into_iter().flatten() {
            let asked = &asked_fields[field];
            if asked != had {
                let option = if field == "clip" { "clipping".into() } else { format!("--{}", field.replace('_', "-")) };
                bail!("{option} {asked} contradicts the checkpoint, which has {had}: leave it out to resume");
            }
        }
        Ok(asked)
    }

    /// The full learning rate from here on.
    pub fn rate(&self) -> f64 {
        self.changed_learning_rate.unwrap_or(self.learning_rate)
    }

    /// Whether they are those of one training, which may have become longer, or another rate.
    pub fn is_of(&self, other: &Settings) -> bool {
        self.clone().lasting_as_long_as(other) == *other
    }

    /// These, but with what a training may change that goes on.
    fn lasting_as_long_as(self, other: &Settings) -> Self {
        let Settings { epochs, patience, changed_learning_rate, .. } = *other;
        Settings { data: other.data.clone(), epochs, patience, changed_learning_rate, ..self }
    }

    /// These, except where an option says otherwise.
    fn with(self, args: &TrainArgs) -> Result<Self> {
        let settings = Settings {
            data: args.data.clone().or(self.data),
            vocabulary: self.vocabulary.map(|size| args.vocabulary.unwrap_or(size)),
            hidden: args.hidden.unwrap_or(self.hidden),
            seq_length: args.seq_length.unwrap_or(self.seq_length),
            batch_size: args.batch_size.unwrap_or(self.batch_size),
            epochs: args.epochs.unwrap_or(self.epochs),
            patience: args.patience.unwrap_or(self.patience),
            learning_rate: args.learning_rate.unwrap_or(self.learning_rate),
            changed_learning_rate: self.changed_learning_rate,
            learning_rate_decay: args.learning_rate_decay.unwrap_or(self.learning_rate_decay),
            learning_rate_decay_after: args.learning_rate_decay_after.unwrap_or(self.learning_rate_decay_after),
            optimizer: args.optimizer.unwrap_or(self.optimizer),
            momentum: args.momentum.unwrap_or(self.momentum),
            weight_decay: args.weight_decay.unwrap_or(self.weight_decay),
            clip: args.clip.clip().unwrap_or(self.clip),
            train_fraction: args.train_fraction.unwrap_or(self.train_fraction),
            validation_fraction: args.validation_fraction.unwrap_or(self.validation_fraction),
            cell: args.cell.unwrap_or(self.cell),
            layers: args.layers.unwrap_or(self.layers),
            dropout: args.dropout.unwrap_or(self.dropout),
            dropout_inputs: args.dropout_inputs.unwrap_or(self.dropout_inputs),
            dropout_hidden: args.dropout_hidden.unwrap_or(self.dropout_hidden),
            activation: args.activation.map_or(self.activation, Into::into),
            init: args.init.map_or(self.init, Into::into),
            seed: args.seed.unwrap_or(self.seed),
        };
        ensure!(settings.epochs > 0, "--epochs is 0, expected at least 1");
        ensure!(settings.patience > 0, "--patience is 0, expected at least 1");
        let is_measured = settings.validation_fraction > 0.0;
        ensure!(args.patience.is_none() || is_measured, "--patience is for a --validation-fraction above 0");
        let (sgd, adam_w) = (OptimizerName::Sgd, OptimizerName::Adamw);
        ensure!(args.momentum.is_none() || settings.optimizer == sgd, "--momentum is an option of --optimizer sgd");
        let decays = args.weight_decay.is_some();
        ensure!(!decays || settings.optimizer == adam_w, "--weight-decay is an option of --optimizer adamw");
        let is_of_words = settings.vocabulary.is_some();
        ensure!(args.vocabulary.is_none() || is_of_words, "--vocabulary is an option of --words");
        let size = settings.vocabulary.unwrap_or(2);
        ensure!(size >= 2, "--vocabulary is {size}, expected at least 2: the unknown word and another");
        ensure!(!is_of_words || settings.layers > 0, "--layers is 0, expected at least 1");
        let between = settings.dropout == 0.0 || settings.layers > 1 || is_of_words;
        ensure!(between, "--dropout acts between layers, and there is one layer: ask for more with --layers");
        let elman = settings.cell == CellName::Elman;
        ensure!(args.activation.is_none() || elman, "--activation is an option of --cell elman");
        Ok(settings)
    }

    /// The network for this many characters or words.
    pub fn config(&self, tokens: usize) -> Config {
        let (cell, input) = (self.cell(), InputKind::Tokens(tokens));
        let config = match self.vocabulary {
            None => Config::of_cell(cell, input, self.hidden, tokens).with_layers(self.layers),
            Some(_) => {
                let embedded = Config::new(input).embedding(self.hidden);
                let read = match self.dropout_inputs {
                    0.0 => embedded,
                    rate => embedded.layer(DropoutLayer::new(rate).over_time()),
                };
                // Of more than a network may have, some are enough for the error that says so.
                let layers = (0..self.layers.min(10_000)).fold(read, |config, _| {
                    let config = config.layer(Recurrent::new(cell, self.hidden));
                    if self.dropout == 0.0 { config } else { config.dropout(self.dropout) }
                });
                layers.outputs(tokens).tied()
            }
        };
        config.with_init(self.init).with_seed(self.seed)
    }

    /// The cell of every layer.
    pub fn cell(&self) -> Cell {
        match self.cell {
            CellName::Elman => Cell::Elman(self.activation),
            CellName::Lstm => Cell::Lstm,
            CellName::Gru => Cell::Gru(Reset::AfterProduct),
        }
    }

    /// How it is trained, where an epoch has this many steps.
    pub fn recipe(&self, epoch: u64) -> Recipe {
        let optimizer = match self.optimizer {
            OptimizerName::Sgd => Optimizer::sgd(self.momentum),
            OptimizerName::Rmsprop => Optimizer::rms_prop(),
            OptimizerName::Adam => Optimizer::adam(),
            OptimizerName::Adamw => Optimizer::adam_w(self.weight_decay),
        };
        let after = self.learning_rate_decay_after.saturating_mul(epoch);
        let decay = LearningRateSchedule::StepDecay { after, every: epoch, factor: self.learning_rate_decay };
        let schedule = if self.learning_rate_decay == 1.0 { LearningRateSchedule::Constant } else { decay };
        // Of words the rest is layers of the network.
        let (inputs, outputs) =
            if self.vocabulary.is_some() { (0.0, 0.0) } else { (self.dropout_inputs, self.dropout) };
        let dropout = Dropout::variational(inputs, self.dropout_hidden).with_outputs(outputs).with_seed(self.seed);
        Recipe::new(Loss::CrossEntropy)
            .with_dropout(dropout)
            .with_clip(self.clip)
            .with_optimizer(optimizer, self.learning_rate)
            .with_schedule(schedule)
    }
}
