//! What is timed: its name on the command line, its network, and the work in it as numbers.
//!
//! The contract: FLOP and bytes are those of the mathematics and the same on every device, whatever an executor does.

use anyhow::{Context, Result, anyhow, ensure};
use recurrent::internals::plan::{Plan, Purpose, Target};
use recurrent::{Clip, Config, EmbeddingUpdate, InputKind, Layout, Loss, Optimizer, Pool, Recipe, Recurrent};

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

/// The rows of the embeddings of the networks of several layers, where nobody says how many.
const TOKENS: usize = 10_000;

/// What is done with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Whole sequences in, the outputs of all steps back.
    Forward,
    /// A training step.
    Train,
    /// One step of every sequence, the state carried.
    Stream,
    /// T steps of one sequence in one call that reads them one after the other, the state carried.
    Block,
}

impl Phase {
    /// Returns the name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Forward => "forward",
            Phase::Train => "train",
            Phase::Stream => "stream",
            Phase::Block => "block",
        }
    }
}

/// A recurrent layer with a read-out at every step, or a network of several layers that has a name, over a window of T
/// steps of B sequences.
#[derive(Clone, Debug)]
pub struct Work {
    /// The cell or the network's name, as it was given.
    pub cell: String,
    /// B.
    pub batch: usize,
    /// T.
    pub steps: usize,
    /// I, of several layers the number of tokens.
    pub inputs: usize,
    /// H, of several layers the first recurrent one's.
    pub hidden: usize,
    /// V.
    pub classes: usize,
    /// The network.
    pub config: Config,
    /// Multiplications of a forward pass at every step of a sequence.
    every_step: usize,
    /// Multiplications of a forward pass once for each sequence, and whether there is a label for each in place of one
    /// for every step.
    at_the_end: Option<usize>,
}

impl Work {
    /// Parses `CELL:B,T,I,H,V`, `NAME:B,T` or, with so many tokens in place of 10,000, `NAME:B,T,TOKENS`.
    pub fn parse(text: &str) -> Result<Self> {
        let expected = || {
            format!(
                "`{text}` is not work, expected CELL:B,T,I,H,V, NAME:B,T or NAME:B,T,TOKENS, elman:16,64,64,128,64 or \
                 words:20,35 say"
            )
        };
        let (cell, sizes) = text.split_once(':').with_context(expected)?;
        let sizes: Vec<&str> = sizes.split(',').collect();
        let number = |text: &&str| text.parse::<usize>().with_context(|| format!("`{text}` is not a size"));
        let sizes = sizes.iter().map(number).collect::<Result<Vec<_>>>().with_context(expected)?;
        let tokens = sizes.get(2).copied().unwrap_or(TOKENS);
        if let Some(network) = Work::of_layers(cell, tokens) {
            let ([batch, steps] | [batch, steps, _]) = sizes[..] else {
                let given = sizes.len();
                return Err(anyhow!("{given} sizes given, expected B and T, and TOKENS or not")).with_context(expected);
            };
            ensure!(batch > 0 && steps > 0 && tokens > 0, "`{text}`: a size is 0, expected at least 1");
            return Ok(Work { batch, steps, ..network });
        }
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
            _ => {
                let expected = "elman, lstm or gru, or a network words, words-tied, classes or classes-lazy";
                return Err(anyhow!("`{text}`: there is no cell `{cell}`, expected {expected}"));
            }
        };
        let config = config(InputKind::Dense(inputs), hidden, classes);
        let (cell, at_the_end) = (cell.to_owned(), None);
        let mut work = Work { cell, batch, steps, inputs, hidden, classes, config, every_step: 0, at_the_end };
        work.every_step = work.gates() * hidden * (inputs + hidden) + hidden * classes;
        Ok(work)
    }

    /// Returns the same work with so many recurrent layers, each as wide as the first.
    pub fn with_layers(self, layers: usize) -> Self {
        let more = layers.saturating_sub(1) * self.gates() * self.hidden * 2 * self.hidden;
        Work { config: self.config.clone().with_layers(layers), every_step: self.every_step + more, ..self }
    }

    /// Returns the network of several layers that has that name, its B and T not said yet.
    fn of_layers(name: &str, tokens: usize) -> Option<Self> {
        let input = InputKind::Tokens(tokens);
        let (config, hidden, every_step, at_the_end) = match name {
            "words" | "words-tied" => {
                let config = Config::new(input).embedding(256).layer(Recurrent::lstm(512)).layer(Recurrent::lstm(256));
                let config = config.outputs(tokens);
                let config = if name == "words" { config } else { config.tied() };
                (config, 512, 4 * 512 * (256 + 512) + 4 * 256 * (512 + 256) + 256 * tokens, None)
            }
            "classes" | "classes-lazy" => {
                let config = Config::new(input).embedding(128).layer(Recurrent::gru(128).bidirectional());
                (config.pool(Pool::Max).outputs(5), 128, 2 * 3 * 128 * (128 + 128), Some(2 * 128 * 5))
            }
            _ => return None,
        };
        let (cell, inputs, classes, batch, steps) = (name.to_owned(), tokens, config.outputs, 0, 0);
        Some(Work { cell, batch, steps, inputs, hidden, classes, config, every_step, at_the_end })
    }

    /// Whether it is a network of several layers, of which a training step is timed and nothing else.
    pub fn is_of_layers(&self) -> bool {
        self.config.layers.len() > 1
    }

    /// Returns how many labels a window has, or `None` where that is more than there are numbers.
    pub fn labels(&self) -> Option<usize> {
        if self.at_the_end.is_some() { Some(self.batch) } else { self.steps.checked_mul(self.batch) }
    }

    /// Returns how the network is trained.
    pub fn recipe(&self) -> Recipe {
        let lazy = self.cell == "classes-lazy";
        Recipe::new(Loss::CrossEntropy)
            .with_clip(Clip::Norm(1.0))
            .with_optimizer(Optimizer::adam(), 1e-3)
            .with_embedding_update(if lazy { EmbeddingUpdate::Lazy } else { EmbeddingUpdate::Exact })
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
        let rows = self.steps_of(phase) as f64 * self.batch as f64;
        let forward = 2.0 * (rows * self.every_step as f64 + (self.batch * self.at_the_end.unwrap_or(0)) as f64);
        if phase == Phase::Train { 3.0 * forward } else { forward }
    }

    /// Counts the bytes that have to move where nothing stays in a cache from one use to the next: each tensor of f32
    /// as often as it is written and read anew.
    ///
    /// # Errors
    /// Same as [`Plan::new`]: the sizes are those of a training's tensors; a network of several layers.
    pub fn bytes(&self, phase: Phase) -> Result<f64> {
        ensure!(!self.is_of_layers(), "{self}: the traffic of several layers is not counted, so there is no floor");
        let (steps, recipe) = (self.steps_of(phase), self.recipe());
        let (plan, tensors) = Plan::new(&self.config, Purpose::Train(&recipe), steps, self.batch, &Target::cpu())?;
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
