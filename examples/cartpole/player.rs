//! A policy that plays: what it has seen of each episode is its state in a stream.
//!
//! The contract: a policy without memory is the same network, taken back to its initial state before every step; what
//! is chosen is settled by what is drawn from.

use anyhow::{Context, Result};
use rand::{RngExt, rngs::ChaCha12Rng};
use recurrent::{Device, Model, State, StreamingPredictor};

use crate::pole::{After, OBSERVED, Pole};

/// A push to the left, or to the right.
pub const ACTIONS: usize = 2;
/// The head that says what reward is still to come.
pub const VALUE: &str = "value";

/// Episodes side by side, one sequence each.
pub struct Player {
    stream: StreamingPredictor,
    has_memory: bool,
    /// `[B, 2]`: of each episode's next action.
    pub logits: Vec<f32>,
    /// `[B]`: what the head `value` says.
    pub values: Vec<f32>,
}

impl Player {
    /// A player of `count` episodes, in the initial state.
    pub fn new(device: &Device, model: &Model, has_memory: bool, count: usize) -> Result<Self> {
        let stream = StreamingPredictor::new(device, model, count)?;
        Ok(Player { stream, has_memory, logits: Vec::new(), values: Vec::new() })
    }

    /// Sees one more step of every episode, `[B, 2]`.
    pub fn see(&mut self, observed: &[f32]) -> Result<()> {
        if !self.has_memory {
            self.stream.reset()?;
        }
        self.logits.clear();
        self.logits.extend_from_slice(self.stream.step(observed)?);
        self.values.clear();
        self.values.extend_from_slice(self.stream.head(VALUE).context("the network has no head `value`")?);
        Ok(())
    }

    /// Forgets one episode.
    pub fn forget(&mut self, episode: usize) -> Result<()> {
        Ok(self.stream.reset_sequence(episode)?)
    }

    /// Returns what it remembers.
    pub fn state(&mut self) -> Result<State> {
        Ok(self.stream.state()?)
    }

    /// Goes on from what another remembers.
    pub fn set_state(&mut self, state: &State) -> Result<()> {
        Ok(self.stream.set_state(state)?)
    }
}

/// Returns the logarithms of the actions' probabilities.
pub fn log_probabilities(logits: &[f32]) -> [f64; ACTIONS] {
    let gap = f64::from(logits[1]) - f64::from(logits[0]);
    // ln σ(±gap), of whatever size.
    let log_sigmoid = |x: f64| x.min(0.0) - (-x.abs()).exp().ln_1p();
    [log_sigmoid(-gap), log_sigmoid(gap)]
}

/// Draws an action.
pub fn draw(logits: &[f32], rng: &mut ChaCha12Rng) -> usize {
    usize::from(rng.random::<f64>() < log_probabilities(logits)[1].exp())
}

/// How actions are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The likeliest.
    Greedy,
    /// By their probabilities.
    Drawn,
}

/// What was seen and done at a step: position, angle, and whether it was a push to the right.
pub type Moment = (f64, f64, bool);

/// Plays so many episodes, each to its end.
pub fn episodes(player: &mut Player, count: usize, choice: Choice, rng: &mut ChaCha12Rng) -> Result<Vec<Vec<Moment>>> {
    let mut poles: Vec<Pole> = (0..count).map(|_| Pole::new(rng)).collect();
    let mut played = vec![Vec::new(); count];
    let mut is_over = vec![false; count];
    let mut observed = Vec::with_capacity(count * OBSERVED);
    while is_over.contains(&false) {
        observed.clear();
        observed.extend(poles.iter().flat_map(Pole::observed));
        player.see(&observed)?;
        for (at, logits) in player.logits.chunks_exact(ACTIONS).enumerate() {
            // What is over is seen on, and pushed no further.
            if is_over[at] {
                continue;
            }
            let right = match choice {
                Choice::Greedy => logits[1] > logits[0],
                Choice::Drawn => draw(logits, rng) == 1,
            };
            let (position, angle) = poles[at].place();
            played[at].push((position, angle, right));
            is_over[at] = poles[at].push(right) != After::Step;
        }
    }
    Ok(played)
}

/// The mean reward of episodes.
pub fn mean_reward(episodes: &[Vec<Moment>]) -> f64 {
    episodes.iter().map(Vec::len).sum::<usize>() as f64 / episodes.len() as f64
}
