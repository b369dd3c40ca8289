//! The CPU against the best GPU of this machine, size by size: which to take.
//!
//! The contract: an adapter that computes on the CPU is called software; without any adapter the CPU's figures are
//! given and a line says why.

use std::io::{Write, stdout};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use recurrent::{Device, Error};
use recurrent_examples::timing::{
    clock::{Repeats, Subject, median, milliseconds},
    report::short,
    verdict::{Cost, verdict},
    work::{Phase, Work},
};

/// Prints a row for every phase of every size, and a verdict for every size.
pub fn advise(device: &str, seconds: f64, works: &[Work]) -> Result<()> {
    let named = match device {
        "cpu" => {
            bail!("--advise sets the CPU against a GPU: --device is `cpu`, expected best, gpu, gpu:INDEX or gpu:NAME")
        }
        // What is to be compared is the best GPU, even where the CPU is better.
        "best" => "gpu",
        other => other,
    };
    let mut out = stdout().lock();
    let gpu = match Device::parse(named) {
        Ok(gpu) => Some(gpu),
        Err(error @ Error::NoAdapter { .. }) if named == "gpu" => {
            writeln!(out, "no GPU: {error}")?;
            None
        }
        Err(error) => return Err(error.into()),
    };
    writeln!(out, "CPU: {}", Device::cpu().name())?;
    if let Some((gpu, adapter)) = gpu.as_ref().and_then(|gpu| Some((gpu, gpu.as_gpu()?.adapter()))) {
        let software = if adapter.is_software { ", a software adapter: it computes on the CPU" } else { "" };
        writeln!(out, "GPU: {}, {}{software}", gpu.name(), adapter.kind)?;
    }
    let columns = ["CPU ms", "GPU ms", "CPU first ms", "GPU first ms"];
    writeln!(out, "\n{}", line("network", "phase", columns.map(str::to_owned)))?;
    for work in works {
        let subject = Subject::new(work)?;
        let mut verdicts = Vec::new();
        for phase in [Phase::Forward, Phase::Train, Phase::Stream] {
            let cost = |open: &dyn Fn() -> Result<Device>| cost(&subject, phase, seconds, open);
            let cpu = cost(&|| Ok(Device::cpu())).with_context(|| format!("{work} on the CPU"))?;
            let gpu = match gpu {
                Some(_) => Some(cost(&|| Ok(Device::parse(named)?)).with_context(|| format!("{work} on the GPU"))?),
                None => None,
            };
            let of_gpu = |number: fn(Cost) -> f64| gpu.map_or("–".to_owned(), |cost| short(number(cost)));
            let numbers = [short(cpu.step), of_gpu(|cost| cost.step), short(cpu.first), of_gpu(|cost| cost.first)];
            writeln!(out, "{}", line(&work.to_string(), phase.name(), numbers))?;
            verdicts.extend(gpu.map(|gpu| format!("{} {}", phase.name(), verdict(cpu, gpu))));
        }
        let verdict = if verdicts.is_empty() { "the CPU: there is no GPU".to_owned() } else { verdicts.join("; ") };
        writeln!(out, "  {work}: {verdict}")?;
    }
    Ok(())
}

fn line(network: &str, phase: &str, [cpu, gpu, cpu_first, gpu_first]: [String; 4]) -> String {
    format!("{network:<36}{phase:<9}{cpu:>10}{gpu:>10}{cpu_first:>14}{gpu_first:>14}")
}

/// A device opened anew, with nothing compiled yet.
fn cost(subject: &Subject, phase: Phase, seconds: f64, open: &dyn Fn() -> Result<Device>) -> Result<Cost> {
    let start = Instant::now();
    let mut step = subject.on(&open()?, phase)?;
    step.0()?;
    let first = milliseconds(start);
    // Few, as a software adapter takes seconds for a step, and the first was a warm-up.
    let step = median(Repeats { warm_up: 1, fewest: 3, seconds }, step)?;
    Ok(Cost { first, step: step.ms })
}
