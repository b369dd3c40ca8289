//! What is timed: its name on the command line, its network, and the work in it as numbers.
//!
//! The contract: FLOP and bytes are those of the mathematics and the same on every device, whatever an executor does.

use anyhow::{Context, Result, anyhow, ensure};
use recurrent::internals::plan::{Plan, Purpose, Target};
use recurrent::{Clip, Config, InputKind, Layout, Loss, Optimizer, Recipe};

/// What is timed where nothing else is asked for: each cell at one size, one sequence alone, and a size at which a GPU
/// has something to do.
pub const DEFAULT: [&str; 6] = [
    "elman:16,64,64,128,64",
    "lstm:1,128,32,64,64",
    "lstm:16,64,64,128,64",
    "gru:16,64,64,128,64",
    "lstm:64,64,128,256,64",
    "gru:64,64,128,256,64",
];

/// What is done with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Whole sequences in, the outputs of all steps back.
    Forward,
    /// A training step.
    Train,
    /// One step of every sequence, the state carried.
    Stream,
}

impl Phase {
    /// Returns the name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Forward => "forward",
            Phase::Train => "train",
            Phase::Stream => "stream",
        }
    }
}

/// A recurrent layer with a read-out at every step, over a window of T steps of B sequences.
#[derive(Clone, Debug)]
pub struct Work {
    /// As it was given.
    pub cell: String,
    /// B.
    pub batch: usize,
    /// T.
    pub steps: usize,
    /// I.
    pub inputs: usize,
    /// H.
    pub hidden: usize,
    /// V.
    pub classes: usize,
    /// The network.
    pub config: Config,
}

impl Work {
    /// Parses `CELL:B,T,I,H,V`.
    pub fn parse(text: &str) -> Result<Self> {
        let expected = || format!("`{text}` is not work, expected CELL:B,T,I,H,V, elman:16,64,64,128,64 say");
        let (cell, sizes) = text.split_once(':').with_context(expected)?;
        let sizes: Vec<&str> = sizes.split(',').collect();
        let number = |text: &&str| text.parse::<usize>().with_context(|| format!("`{text}` is not a size"));
        let sizes = sizes.iter().map(number).collect::<Result<Vec<_>>>().with_context(expected)?;
        let sizes: [usize; 5] = sizes
            .try_into()
            .map_err(|sizes: Vec<_>| anyhow!("{} sizes given, expected 5", sizes.len()))
            .with_context(expected)?;
        for (letter, size) in ["B", "T", "I", "H", "V"].iter().zip(sizes) {
            ensure!(size > 0, "`{text}`: {letter} is 0, expected at least 1");
        }
        let [batch, steps, inputs, hidden, classes] = sizes;
        let config: fn(InputKind, usize, usize) -> Config = match cell {
            "elman" => Config::elman,
            "lstm" => Config::lstm,
            "gru" => Config::gru,
            _ => return Err(anyhow!("`{text}`: there is no cell `{cell}`, expected elman, lstm or gru")),
        };
        let config = config(InputKind::Dense(inputs), hidden, classes);
        Ok(Work { cell: cell.to_owned(), batch, steps, inputs, hidden, classes, config })
    }

    /// G.
    fn gates(&self) -> usize {
        self.config.recurrent_layers().next().map_or(1, |layer| layer.cell.gates())
    }

    /// How many steps of every sequence a phase is over.
    fn steps_of(&self, phase: Phase) -> usize {
        if phase == Phase::Stream { 1 } else { self.steps }
    }

    /// Counts the operations of all matrix products, a multiplication and an addition being two, and nothing
    /// else.
    pub fn flop(&self, phase: Phase) -> f64 {
        let [rows, inputs, hidden, classes, gates] =
            [self.steps_of(phase) * self.batch, self.inputs, self.hidden, self.classes, self.gates()]
                .map(|size| size as f64);
        let forward = 2.0 * rows * (gates * hidden * (inputs + hidden) + hidden * classes);
        if phase == Phase::Train { 3.0 * forward } else { forward }
    }

    /// Counts the bytes that have to move where nothing stays in a cache from one use to the next: each tensor of f32
    /// as often as it is written and read anew.
    ///
    /// # Errors
    /// Same as [`Plan::new`]: the sizes are those of a training's tensors.
    pub fn bytes(&self, phase: Phase) -> Result<f64> {
        let (steps, purpose) = (self.steps_of(phase), Purpose::Train(&recipe()));
        let (plan, tensors) = Plan::new(&self.config, purpose, steps, self.batch, &Target::cpu())?;
        let bytes = |tensor| plan.get(tensor).bytes() as f64;
        let named = |name| Ok::<_, anyhow::Error>(bytes(plan.find(name).with_context(|| format!("no `{name}`"))?));
        // Not the flat tensor, in which there are gaps.
        let parameters = 4.0 * Layout::new(&self.config)?.parameter_count() as f64;
        let (x, y) = (bytes(tensors.inputs), bytes(tensors.outputs));
        let (gates, history) = (named("gates_l0")?, named("history_l0")?);
        if phase != Phase::Train {
            // W·x written and read, h written and read by the read-out.
            return Ok(parameters + x + 2.0 * gates + 2.0 * history + y);
        }
        // Read by the passes forwards and backwards, read and written by the update; the gradient written and read, two
        // moments read and written.
        let mut sum = 10.0 * parameters;
        // x read by W's product and by its gradient; W·x and its gradient, each written and read; h written and read,
        // read again by the gradients of U and V, its gradient written and read.
        sum += 2.0 * x + 4.0 * gates + 5.0 * history;
        // Logits and their gradient, each written and read.
        sum += 4.0 * y + named("targets")?;
        if self.gates() > 1 {
            // What a gated cell keeps for its gradient, written and read: the gates' values, and a number more for
            // every unit, an LSTM's c or the recurrent part of a GRU's n.
            sum += 2.0 * gates + 2.0 * 4.0 * (steps * self.batch * self.hidden) as f64;
        }
        Ok(sum)
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Work { cell, batch, steps, inputs, hidden, classes, .. } = self;
        write!(f, "{cell} B{batch} T{steps} I{inputs} H{hidden} V{classes}")
    }
}

/// Returns how the network is trained.
pub fn recipe() -> Recipe {
    Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(1.0)).with_optimizer(Optimizer::adam(), 1e-3)
}
