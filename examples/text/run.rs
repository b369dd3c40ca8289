//! A training run made ready: fresh from the options, or taken up from a checkpoint.
//!
//! The contract: what can be wrong with options, text, files and checkpoint is found here, before the first step.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use recurrent::{
    Checkpoint, Error, Model, Trainer,
    data::{Held, Windows},
};

use crate::{
    args::{CHECKPOINT, Common, PLOT, Split, TrainArgs},
    devices,
    notes::{self, Notes},
    plot,
    progress::Progress,
    report::{Report, thousands},
    settings::Settings,
    text::{self, Text},
};

pub struct Run {
    pub notes: Notes,
    pub windows: Windows,
    /// `None` where no text is kept for validation.
    pub held: Option<Held>,
    pub trainer: Trainer,
    pub checkpoint: PathBuf,
    pub plot: PathBuf,
}

impl Run {
    pub fn prepare(args: &TrainArgs, common: &Common, report: &Report) -> Result<Self> {
        let found = args.resume.as_deref().map(notes::load).transpose()?;
        let (checkpoint, notes, text) = match found {
            Some((checkpoint, notes)) => {
                let (notes, text) = resumed(args, notes)?;
                (checkpoint, notes, text)
            }
            None => fresh(args)?,
        };
        let (windows, held) = cut(&text, &notes.settings)?;
        check_progress(&checkpoint, &notes, windows.len() as u64)?;
        let path = args.checkpoint.as_deref().or(args.resume.as_deref()).unwrap_or(Path::new(CHECKPOINT)).to_owned();
        let plot = args.plot.as_deref().unwrap_or(Path::new(PLOT)).to_owned();
        make_folder(&path)?;
        make_folder(&plot)?;
        let data = notes.settings.data.as_deref().map(Path::new);
        for (a, b) in [(Some(path.as_path()), plot.as_path()), (data, path.as_path()), (data, plot.as_path())] {
            ensure!(
                !a.is_some_and(|a| same_file(a, b)),
                "{} is named twice: text, checkpoint and plot are three files",
                b.display()
            );
        }
        Checkpoint::probe(&path)?;
        plot::probe(&plot)?;
        let device = devices::open(common, report)?;
        let trainer = if args.resume.is_some() {
            Trainer::resume(&device, &checkpoint)?
        } else {
            Trainer::new(&device, &checkpoint.model, notes.settings.recipe(windows.len() as u64))?
        };
        report.line(&describe(&text, &notes.settings, &checkpoint.model, &windows))?;
        Ok(Run { notes, windows, held, trainer, checkpoint: path, plot })
    }

    /// Steps in an epoch.
    pub fn epoch(&self) -> u64 {
        self.windows.len() as u64
    }

    /// Characters in a step.
    pub fn characters(&self) -> u64 {
        self.notes.settings.seq_length as u64 * self.notes.settings.batch_size as u64
    }

    /// Writes the checkpoint and the plot.
    pub fn save(&mut self) -> Result<()> {
        let mut checkpoint = self.trainer.checkpoint()?;
        checkpoint.notes = self.notes.write()?;
        checkpoint.save(&self.checkpoint)?;
        let title = text::name(self.notes.settings.data.as_deref());
        plot::write(&self.plot, &title, &self.notes.progress, self.epoch())
    }
}

fn fresh(args: &TrainArgs) -> Result<(Checkpoint, Notes, Text)> {
    let settings = Settings::fresh(args)?;
    let text = Text::load(settings.data.as_deref())?;
    let model = Model::new(settings.config(text.alphabet.len()))?;
    let (alphabet, fingerprint) = (text.alphabet.clone(), text.fingerprint.clone());
    let notes = Notes { alphabet, fingerprint, settings, progress: Progress::default() };
    Ok((Checkpoint::from(model), notes, text))
}

fn resumed(args: &TrainArgs, notes: Notes) -> Result<(Notes, Text)> {
    let settings = notes.settings.resumed(args)?;
    let text = Text::load(settings.data.as_deref())?;
    text.check_alphabet(&notes.alphabet)?;
    let name = text::name(settings.data.as_deref());
    ensure!(text.fingerprint == notes.fingerprint, "{name} is not, or no longer, the text that the checkpoint learns");
    Ok((Notes { settings, ..notes }, text))
}

fn cut(text: &Text, settings: &Settings) -> Result<(Windows, Option<Held>)> {
    let (steps, batch) = (settings.seq_length, settings.batch_size);
    let (train, validation) = (text.part(Split::Train, settings)?, text.part(Split::Validation, settings)?);
    let windows = Windows::new(train.to_vec(), steps, batch).map_err(|error| match error {
        Error::Data(_) => anyhow::Error::new(error).context(format!(
            "the text is too short: {} to train on, of {} in all; lower --seq-length or --batch-size",
            text::count(train.len(), "character"),
            text.ids.len()
        )),
        error => error.into(),
    })?;
    if settings.validation_fraction == 0.0 {
        return Ok((windows, None));
    }
    let held = Held::new(validation.to_vec(), steps, batch)
        .with_context(|| format!("too little text for --validation-fraction {}", settings.validation_fraction))?;
    Ok((windows, Some(held)))
}

/// Fails where there is nothing left to do, or the notes tell of other epochs than the steps.
fn check_progress(checkpoint: &Checkpoint, notes: &Notes, epoch: u64) -> Result<()> {
    let steps = checkpoint.training.as_ref().map_or(0, |t| t.steps);
    let (noted, walked) = (notes.progress.epochs, steps / epoch);
    // The last epoch was walked but not validated where the run was interrupted in between.
    let is_between = steps.is_multiple_of(epoch) && noted.checked_add(1) == Some(walked);
    ensure!(noted == walked || is_between, "the checkpoint's notes tell of {noted} epochs, its steps of {walked}");
    if noted >= notes.settings.epochs {
        bail!("the checkpoint has its {} already; ask for more with --epochs", text::count(noted as usize, "epoch"));
    }
    Ok(())
}

fn make_folder(file: &Path) -> Result<()> {
    match file.parent() {
        Some(folder) => fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display())),
        None => Ok(()),
    }
}

fn describe(text: &Text, settings: &Settings, model: &Model, windows: &Windows) -> String {
    let parameters: usize = model.layout().parameters().iter().map(|p| p.len()).sum();
    format!(
        "text: {}, {} characters over {} symbols\n\
         network: {}, {} of {} hidden units, {} parameters; an epoch is {} steps of {} × {} characters",
        text::name(settings.data.as_deref()),
        thousands(text.ids.len()),
        text.alphabet.len(),
        settings.cell().name(),
        text::count(settings.layers, "layer"),
        settings.hidden,
        thousands(parameters),
        windows.len(),
        settings.batch_size,
        settings.seq_length,
    )
}

/// Whether two paths lead to one file, which need not exist yet.
fn same_file(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize().ok().or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
    };
    real(a).is_some_and(|a| real(b) == Some(a))
}
