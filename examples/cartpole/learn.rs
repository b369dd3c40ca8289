//! A policy that learns: it plays, judges what it did, and goes over that a few times.
//!
//! The contract: policies with and without memory are of one size, from the same weights, and learn from as many steps;
//! the network that is kept is the one that did best where it played greedily, in episodes that it did not learn from.

use std::time::Instant;

use anyhow::Result;
use rand::seq::SliceRandom;
use recurrent::{
    Batch, BatchShape, Clip, Config, Device, Error, HeadTargets, InputKind, LearningRateSchedule, Loss, Model,
    Optimizer, Recipe, Recurrent, Sequences, Start, State, Targets, Trainer,
};
use recurrent_examples::{cell::CellName, shuffle, signals};

use crate::{
    player::{self, ACTIONS, Choice, Player, VALUE},
    pole::OBSERVED,
    ppo,
    rollout::{Environments, Rollout},
};

/// How often what was played is gone over.
const PASSES: usize = 4;
/// Into how many parts the environments are cut for that, a step of training each.
const PARTS: usize = 4;
/// What the loss of the values is worth beside that of the policy.
const VALUES: f64 = 0.5;
/// Updates between two evaluations.
const INTERVAL: u64 = 2;
/// Episodes of an evaluation.
const EVALUATED: usize = 32;

/// What all policies share.
pub struct Settings {
    pub cell: CellName,
    pub hidden: usize,
    pub environments: usize,
    /// Steps of an environment between two updates, through which is back-propagated.
    pub window: usize,
    pub learning_rate: f64,
    pub updates: u64,
    pub seed: u64,
}

/// Where a policy was after so many steps of all environments.
#[derive(Clone, Copy)]
pub struct Point {
    pub steps: u64,
    /// The mean reward of the episodes that ended in the last update.
    pub drawn: Option<f64>,
    /// That of an evaluation.
    pub greedy: Option<f64>,
}

/// What a training came to.
pub struct Learned {
    pub best: Model,
    pub points: Vec<Point>,
    pub seconds: f64,
    pub has_diverged: bool,
}

impl Settings {
    /// Steps of all environments between two updates.
    pub fn rows(&self) -> usize {
        self.environments * self.window
    }

    /// Environments of a part.
    fn in_part(&self) -> usize {
        self.environments.div_ceil(PARTS)
    }

    /// The network: two logits, and the reward still to come from the same units.
    pub fn config(&self) -> Config {
        let layer = match self.cell {
            CellName::Elman => Recurrent::elman(self.hidden),
            CellName::Lstm => Recurrent::lstm(self.hidden),
            CellName::Gru => Recurrent::gru(self.hidden),
        };
        Config::new(InputKind::Dense(OBSERVED)).layer(layer).head(VALUE, 1).outputs(ACTIONS).with_seed(self.seed)
    }

    /// Trains one policy; `tell` hears of every point, and of the network where it is the best so far.
    pub fn learn(
        &self,
        device: &Device,
        has_memory: bool,
        mut tell: impl FnMut(u64, &Point, Option<&Model>) -> Result<()>,
    ) -> Result<Learned> {
        let since = Instant::now();
        let model = Model::new(self.config())?;
        let parts = self.environments.div_ceil(self.in_part());
        let total = self.updates.saturating_mul((PASSES * parts) as u64);
        let recipe = Recipe::new(Loss::External)
            .with_head(VALUE, Loss::External, VALUES)
            .with_optimizer(Optimizer::adam(), self.learning_rate)
            .with_clip(Clip::Norm(0.5))
            .with_schedule(LearningRateSchedule::Linear { total, start: 1.0, end: 0.0 });
        let mut trainer = Trainer::new(device, &model, recipe)?;
        let mut environments = Environments::new(self.environments, shuffle::rng(self.seed, 0));
        let mut order: Vec<usize> = (0..self.environments).collect();
        let mut order_rng = shuffle::rng(self.seed, 1);
        let mut remembered = model.initial_state(self.environments)?;
        let mut point = Point { steps: 0, drawn: None, greedy: Some(self.evaluate(device, &model, has_memory)?) };
        let (mut best, mut reward) = (model.clone(), point.greedy);
        let (mut points, mut has_diverged, mut update, mut model) = (vec![point], false, 0, model);
        tell(update, &point, Some(&best))?;
        while update < self.updates && signals::stopped().is_none() {
            let mut player = Player::new(device, &model, has_memory, self.environments)?;
            player.set_state(&remembered)?;
            let Some(rollout) = environments.play(&mut player, self.window)? else {
                has_diverged = true;
                break;
            };
            remembered = player.state()?;
            order.shuffle(&mut order_rng);
            has_diverged = !self.update(&mut trainer, &rollout, &order, has_memory)?;
            model = trainer.model()?;
            has_diverged |= !model.values().iter().all(|value| value.is_finite());
            if has_diverged {
                break;
            }
            update += 1;
            let is_evaluated = update % INTERVAL == 0 || update == self.updates || signals::stopped().is_some();
            let ended = rollout.rewards.len();
            let drawn = (ended > 0).then(|| rollout.rewards.iter().sum::<usize>() as f64 / ended as f64);
            let greedy = is_evaluated.then(|| self.evaluate(device, &model, has_memory)).transpose()?;
            point = Point { steps: update.saturating_mul(self.rows() as u64), drawn, greedy };
            points.push(point);
            // Of equals the later one: it has learned for longer.
            let is_best = greedy.is_some() && greedy >= reward;
            if is_best {
                (best, reward) = (model.clone(), greedy);
            }
            tell(update, &point, is_best.then_some(&best))?;
        }
        Ok(Learned { best, points, seconds: since.elapsed().as_secs_f64(), has_diverged })
    }

    /// The mean reward of greedy episodes, from the same beginnings every time.
    fn evaluate(&self, device: &Device, model: &Model, has_memory: bool) -> Result<f64> {
        let mut player = Player::new(device, model, has_memory, EVALUATED)?;
        let mut rng = shuffle::rng(self.seed, u64::MAX);
        Ok(player::mean_reward(&player::episodes(&mut player, EVALUATED, Choice::Greedy, &mut rng)?))
    }

    /// Goes over a rollout, in parts of environments by `order`; false where the network has diverged.
    fn update(&self, trainer: &mut Trainer, rollout: &Rollout, order: &[usize], has_memory: bool) -> Result<bool> {
        let parts = order.chunks(self.in_part());
        let parts: Vec<(Batch, Vec<usize>)> =
            parts.map(|part| self.part(trainer.config(), rollout, part, has_memory)).collect::<Result<_>>()?;
        for _ in 0..PASSES {
            for (batch, rows) in &parts {
                if signals::stopped().is_some() {
                    return Ok(true);
                }
                let gradients = ppo::loss(&trainer.forward(batch)?, rollout, rows);
                let mut losses = gradients.heads.iter().map(|head| head.1).chain([gradients.loss]);
                // As the trainer keeps them.
                if !losses.all(|loss| (loss as f32).is_finite()) {
                    return Ok(false);
                }
                trainer.backward(gradients)?;
            }
        }
        match trainer.metrics() {
            Ok(_) => Ok(true),
            Err(Error::Diverged { .. } | Error::LossNotFinite { .. }) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// What some environments saw, for a network to read again, and which rows of the rollout these are.
    fn part(
        &self,
        config: &Config,
        rollout: &Rollout,
        part: &[usize],
        has_memory: bool,
    ) -> Result<(Batch, Vec<usize>)> {
        let rows: Vec<usize> =
            (0..self.window).flat_map(|step| part.iter().map(move |b| step * self.environments + b)).collect();
        let seen = rows.iter().flat_map(|row| &rollout.observed[row * OBSERVED..(row + 1) * OBSERVED]);
        let seen = seen.copied().collect();
        let sequences = if has_memory {
            let place = |b: usize| part.iter().position(|other| *other == b);
            let resets = rollout.resets.iter().filter_map(|(step, b)| Some((*step, place(*b)?)));
            let mut start = State::new(config, part.len(), vec![0.0; config.state_len(part.len())])?;
            for (at, b) in part.iter().enumerate() {
                if let Some(state) = rollout.start.sequence(*b) {
                    start.set_sequence(at, &state)?;
                }
            }
            let shape = BatchShape { steps: self.window, batch_size: part.len() };
            Sequences::dense(shape, seen).with_resets(resets.collect::<Vec<_>>()).with_start(Start::Given(start))
        } else {
            // Every step is a sequence of its own.
            Sequences::dense(BatchShape { steps: 1, batch_size: rows.len() }, seen)
        };
        let batch = Batch::new(sequences, Targets::None).with_head(HeadTargets::new(VALUE, Targets::None));
        Ok((batch, rows))
    }
}
