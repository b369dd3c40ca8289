//! How long a memory reaches: three tasks with known answers, at growing lag, by Elman, LSTM and GRU networks.
//!
//! The contract: a lag is solved where the loss on sequences that were not trained on is below a tenth of what one
//! without memory has, which is known in closed form; a cell that fails at a lag is not tried at longer ones. After a
//! signal it draws what it knows by then.
//!
//! ```text
//! cargo run --release --example longterm
//! cargo run --release --example longterm -- --lags 50,100,200,400 --updates 6000 --hidden 64
//! ```

mod drawing;
mod runs;
mod tasks;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use recurrent_examples::{cell::CellName, device, files, program, report::Report, signals};
use serde_json::json;

use runs::Outcome;
use tasks::Task;

/// Trains Elman, LSTM and GRU networks on tasks that need a memory, at growing lag.
#[derive(Parser)]
#[command(name = "longterm", max_term_width = 100)]
struct Cli {
    /// The tasks
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Task::ALL)]
    tasks: Vec<Task>,
    /// The cells
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = CellName::ALL)]
    cells: Vec<CellName>,
    /// Steps from what must be remembered to where it is asked for, growing
    #[arg(long, value_delimiter = ',', default_values_t = [10, 20, 40, 80, 160])]
    lags: Vec<usize>,
    /// Hidden units
    #[arg(long, default_value_t = 32)]
    hidden: usize,
    /// Updates of a network, at most
    #[arg(long, default_value_t = 3000)]
    updates: u64,
    /// Where the picture is drawn (SVG)
    #[arg(long, value_name = "FILE", default_value = "out/longterm.svg")]
    plot: PathBuf,
    /// What weights and sequences are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// best, cpu, gpu, gpu:INDEX or gpu:NAME
    #[arg(long, default_value = "best")]
    device: String,
    /// Print one JSON object a line in place of prose
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    program::main(|| run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode> {
    ensure!(cli.updates > 0, "--updates is 0, expected at least 1");
    let grows = cli.lags.windows(2).all(|pair| pair[0] < pair[1]);
    ensure!(grows && cli.lags.first().is_some_and(|lag| *lag >= 2), "--lags must grow, from at least 2");
    let long = cli.lags.first().is_some_and(|lag| *lag >= tasks::LENGTH) || !cli.tasks.contains(&Task::Copy);
    ensure!(long, "--lags must be at least {} for the task copy, whose {0} tokens come first", tasks::LENGTH);
    files::prepare(None, &[], &[&cli.plot])?;
    let since = Instant::now();
    let mut report = Report::new(cli.json);
    let device = device::open(&cli.device, &report)?;
    report.line(&format!("{:<8}{:<7}{:>5}   {:<12}{:>9}{:>13}", "task", "cell", "lag", "", "loss", "no memory"))?;
    let runs = (cli.tasks.len() * cli.cells.len() * cli.lags.len()) as u64;
    report.begin(0, cli.updates.saturating_mul(runs))?;
    signals::watch()?;
    let (mut outcomes, mut done) = (Vec::<Outcome>::new(), 0);
    'all: for task in &cli.tasks {
        for cell in &cli.cells {
            for lag in &cli.lags {
                let sizes = runs::Sizes { hidden: cli.hidden, updates: cli.updates, seed: cli.seed };
                let outcome = runs::train(&device, *task, *cell, *lag, &sizes, |update| {
                    report.at(update.saturating_add(done), format!("{} {} {lag}", task.name(), cell.name()));
                })?;
                let Some(outcome) = outcome else { break 'all };
                done = cli.updates.saturating_add(done);
                report.event(&json!({
                    "event": "run", "task": task.name(), "cell": cell.name(), "lag": lag, "solved": outcome.solved,
                    "updates": outcome.updates, "loss": outcome.loss, "without_memory": task.without_memory(),
                }))?;
                let how = if outcome.solved { format!("in {}", outcome.updates) } else { "not solved".to_owned() };
                report.line(&format!(
                    "{:<8}{:<7}{lag:>5}   {how:<12}{:>9.4}{:>13.4}",
                    task.name(),
                    cell.name(),
                    outcome.loss,
                    task.without_memory()
                ))?;
                let solved = outcome.solved;
                outcomes.push(outcome);
                if !solved {
                    break;
                }
            }
        }
    }
    report.end();
    drawing::write(&cli.plot, cli.hidden, &cli.lags, &outcomes)?;
    if let Some(code) = signals::stopped() {
        program::aside(format_args!("interrupted; what was known by then is drawn in {}", cli.plot.display()));
        return Ok(ExitCode::from(code));
    }
    // The longest lag that each cell solved, 0 where none.
    let mut longest: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for Outcome { task, cell, lag, solved, .. } in &outcomes {
        let known = longest.entry(task.name()).or_default().entry(cell.name()).or_default();
        *known = if *solved { *lag } else { *known };
    }
    for (task, cells) in &longest {
        let cells: Vec<String> = cells.iter().map(|(cell, lag)| format!("{cell} {lag}")).collect();
        report.line(&format!("{task}: longest lag solved: {}", cells.join(", ")))?;
    }
    let seconds = since.elapsed().as_secs_f64();
    report.line(&format!("after {seconds:.0} s; drawn in {}", cli.plot.display()))?;
    report.event(&json!({ "event": "test", "solved": longest, "seconds": seconds }))?;
    Ok(ExitCode::SUCCESS)
}
