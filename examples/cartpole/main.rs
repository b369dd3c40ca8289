//! A policy that has to remember: it balances a pole on a cart of which it sees position and angle, and no speed.
//!
//! It learns by proximal policy optimisation (Schulman et al. 2017) with generalised advantage estimation (Schulman et
//! al. 2016), losses of the program's own. The contract: beside it the same network, from the same weights and for as
//! many steps, learns without memory; both are tested in episodes from which nothing was learned or chosen.
//!
//! ```text
//! cargo run --release --example cartpole
//! cargo run --release --example cartpole -- --predict out/cartpole.safetensors     # plays, and learns nothing
//! ```

mod drawing;
mod learn;
mod player;
mod pole;
mod ppo;
mod rollout;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, ensure};
use clap::Parser;
use recurrent::{Checkpoint, Device, InputKind, Model};
use recurrent_examples::{
    cell::CellName, device, files, options, program, report::Report, shuffle, sibling_path::sibling_path, signals,
};
use serde_json::json;

use learn::{Learned, Point, Settings};
use player::{ACTIONS, Choice, Moment, Player, VALUE};
use pole::{LONGEST, OBSERVED};

/// Balances a pole on a cart whose speeds are not seen, with memory and, to compare, without.
#[derive(Parser)]
#[command(name = "cartpole", max_term_width = 100)]
struct Cli {
    /// Train nothing: play greedily by the network of this checkpoint
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "checkpoint", "plot", "cell", "hidden", "steps", "environments", "window", "learning_rate",
    ])]
    predict: Option<PathBuf>,
    /// The trained network, as it was at its best evaluation; beside it is that without memory
    #[arg(long, value_name = "FILE", default_value = "out/cartpole.safetensors")]
    checkpoint: PathBuf,
    /// Where the picture of the run is drawn (SVG)
    #[arg(long, value_name = "FILE", default_value = "out/cartpole.svg")]
    plot: PathBuf,
    /// The cell
    #[arg(long, default_value = "gru")]
    cell: CellName,
    /// Hidden units
    #[arg(long, default_value_t = 32)]
    hidden: usize,
    /// Steps of all environments together from which each of both networks learns
    #[arg(long, default_value_t = 600_000)]
    steps: u64,
    /// Environments side by side
    #[arg(long, default_value_t = 32)]
    environments: usize,
    /// Steps of each between two updates
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// The first; it falls to nothing in a straight line
    #[arg(long, default_value_t = 0.003, allow_negative_numbers = true)]
    learning_rate: f64,
    /// How many episodes are played to test, or with --predict
    #[arg(long, default_value_t = 100)]
    episodes: usize,
    /// What weights, environments and actions are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// best, cpu, gpu, gpu:INDEX or gpu:NAME
    #[arg(long, default_value = "best")]
    device: String,
    /// Print one JSON object a line in place of prose
    #[arg(long)]
    json: bool,
}

/// Both policies: what each is called, and whether it remembers.
const POLICIES: [(&str, bool); 2] = [("recurrent", true), ("memoryless", false)];
/// Of environments, steps between two updates, and episodes.
const MOST: usize = 4096;

fn main() -> ExitCode {
    program::main(|| {
        let cli = Cli::parse();
        let report = Report::new(cli.json);
        for (option, given) in [("environments", cli.environments), ("window", cli.window), ("episodes", cli.episodes)]
        {
            ensure!((1..=MOST).contains(&given), "--{option} is {given}, expected 1 to {MOST}");
        }
        ensure!(cli.steps > 0, "--steps is 0, expected at least 1");
        match &cli.predict {
            Some(checkpoint) => predict(checkpoint, &cli, &report).map(|()| ExitCode::SUCCESS),
            None => train(&cli, report),
        }
    })
}

fn train(cli: &Cli, mut report: Report) -> Result<ExitCode> {
    let paths = [cli.checkpoint.clone(), sibling_path(&cli.checkpoint, "memoryless")];
    files::prepare(None, &[&paths[0], &paths[1]], &[&cli.plot])?;
    let device = device::open(&cli.device, &report)?;
    let mut settings = Settings {
        cell: cli.cell,
        hidden: cli.hidden,
        environments: cli.environments,
        window: cli.window,
        learning_rate: cli.learning_rate,
        updates: 0,
        seed: cli.seed,
    };
    settings.updates = cli.steps.div_ceil(settings.rows() as u64);
    report.begin(0, settings.updates.saturating_mul(2))?;
    signals::watch()?;
    let mut learned = Vec::new();
    for (at, ((name, has_memory), path)) in POLICIES.into_iter().zip(&paths).enumerate() {
        let before = settings.updates.saturating_mul(at as u64);
        let of_one = settings.learn(&device, has_memory, |update, point, best| {
            if let Some(best) = best {
                let mut checkpoint = Checkpoint::from(best.clone());
                checkpoint.notes = options::notes("cartpole", &has_memory)?;
                checkpoint.save(path)?;
            }
            // After a signal nothing is printed: the terminal may be closed.
            if signals::stopped().is_none() {
                report.at(before.saturating_add(update), name.to_owned());
                tell(name, point, best.is_some(), &report)?;
            }
            Ok(())
        })?;
        if let Some(code) = signals::stopped() {
            report.end();
            program::interrupted(&cli.checkpoint);
            return Ok(ExitCode::from(code));
        }
        if of_one.has_diverged {
            report.event(&json!({ "event": "diverged", "policy": name }))?;
            report.line(&format!("{name}: it has diverged; training ends with the best weights before"))?;
        }
        learned.push(of_one);
    }
    report.end();
    test(&device, cli, &learned, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// Says where a policy is, where it was evaluated.
fn tell(name: &str, point: &Point, is_best: bool, report: &Report) -> Result<()> {
    let Point { steps, drawn, greedy: Some(greedy) } = *point else { return Ok(()) };
    report.event(&json!({
        "event": "validation", "policy": name, "steps": steps, "drawn": drawn, "reward": greedy,
    }))?;
    let learning = drawn.map_or(String::new(), |drawn| format!(", {drawn:.0} where it learns"));
    let mark = if is_best { ", the best so far" } else { "" };
    report.line(&format!("{name}, {steps} steps: mean reward {greedy:.1}{learning}{mark}"))
}

/// Lets both play episodes that neither has seen, and draws the first.
fn test(device: &Device, cli: &Cli, learned: &[Learned], report: &Report) -> Result<()> {
    let (mut policies, mut rewards) = (Vec::new(), Vec::new());
    report.line(&format!("\n{:<12}{:>14}{:>14}   of {LONGEST}", "mean reward", "greedy", "drawn"))?;
    for ((name, has_memory), Learned { best, .. }) in POLICIES.into_iter().zip(learned) {
        let greedy = play(device, best, has_memory, Choice::Greedy, cli)?;
        let drawn = play(device, best, has_memory, Choice::Drawn, cli)?;
        let means = [&greedy, &drawn].map(|episodes| player::mean_reward(episodes));
        report.line(&format!("{name:<12}{:>14.1}{:>14.1}", means[0], means[1]))?;
        rewards.push(means);
        policies.push((name, greedy));
    }
    let of = policies.iter().zip(learned).map(|((name, greedy), learned)| (*name, &learned.points[..], &greedy[0][..]));
    drawing::write(&cli.plot, &of.collect::<Vec<_>>())?;
    let seconds: Vec<f64> = learned.iter().map(|of_one| of_one.seconds).collect();
    report.line(&format!(
        "\n{} episodes each, after {:.0} and {:.0} s of training; saved in {}, drawn in {}",
        cli.episodes,
        seconds[0],
        seconds[1],
        cli.checkpoint.display(),
        cli.plot.display()
    ))?;
    report.event(&json!({
        "event": "test", "reward": rewards[0][0], "drawn": rewards[0][1], "seconds": seconds[0],
        "memoryless": { "reward": rewards[1][0], "drawn": rewards[1][1], "seconds": seconds[1] },
        "episodes": cli.episodes,
    }))
}

/// Plays the episodes of the test.
fn play(device: &Device, model: &Model, has_memory: bool, choice: Choice, cli: &Cli) -> Result<Vec<Vec<Moment>>> {
    let mut player = Player::new(device, model, has_memory, cli.episodes)?;
    player::episodes(&mut player, cli.episodes, choice, &mut shuffle::rng(cli.seed, u64::MAX - 1))
}

/// Plays greedily by a trained network.
fn predict(path: &Path, cli: &Cli, report: &Report) -> Result<()> {
    let (model, has_memory) = options::load::<bool>(path, "cartpole")?;
    let config = model.config();
    let is_policy = config.heads.iter().any(|head| head.name == VALUE && head.outputs == 1);
    ensure!(
        is_policy && (config.input, config.outputs) == (InputKind::Dense(OBSERVED), ACTIONS),
        "the checkpoint's network does not choose between {ACTIONS} pushes by {OBSERVED} numbers"
    );
    let device = device::open(&cli.device, report)?;
    let played = play(&device, &model, has_memory, Choice::Greedy, cli)?;
    let rewards: Vec<usize> = played.iter().map(Vec::len).collect();
    let mean = player::mean_reward(&played);
    report.event(&json!({ "event": "prediction", "reward": mean, "rewards": rewards, "memory": has_memory }))?;
    let least = rewards.iter().min().copied().unwrap_or_default();
    report.line(&format!(
        "{}: mean reward {mean:.1} of {LONGEST} in {} episodes, {least} in the worst",
        path.display(),
        rewards.len()
    ))
}
