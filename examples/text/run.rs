//! A training run made ready: fresh from the options, or taken up from a checkpoint.
//!
//! The contract: what can be wrong with options, text, files and checkpoint is found here, before the first step.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use recurrent::BatchShape;
use recurrent::{
    Checkpoint, EarlyStopping, Error, Model, Trainer,
    checkpoint::Lock,
    data::{HeldOutWindows, Windows},
};
use recurrent_examples::{device, files, report::Report, sibling_path::sibling_path};

use crate::{
    args::{CHECKPOINT, Common, PLOT, Split, TrainArgs},
    events::{Event, thousands, unknown},
    ngram::Ngram,
    notes::{self, Notes},
    plot,
    progress::Progress,
    settings::Settings,
    text::{self, Text},
    tokenizer::{Tokenizer, Unit},
};

pub struct Run {
    pub notes: Notes,
    pub windows: Windows,
    /// `None` where no text is kept for validation.
    pub held: Option<HeldOutWindows>,
    /// What is tested at the end, cut and as it is; `None` where too little text is left.
    pub test: Option<(HeldOutWindows, Vec<u32>)>,
    /// What an n-gram model of the same words reaches.
    pub ngram: Ngram,
    pub trainer: Trainer,
    /// Keeps the network of the best validation.
    pub stopping: EarlyStopping,
    /// Where the network is saved; what the training goes on with lies beside it.
    pub checkpoint: PathBuf,
    pub plot: PathBuf,
    /// Held while the run lasts: no other training writes the same files.
    _lock: Lock,
}

impl Run {
    pub fn prepare(args: &TrainArgs, common: &Common, report: &Report) -> Result<Self> {
        let found = args.resume.as_deref().map(load).transpose()?;
        let (checkpoint, notes, text, best) = match found {
            Some((checkpoint, notes, best)) => {
                let (notes, text) = resumed(args, notes)?;
                (checkpoint, notes, text, best)
            }
            None => fresh(args)?,
        };
        let (windows, held) = cut(&text, &notes.settings)?;
        let left = text.part(Split::Test, &notes.settings)?;
        let test = HeldOutWindows::new(
            left.to_vec(),
            BatchShape { steps: notes.settings.seq_length, batch_size: notes.settings.batch_size },
        )
        .ok();
        let test = test.map(|held| (held, left.to_vec()));
        let stopping = EarlyStopping::resume(notes.settings.patience, best, notes.progress.since_best())?;
        check_progress(&checkpoint, &notes, windows.len() as u64, &stopping)?;
        let path = args.checkpoint.as_deref().or(args.resume.as_deref()).unwrap_or(Path::new(CHECKPOINT)).to_owned();
        let plot = args.plot.as_deref().unwrap_or(Path::new(PLOT)).to_owned();
        files::prepare(notes.settings.data.as_deref().map(Path::new), &[&path, &training_of(&path)], &[&plot])?;
        let lock = Checkpoint::lock(&path)?;
        let device = device::open(&common.device, report)?;
        let trainer = if args.resume.is_some() {
            let mut trainer = Trainer::resume(&device, &checkpoint)?;
            let (before, now) = (trainer.learning_rate(), notes.settings.rate());
            if before != now {
                trainer.set_learning_rate(now)?;
                report.event(&Event::LearningRate { before, now })?;
                report.line(&format!("the learning rate is {now} from here on; so far it was {before}"))?;
            }
            trainer
        } else {
            Trainer::new(&device, &checkpoint.model, notes.settings.recipe(windows.len() as u64))?
        };
        report.line(&describe(&text, &notes.settings, &checkpoint.model, &windows)?)?;
        let ngram = Ngram::measure(&text, &notes.settings)?;
        ngram.tell(report)?;
        Ok(Run { notes, windows, held, test, ngram, trainer, stopping, checkpoint: path, plot, _lock: lock })
    }

    /// Whether all epochs are done, or none better is to be expected.
    pub fn is_over(&self) -> bool {
        self.notes.progress.epochs >= self.notes.settings.epochs || !self.stopping.should_continue()
    }

    /// Steps in an epoch.
    pub fn epoch(&self) -> u64 {
        self.windows.len() as u64
    }

    /// What is read one by one.
    pub fn unit(&self) -> Unit {
        self.notes.tokenizer.unit()
    }

    /// Characters or words in a step.
    pub fn tokens(&self) -> u64 {
        self.notes.settings.seq_length as u64 * self.notes.settings.batch_size as u64
    }

    /// The network of the best validation; where none was made, as it is now.
    pub fn network(&mut self) -> Result<Model> {
        match self.stopping.best() {
            Some((_, best)) => Ok(best.clone()),
            None => Ok(self.trainer.model()?),
        }
    }

    /// Writes the network, what the training goes on with, and the plot.
    pub fn save(&mut self) -> Result<()> {
        // In this order: a training that is taken up finds a network that is at least as far as it is.
        let (network, training) = (Checkpoint::from(self.network()?), self.trainer.checkpoint()?);
        for (mut checkpoint, path) in [(network, self.checkpoint.clone()), (training, training_of(&self.checkpoint))] {
            checkpoint.notes = self.notes.write()?;
            checkpoint.save(&path)?;
        }
        let title = text::name(self.notes.settings.data.as_deref());
        plot::write(&self.plot, (&title, self.unit()), &self.notes.progress, self.epoch())
    }
}

/// A loss on the validation part, and the network that has it.
type Best = Option<(f64, Model)>;

/// Where the training lies whose network is in `checkpoint`.
fn training_of(checkpoint: &Path) -> PathBuf {
    sibling_path(checkpoint, "training")
}

/// The training that lies beside a network, and what was best in it.
fn load(path: &Path) -> Result<(Checkpoint, Notes, Best)> {
    let (network, of) = notes::load(path)?;
    let (checkpoint, notes) = notes::load(&training_of(path))
        .with_context(|| format!("there is no training to go on with beside {}", path.display()))?;
    // One epoch more where the program was killed between the two.
    let is_one = of.fingerprint == notes.fingerprint
        && of.settings.is_of(&notes.settings)
        && of.progress.epochs >= notes.progress.epochs
        && network.model.config() == checkpoint.model.config();
    ensure!(is_one, "{} and {} are of two trainings", path.display(), training_of(path).display());
    let best = notes.progress.best().map(|point| (point.nats, network.model));
    Ok((checkpoint, notes, best))
}

fn fresh(args: &TrainArgs) -> Result<(Checkpoint, Notes, Text, Best)> {
    let settings = Settings::fresh(args)?;
    let text = Text::load(&settings)?;
    let model = Model::new(settings.config(text.tokenizer.len()))?;
    let (tokenizer, fingerprint) = (text.tokenizer.clone(), text.fingerprint.clone());
    let notes = Notes { tokenizer, fingerprint, settings, progress: Progress::default() };
    Ok((Checkpoint::from(model), notes, text, None))
}

fn resumed(args: &TrainArgs, notes: Notes) -> Result<(Notes, Text)> {
    let settings = notes.settings.resumed(args)?;
    let text = Text::load(&settings)?;
    text.check_tokenizer(&notes.tokenizer)?;
    let name = text::name(settings.data.as_deref());
    ensure!(text.fingerprint == notes.fingerprint, "{name} is not, or no longer, the text that the checkpoint learns");
    Ok((Notes { settings, ..notes }, text))
}

fn cut(text: &Text, settings: &Settings) -> Result<(Windows, Option<HeldOutWindows>)> {
    let (steps, batch) = (settings.seq_length, settings.batch_size);
    let (train, validation) = (text.part(Split::Train, settings)?, text.part(Split::Validation, settings)?);
    let windows =
        Windows::new(train.to_vec(), BatchShape { steps, batch_size: batch }).map_err(|error| match error {
            Error::Data(_) => anyhow::Error::new(error).context(format!(
                "the text is too short: {} to train on, of {} in all; lower --seq-length or --batch-size",
                text::count(train.len(), text.tokenizer.unit().name()),
                text.ids.len()
            )),
            error => error.into(),
        })?;
    if settings.validation_fraction == 0.0 {
        return Ok((windows, None));
    }
    let held = HeldOutWindows::new(validation.to_vec(), BatchShape { steps, batch_size: batch })
        .with_context(|| format!("too little text for --validation-fraction {}", settings.validation_fraction))?;
    Ok((windows, Some(held)))
}

/// Fails where there is nothing left to do, or the notes tell of other epochs than the steps.
fn check_progress(checkpoint: &Checkpoint, notes: &Notes, epoch: u64, stopping: &EarlyStopping) -> Result<()> {
    let steps = checkpoint.training.as_ref().map_or(0, |t| t.steps);
    let (noted, walked) = (notes.progress.epochs, steps / epoch);
    // The last epoch was walked but not validated where the run was interrupted in between.
    let is_between = steps.is_multiple_of(epoch) && noted.checked_add(1) == Some(walked);
    ensure!(noted == walked || is_between, "the checkpoint's notes tell of {noted} epochs, its steps of {walked}");
    ensure!(
        noted < notes.settings.epochs,
        "the checkpoint has its {} already; ask for more with --epochs",
        text::count(noted as usize, "epoch")
    );
    ensure!(
        stopping.should_continue(),
        "the training is over: {} in a row no better than the best; ask for more with --patience",
        text::count(stopping.since_best(), "validation")
    );
    Ok(())
}

fn describe(text: &Text, settings: &Settings, model: &Model, windows: &Windows) -> Result<String> {
    let parameters: usize = model.layout().parameters().iter().map(|p| p.len()).sum();
    let (unit, tokens) = (text.tokenizer.unit().name(), text.tokenizer.len());
    let over = match &text.tokenizer {
        Tokenizer::Characters(_) => text::count(tokens, unit),
        Tokenizer::Words(_) => {
            let share = |split| {
                let part = text.part(split, settings)?;
                Ok::<_, anyhow::Error>(unknown(part) as f64 * 100.0 / part.len().max(1) as f64)
            };
            let (train, test) = (share(Split::Train)?, share(Split::Test)?);
            format!(
                "a vocabulary of {} (marks and line ends count), which lacks {train:.1} % of the training part and \
                 {test:.1} % of the test part",
                thousands(tokens)
            )
        }
    };
    Ok(format!(
        "text: {}, {} {unit}s over {over}\n\
         network: {}, {} of {} hidden units, {} parameters; an epoch is {} steps of {} × {} {unit}s",
        text::name(settings.data.as_deref()),
        thousands(text.ids.len()),
        settings.cell().name(),
        text::count(settings.layers, "layer"),
        settings.hidden,
        thousands(parameters),
        windows.len(),
        settings.batch_size,
        settings.seq_length,
    ))
}
