//! What a policy did in many environments side by side, and how much better than expected each action was.
//!
//! The contract: rows are `[T, B]`, time outermost. An episode that fell ends with its last row; one that was cut off
//! goes on for one row that is only looked at, for the reward that was still to come, and counts for nothing else.

use anyhow::Result;
use rand::rngs::ChaCha12Rng;
use recurrent::State;

use crate::{
    player::{self, ACTIONS, Player},
    pole::{After, OBSERVED, Pole},
};

/// What a reward is worth a step later.
const DISCOUNT: f64 = 0.99;
/// λ of generalised advantage estimation.
const TRACE: f64 = 0.95;
/// So that all reward to come is about 1 where the pole never falls.
const REWARD: f64 = 1.0 - DISCOUNT;
/// What is added to the deviation by which advantages are divided: where no pole falls they are all but 0, and noise
/// that is made as large as they were would undo what has been learned.
const LEAST_DEVIATION: f64 = 0.05;

/// What is next in an environment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A push.
    Push,
    /// A look at where an episode was cut off.
    Look,
    /// Another episode.
    Begin,
}

/// Environments in which a policy learns.
pub struct Environments {
    poles: Vec<(Pole, Next)>,
    rng: ChaCha12Rng,
}

/// What happened in so many steps of all environments, `[T, B]`.
pub struct Rollout {
    /// What the policy remembered before the first step.
    pub start: State,
    /// `[T, B, 2]`.
    pub observed: Vec<f32>,
    /// Before which steps of which environment another episode began.
    pub resets: Vec<(usize, usize)>,
    pub actions: Vec<usize>,
    /// ln of the probability with which the action was drawn.
    pub log_probabilities: Vec<f64>,
    /// Whether there was an action at all.
    pub counts: Vec<bool>,
    /// How much better than expected what followed was, of mean 0 and a variance of at most 1 over those that count.
    pub advantages: Vec<f64>,
    /// What the head `value` should have said.
    pub returns: Vec<f64>,
    /// The rewards of the episodes that ended.
    pub rewards: Vec<usize>,
}

impl Environments {
    /// So many, each at the beginning of an episode.
    pub fn new(count: usize, mut rng: ChaCha12Rng) -> Self {
        let poles = (0..count).map(|_| (Pole::new(&mut rng), Next::Push)).collect();
        Environments { poles, rng }
    }

    /// Plays so many steps of all and leaves the player where the next go on; `None` where the network has diverged.
    pub fn play(&mut self, player: &mut Player, steps: usize) -> Result<Option<Rollout>> {
        let (count, rows) = (self.poles.len(), steps * self.poles.len());
        let mut rollout = Rollout {
            start: player.state()?,
            observed: Vec::with_capacity(rows * OBSERVED),
            resets: Vec::new(),
            actions: vec![0; rows],
            log_probabilities: vec![0.0; rows],
            counts: vec![false; rows],
            advantages: Vec::new(),
            returns: Vec::new(),
            rewards: Vec::new(),
        };
        let mut has_fallen = vec![false; rows];
        let mut values = Vec::with_capacity(rows + count);
        for step in 0..steps {
            for (b, (pole, next)) in self.poles.iter_mut().enumerate().filter(|(_, (_, next))| *next == Next::Begin) {
                (*pole, *next) = (Pole::new(&mut self.rng), Next::Push);
                player.forget(b)?;
                rollout.resets.push((step, b));
            }
            self.see(player)?;
            if !player.logits.iter().chain(&player.values).all(|output| output.is_finite()) {
                return Ok(None);
            }
            rollout.observed.extend(self.poles.iter().flat_map(|(pole, _)| pole.observed()));
            values.extend(player.values.iter().map(|value| f64::from(*value)));
            for (b, (pole, next)) in self.poles.iter_mut().enumerate() {
                if *next == Next::Look {
                    *next = Next::Begin;
                    continue;
                }
                let (row, logits) = (step * count + b, &player.logits[b * ACTIONS..(b + 1) * ACTIONS]);
                let action = player::draw(logits, &mut self.rng);
                rollout.actions[row] = action;
                rollout.log_probabilities[row] = player::log_probabilities(logits)[action];
                rollout.counts[row] = true;
                let after = pole.push(action == 1);
                has_fallen[row] = after == After::Fall;
                *next = match after {
                    After::Step => Next::Push,
                    After::Fall => Next::Begin,
                    After::CutOff => Next::Look,
                };
                if after != After::Step {
                    rollout.rewards.push(pole.steps());
                }
            }
        }
        // What is still to come after the last step is asked for, and forgotten: that step is the next rollout's first.
        let state = player.state()?;
        self.see(player)?;
        values.extend(player.values.iter().map(|value| f64::from(*value)));
        player.set_state(&state)?;
        rollout.judge(&values, &has_fallen, count);
        Ok(Some(rollout))
    }

    fn see(&self, player: &mut Player) -> Result<()> {
        let observed: Vec<f32> = self.poles.iter().flat_map(|(pole, _)| pole.observed()).collect();
        player.see(&observed)
    }
}

impl Rollout {
    /// Generalised advantage estimation (Schulman et al. 2016, equation 16), from the values `[T + 1, B]`.
    fn judge(&mut self, values: &[f64], has_fallen: &[bool], count: usize) {
        let rows = has_fallen.len();
        (self.advantages, self.returns) = (vec![0.0; rows], vec![0.0; rows]);
        for row in (0..rows).rev().filter(|row| self.counts[*row]) {
            let after = row + count;
            // Of what follows nothing is known where the pole fell, and the value alone where the episode was cut off.
            let goes_on = f64::from(u8::from(!has_fallen[row]));
            let later = if self.counts.get(after) == Some(&true) { self.advantages[after] } else { 0.0 };
            let surprise = REWARD + DISCOUNT * goes_on * values[after] - values[row];
            self.advantages[row] = surprise + DISCOUNT * TRACE * goes_on * later;
            self.returns[row] = self.advantages[row] + values[row];
        }
        let counted = || self.advantages.iter().zip(&self.counts).filter(|(_, counts)| **counts).map(|(a, _)| *a);
        let n = counted().count().max(1) as f64;
        let mean = counted().sum::<f64>() / n;
        let deviation = (counted().map(|a| (a - mean).powi(2)).sum::<f64>() / n).sqrt();
        self.advantages.iter_mut().for_each(|a| *a = (*a - mean) / (deviation + LEAST_DEVIATION));
    }
}
