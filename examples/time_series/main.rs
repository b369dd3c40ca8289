//! Forecasting a series from a window of its past, one step ahead and many.
//!
//! The contract: the test part is the end of the series, and nothing of it is known to what is fitted; networks are
//! measured beside a linear autoregression of the same window and beside repeating the last value.
//!
//! ```text
//! cargo run --release --example time_series
//! cargo run --release --example time_series -- --data FILE.csv --column NAME --horizon 12 --window 48
//! cargo run --release --example time_series -- --data FILE.csv --period 365           # what returns every year apart
//! cargo run --release --example time_series -- --data FILE.csv --quantiles            # bands in which it will lie
//! cargo run --release --example time_series -- --data FILE.csv --separator ';' --decimal-comma
//! cargo run --release --example time_series -- --predict FILE.csv                     # what comes after its end
//! ```

mod bands;
mod drawing;
mod errors;
mod forecaster;
mod linear;
mod sunspots;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use recurrent::{
    Batch, InputKind, Model, Pool, Targets,
    data::{Series, Split},
};
use recurrent_examples::{
    device, fit,
    options::{self, Options},
    program,
    readers::table::Dialect,
    report::Report,
    shuffle,
    sibling_path::sibling_path,
    svg,
};
use serde_json::json;

use bands::{Held, Quantiles};
use errors::Errors;
use forecaster::{Prepared, Units};
use linear::Linear;

const DEFAULTS: &[(&str, &str)] = &[
    ("checkpoint", "out/time_series.safetensors"),
    ("plot", "out/time_series.svg"),
    ("cell", "gru"),
    ("layers", "1"),
    ("hidden", "32"),
    ("epochs", "40"),
    ("patience", "8"),
    ("batch_size", "32"),
    ("learning_rate", "0.003"),
    ("dropout", "0"),
];

/// The shares of a series that are held out: to tell when to stop, and to test.
const SHARES: [f64; 2] = [0.15, 0.15];
/// Networks at the most.
const MOST: usize = 100;

/// Forecasts a series from a window of its past.
///
/// Without --data it forecasts the yearly sunspot numbers.
#[derive(Parser)]
#[command(name = "time_series", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// The column that is forecast, by its name in the first line; the last one where none is named
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    #[command(flatten)]
    dialect: Dialect,
    /// How many steps ahead
    #[arg(long, default_value_t = 12)]
    horizon: usize,
    /// How many steps back
    #[arg(long, default_value_t = 36)]
    window: usize,
    /// Steps after which the series returns, as 12 months or 365 days do; 0 for none. A file for --predict must then
    /// begin at the same phase, in the same month say, as that of --data
    #[arg(long, default_value_t = 0)]
    period: usize,
    /// Say in which bands what comes will lie: the networks learn its quantiles, and the median is the forecast
    #[arg(long)]
    quantiles: bool,
    /// Networks whose mean is taken, each from a seed of its own
    #[arg(long, default_value_t = 5)]
    networks: usize,
}

fn main() -> ExitCode {
    program::main(|| {
        let cli: Cli = options::parse(DEFAULTS);
        let report = Report::new(cli.options.json);
        match &cli.options.predict {
            Some(file) => predict(file, &cli, &report).map(|()| ExitCode::SUCCESS),
            None => train(&cli, report),
        }
    })
}

fn train(cli: &Cli, mut report: Report) -> Result<ExitCode> {
    let options = &cli.options;
    ensure!((1..=MOST).contains(&cli.networks), "--networks is {}, expected 1 to {MOST}", cli.networks);
    let of_file = cli.column.as_ref().map(|_| "--column").or(cli.dialect.given());
    if let (Some(option), None) = (of_file, &options.data) {
        bail!("{option} is of a file: name one with --data");
    }
    let (column, raw) = match &options.data {
        Some(file) => cli.dialect.read(file, cli.column.as_deref())?,
        None => ("yearly sunspots".to_owned(), sunspots::YEARLY.to_vec()),
    };
    let known = Series::new(raw.clone(), cli.window, cli.horizon, SHARES)?;
    let members: Vec<PathBuf> = (1..cli.networks).map(|member| of_member(options, member).checkpoint).collect();
    options.prepare(&members)?;
    let device = device::open(&options.device, &report)?;
    let name = match &options.data {
        Some(_) => options.name(&column),
        None => "yearly sunspots, 1700 to 2008".to_owned(),
    };
    let counts = [Split::Train, Split::Validation, Split::Test].map(|part| known.values(part).len());
    let [learned, held, tested] = counts;
    report.line(&format!("{name}: {learned} values to learn from, {held} to stop by, {tested} to test on"))?;

    let units = Units::fit(known.values(Split::Train), cli.period)?;
    let series = Series::new(units.scale(&raw)?, cli.window, cli.horizon, SHARES)?;
    let (window, horizon, networks) = (cli.window, cli.horizon, cli.networks);
    let linear = Linear::fit(&series)?;
    let column = options.data.is_some().then_some(column);
    let (shares, quantiles) = (Vec::new(), cli.quantiles);
    let mut prepared = Prepared { column, window, horizon, networks, units, linear, shares, quantiles };
    let loss = prepared.loss();

    let rest = |origin: usize| -> Vec<f32> {
        let linear = prepared.linear.forecast(series.past(origin));
        series.future(origin).iter().zip(linear).map(|(truth, linear)| truth - linear).collect()
    };
    let batches = |origins: &[usize]| -> Vec<Batch> {
        origins.chunks(options.batch_size).map(|chunk| batch(&series, chunk, &rest)).collect()
    };
    let origins = |part| series.origins(part).collect::<Vec<usize>>();
    let held = batches(&origins(Split::Validation));
    let mut models = Vec::new();
    let (mut first, mut seconds, mut stopped) = (None, 0.0, None);
    for member in 0..networks {
        let options = of_member(options, member);
        let config = options.config(InputKind::Dense(1), prepared.outputs()).pool(Pool::Last);
        let epoch = |number| {
            let order = shuffle::shuffled(&origins(Split::Train), shuffle::rng(options.seed, number));
            Ok(batches(&order))
        };
        let notes = Some(options::notes("time_series", &prepared)?);
        report.line(&format!("network {} of {networks}", member + 1))?;
        let model = Model::new(config)?;
        let (best, history) = fit::fit((&device, &model, loss.clone()), epoch, &held, &options, &mut report, notes)?;
        seconds += history.seconds;
        stopped = history.stopped;
        first = first.or(Some(history));
        models.push(best);
        if stopped.is_some() {
            break;
        }
    }
    // Fewer where a signal came.
    prepared.networks = models.len();
    let windows = |origins: &[usize]| origins.iter().map(|origin| series.past(*origin)).collect::<Vec<&[f32]>>();
    let held = origins(Split::Validation);
    let said = forecaster::said(&device, &models, &loss, &windows(&held))?;
    let corrections: Vec<&[f32]> = said.iter().map(|said| prepared.correction(said)).collect();
    let rests: Vec<Vec<f32>> = held.iter().map(|origin| rest(*origin)).collect();
    let (shares, [without, with]) = forecaster::shares(&corrections, &rests, prepared.quantiles);
    prepared.shares.clone_from(&shares);
    for (member, model) in models.iter().enumerate() {
        of_member(options, member).save(model, "time_series", &prepared)?;
    }
    if let Some(code) = stopped {
        return Ok(fit::interrupted(code, options));
    }
    report.event(&json!({ "event": "shares", "shares": shares, "linear": without, "networks": with }))?;
    report.line(&format!(
        "of the validation part the linear forecast leaves {without:.4}, with the networks' correction {with:.4}"
    ))?;

    let tested = origins(Split::Test);
    let said = forecaster::said(&device, &models, &loss, &windows(&tested))?;
    let bands = tested.iter().zip(&said).map(|(origin, said)| prepared.bands(series.past(*origin), said, *origin));
    let bands: Vec<Quantiles> = bands.filter_map(Result::transpose).collect::<Result<_>>()?;
    let truths: Vec<Vec<f64>> = tested.iter().map(|origin| known.future(*origin).to_vec()).collect();
    let network = tested
        .iter()
        .zip(&said)
        .map(|(origin, said)| prepared.units.unscale(&prepared.add(series.past(*origin), said), *origin));
    let network = network.collect::<Result<Vec<_>>>()?;
    let linear = tested.iter().map(|o| prepared.units.unscale(&prepared.linear.forecast(series.past(*o)), *o));
    let persistent = tested.iter().map(|origin| vec![raw[origin - 1]; horizon]).collect();
    let mut methods: Vec<(&str, Vec<Vec<f64>>)> =
        vec![("networks", network), ("linear", linear.collect::<Result<_>>()?), ("persistence", persistent)];
    if cli.period > 0 {
        // The same place so many periods before that it is known: the training part has at least one.
        let at = |origin: usize, h: usize| raw[origin + h - cli.period * (h / cli.period + 1)];
        let of = |origin: &usize| (0..horizon).map(|h| at(*origin, h)).collect::<Vec<f64>>();
        let seasonal = tested.iter().map(of);
        methods.push(("seasonal persistence", seasonal.collect()));
    }
    let errors = methods.iter().map(|(name, said)| Ok((*name, Errors::new(said, &truths)?)));
    let errors: Vec<(&str, Errors)> = errors.collect::<Result<_>>()?;
    svg::write(&options.plot, (1180, 760), &format!("time series: {name}"), |area| {
        drawing::draw(area, first.as_ref(), &known, (&methods, &bands), &errors)
    })?;
    report.line(&format!(
        "\n{:<22}{:>10}{:>10}{:>14}{:>14}",
        "",
        "RMSE, 1",
        "MAE, 1",
        format!("RMSE, 1–{horizon}"),
        format!("MAE, 1–{horizon}")
    ))?;
    for (name, e) in &errors {
        report.line(&format!(
            "{name:<22}{:>10.3}{:>10.3}{:>14.3}{:>14.3}",
            e.rmse, e.mae, e.horizon_rmse, e.horizon_mae
        ))?;
    }
    let held = bands::held(&bands, &truths)?;
    if prepared.quantiles {
        report.line("")?;
        for Held { nominal, first, all } in &held {
            let [nominal, first, all] = [nominal, first, all].map(|share| 100.0 * share);
            report.line(&format!(
                "a band of {nominal:.0} % held {first:.1} % of what came one step ahead, {all:.1} % of 1–{horizon}"
            ))?;
        }
    }
    report.line(&format!(
        "\ntest: {} forecasts, after {seconds:.0} s of training; saved in {}, drawn in {}",
        tested.len(),
        options.checkpoint.display(),
        options.plot.display()
    ))?;
    let baselines: BTreeMap<&str, &Errors> = errors.iter().skip(1).map(|(name, errors)| (*name, errors)).collect();
    let Some((_, own)) = errors.first() else { return Ok(ExitCode::SUCCESS) };
    report.event(&json!({
        "event": "test", "rmse": own.rmse, "mae": own.mae, "horizon_rmse": own.horizon_rmse,
        "horizon_mae": own.horizon_mae, "by_step": own.by_step, "baselines": baselines, "forecasts": tested.len(),
        "bands": if prepared.quantiles { held } else { Vec::new() }, "seconds": seconds,
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// Windows side by side, and what the linear forecast leaves of what follows them.
fn batch(series: &Series<f32>, origins: &[usize], rest: &dyn Fn(usize) -> Vec<f32>) -> Batch {
    let windows: Vec<&[f32]> = origins.iter().map(|origin| series.past(*origin)).collect();
    let (sequences, levels) = forecaster::leveled(&windows);
    let targets = origins.iter().zip(levels);
    let targets = targets.flat_map(|(origin, (_, deviation))| rest(*origin).into_iter().map(move |x| x / deviation));
    Batch::new(sequences, Targets::Values(targets.collect()))
}

/// The options of one of the networks: its own seed and its own checkpoint, that of the first as it was named.
fn of_member(options: &Options, member: usize) -> Options {
    let mut own = options.clone();
    own.seed = options.seed.wrapping_add(member as u64);
    if member > 0 {
        own.checkpoint = sibling_path(&options.checkpoint, &member.to_string());
    }
    own
}

/// What comes after the end of a file.
fn predict(file: &Path, cli: &Cli, report: &Report) -> Result<()> {
    let (first, prepared): (Model, Prepared) = cli.options.load("time_series")?;
    let column = cli.column.clone().or_else(|| prepared.column.clone());
    let (column, values) = cli.dialect.read(file, column.as_deref())?;
    ensure!(
        values.len() >= prepared.window,
        "{} has {} values, expected at least the {} of a window",
        file.display(),
        values.len(),
        prepared.window
    );
    let mut models = vec![first];
    for member in 1..prepared.networks {
        let own = of_member(&cli.options, member);
        let (model, other): (_, Prepared) = own.load("time_series")?;
        ensure!(
            other == prepared,
            "{} is of another run than {}: train again",
            own.checkpoint.display(),
            cli.options.checkpoint.display()
        );
        models.push(model);
    }
    let is_whole = prepared.shares.len() == prepared.horizon;
    ensure!(is_whole, "the training of {} was not ended: train again", cli.options.checkpoint.display());
    let device = device::open(&cli.options.device, report)?;
    let scaled = prepared.units.scale(&values)?;
    let past = &scaled[scaled.len() - prepared.window..];
    let said = forecaster::said(&device, &models, &prepared.loss(), &[past])?;
    let said = said.first().map_or(&[][..], Vec::as_slice);
    let bands = prepared.bands(past, said, values.len())?;
    for (at, value) in prepared.units.unscale(&prepared.add(past, said), values.len())?.into_iter().enumerate() {
        let (ahead, band) = (at + 1, bands.as_ref().map(|bands| [bands[0][at], bands[bands.len() - 1][at]]));
        report.event(&json!({
            "event": "prediction", "ahead": ahead, "column": column, "value": value, "band": band,
        }))?;
        let band = band.map_or(String::new(), |[low, high]| format!(", with 90 % from {low:.3} to {high:.3}"));
        report.line(&format!("{ahead:>4} ahead: {value:.3}{band}"))?;
    }
    Ok(())
}
