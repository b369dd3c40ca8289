//! The clock: each phase as something to repeat, and the median over the repeats.
//!
//! The contract: a repeat is what a caller waits for, the upload of the inputs and the reading of the results included.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent::{
    Batch, BatchShape, Device, InputKind, Inputs, Model, Profile, RealTimePredictor, Recipe, Sequences,
    StreamingPredictor, Targets, Trainer,
};

use super::work::{Phase, Work};

/// Before the clock starts: the first repeat compiles kernels and fills caches.
pub const WARM_UP: usize = 3;

/// Repeats after which the median has settled.
const MOST: usize = 200;

/// How often something is repeated.
#[derive(Clone, Copy)]
pub struct Repeats {
    /// Before the clock starts: the first compiles kernels and fills caches.
    pub warm_up: usize,
    /// Timed, however long they take.
    pub fewest: usize,
    /// After which there are no more of them.
    pub seconds: f64,
}

/// A call of this is what is timed.
pub type Repeat<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// FLOP of the steps of one sequence that are timed at once, and how many steps these are at most.
const FLOP: f64 = 1e7;
const STEPS: f64 = 1000.0;

/// A median, and of how many repeats.
#[derive(Clone, Copy)]
pub struct Median {
    /// Milliseconds.
    pub ms: f64,
    /// Those of the fastest.
    pub least: f64,
    /// How many there were.
    pub repeats: usize,
}

/// A network and what it is fed.
pub struct Subject {
    model: Model,
    recipe: Recipe,
    steps: usize,
    batch: usize,
    window: Batch,
    outputs: usize,
    /// Of one step of a stream.
    flop: f64,
    /// `[B, I]`: of the first step; of tokens none.
    first: Vec<f32>,
}

impl Subject {
    /// Draws a network and its inputs, the same every time.
    pub fn new(work: &Work) -> Result<Self> {
        let &Work { batch, steps, inputs, classes, .. } = work;
        // The model first: it refuses sizes that the data could not be drawn for.
        let model = Model::new(work.config.clone())?;
        let positions = steps.checked_mul(batch).context("T·B overflows")?;
        let labels = work.labels().context("T·B overflows")?;
        let mut rng = ChaCha12Rng::seed_from_u64(0);
        let shape = BatchShape { steps, batch_size: batch };
        let (sequences, first) = match work.config.input {
            InputKind::Tokens(tokens) => {
                let x = (0..positions).map(|_| rng.random_range(0..tokens as u32)).collect();
                (Sequences::tokens(shape, x), Vec::new())
            }
            _ => {
                let values = positions.checked_mul(inputs).context("T·B·I overflows")?;
                let x: Vec<f32> = (0..values).map(|_| rng.random_range(-1.0..1.0)).collect();
                let first = x[..batch * inputs].to_vec();
                (Sequences::dense(shape, x), first)
            }
        };
        let y = (0..labels).map(|_| rng.random_range(0..classes as u32)).collect();
        let window = Batch::new(sequences, Targets::Classes(y));
        let (outputs, flop) = (work.config.outputs, work.flop(Phase::Stream));
        Ok(Subject { model, recipe: work.recipe(), steps, batch, window, outputs, flop, first })
    }

    /// Returns what a phase repeats on a device; a call of it returns when its result is there, and is so many times
    /// the phase: what takes less than the clock does is timed many times at once.
    pub fn on(&self, device: &Device, phase: Phase) -> Result<(Repeat<'_>, usize)> {
        if device.is_gpu() || self.batch > 1 || !matches!(phase, Phase::Stream | Phase::Block) {
            return Ok((self.on_plans(device, phase)?, 1));
        }
        let mut predictor = RealTimePredictor::new(&self.model)?;
        let Inputs::Dense(x) = &self.window.sequences.inputs else { bail!("a stream reads numbers") };
        let mut y = vec![0.0; self.steps * self.outputs];
        if phase == Phase::Block {
            let repeat = move || {
                predictor.block(x, &mut y)?;
                black_box(&mut y);
                Ok(())
            };
            return Ok((Box::new(repeat), 1));
        }
        let (features, outputs) = (x.len() / self.steps, self.outputs);
        let steps = (FLOP / self.flop).clamp(1.0, STEPS) as usize;
        let repeat = move || {
            for x in x.chunks_exact(features).cycle().take(steps) {
                predictor.step(x, &mut y[..outputs])?;
                black_box(&mut y);
            }
            Ok(())
        };
        Ok((Box::new(repeat), steps))
    }

    /// The same where a plan is run.
    fn on_plans(&self, device: &Device, phase: Phase) -> Result<Repeat<'_>> {
        if phase == Phase::Train {
            let mut trainer = Trainer::new(device, &self.model, self.recipe.clone())?;
            return Ok(Box::new(move || {
                trainer.step(&self.window)?;
                // The call that waits: without it the clock would stop before the device does.
                Ok(trainer.metrics().map(drop)?)
            }));
        }
        let mut stream = StreamingPredictor::new(device, &self.model, self.batch)?;
        Ok(match phase {
            Phase::Stream => Box::new(move || Ok(stream.step(&self.first).map(drop)?)),
            _ => Box::new(move || Ok(stream.sequence(self.steps, &self.window.sequences.inputs).map(drop)?)),
        })
    }

    /// Measures where the time of a training step goes, of one after the warm-up.
    pub fn profile(&self, device: &Device) -> Result<Profile> {
        let mut trainer = Trainer::new(device, &self.model, self.recipe.clone())?;
        for _ in 0..WARM_UP {
            trainer.step(&self.window)?;
            trainer.metrics()?;
        }
        Ok(trainer.profile(&self.window)?)
    }
}

/// Repeats and takes the median.
pub fn median(repeats: Repeats, (mut repeat, times_a_call): (Repeat<'_>, usize)) -> Result<Median> {
    for _ in 0..repeats.warm_up {
        repeat()?;
    }
    let begin = Instant::now();
    let mut times = Vec::with_capacity(MOST);
    while times.len() < repeats.fewest || (times.len() < MOST && begin.elapsed().as_secs_f64() < repeats.seconds) {
        let start = Instant::now();
        repeat()?;
        times.push(milliseconds(start));
    }
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    let ms = if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 };
    let [ms, least] = [ms, times[0]].map(|ms| ms / times_a_call as f64);
    Ok(Median { ms, least, repeats: times.len() })
}

/// Returns the milliseconds since then.
pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
