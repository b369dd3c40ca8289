//! The two diseases of recurrent networks, measured and drawn: gradients that vanish and gradients that explode.
//!
//! Each network adds two marked numbers of a long sequence (the adding problem of Hochreiter & Schmidhuber 1997), so
//! its loss is at the last step alone, and what reaches a step k steps before it is the product of k Jacobians. The
//! contract: every curve is the trace of a training, read from the device; nothing is computed for the picture. After a
//! signal it draws what is finished.
//!
//! ```text
//! cargo run --release --example gradients
//! cargo run --release --example gradients -- --trace traces.jsonl     # every trace, a JSON object a line
//! ```

mod drawing;
mod runs;
mod task;

use std::{
    fs::File,
    io::{BufWriter, Write},
    iter,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use recurrent_examples::{device, files, program, report::Report, signals};
use serde_json::json;

use runs::{Exploding, Network};

/// Draws how the gradient of Elman, LSTM and GRU networks shrinks or grows on its way back through time, and what
/// clipping does to a training in which it explodes.
#[derive(Parser)]
#[command(name = "gradients", max_term_width = 100)]
struct Cli {
    /// Steps of a sequence, T
    #[arg(long, default_value_t = 60)]
    steps: usize,
    /// Hidden units
    #[arg(long, default_value_t = 48)]
    hidden: usize,
    /// Updates of each network between its two traces
    #[arg(long, default_value_t = 3000)]
    updates: u64,
    /// Where the page is drawn (SVG)
    #[arg(long, value_name = "FILE", default_value = "out/gradients.svg")]
    plot: PathBuf,
    /// Where every trace is written, a JSON object a line
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
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
    ensure!(cli.steps >= 4, "--steps is {}, expected at least 4", cli.steps);
    ensure!(cli.updates > 0, "--updates is 0, expected at least 1");
    let written: Vec<&Path> = iter::once(&cli.plot).chain(&cli.trace).map(PathBuf::as_path).collect();
    files::prepare(None, &[], &written)?;
    let mut report = Report::new(cli.json);
    let device = device::open(&cli.device, &report)?;
    let sizes = runs::Sizes { steps: cli.steps, hidden: cli.hidden, updates: cli.updates, seed: cli.seed };
    let (networks, exploding) = (Network::ALL.len() as u64, Exploding::ALL.len() as u64);
    report.begin(0, cli.updates.saturating_mul(networks).saturating_add(exploding * runs::EXPLODING))?;
    signals::watch()?;
    let (mut networks, mut done) = (Vec::new(), 0);
    for network in Network::ALL {
        let Some(traced) = network.run(&device, &sizes, done, &report)? else { break };
        done += cli.updates;
        for (when, layer) in [("at initialisation", &traced.before), ("after training", &traced.after)] {
            let decay = layer.per_step_factor();
            report.event(&json!({ "event": "trace", "network": network.name(), "when": when, "decay": decay }))?;
            let decay = decay.map_or("nothing of it is left".to_owned(), |d| format!("× {d:.3} a step"));
            report.line(&format!("{:<24} {when:<17} the gradient goes back {decay}", network.name()))?;
        }
        networks.push((network, traced));
    }
    let mut exploding = Vec::new();
    for clipping in Exploding::ALL {
        let Some(history) = clipping.run(&device, &sizes, done, &report)? else { break };
        done += runs::EXPLODING;
        let (name, last) = (clipping.name(), history.losses.last().copied());
        report.event(&json!({
            "event": "exploding", "clipping": name, "loss": last, "largest_norm": history.largest(),
            "diverged": history.diverged,
        }))?;
        let end = match (history.diverged, last) {
            (Some(step), _) => format!("diverged at step {step}"),
            (None, Some(loss)) => format!("loss {loss:.4} at the end"),
            (None, None) => "no step".to_owned(),
        };
        report.line(&format!("{name:<24} {end}, norms up to {:.1e}", history.largest()))?;
        exploding.push((clipping, history));
    }
    report.end();
    drawing::write(&cli.plot, &networks, &exploding)?;
    if let Some(file) = &cli.trace {
        let cannot = || format!("cannot write the traces {}", file.display());
        let mut out = BufWriter::new(File::create(file).with_context(cannot)?);
        for (network, traced) in &networks {
            for trace in &traced.traces {
                let line = json!({ "network": network.name(), "trace": trace });
                writeln!(out, "{line}").with_context(cannot)?;
            }
        }
        out.flush().with_context(cannot)?;
    }
    if let Some(code) = signals::stopped() {
        program::aside(format_args!("interrupted; what was finished is drawn in {}", cli.plot.display()));
        return Ok(ExitCode::from(code));
    }
    report.line(&format!("drawn in {}", cli.plot.display()))?;
    report.event(&json!({ "event": "drawn", "plot": cli.plot }))?;
    Ok(ExitCode::SUCCESS)
}
