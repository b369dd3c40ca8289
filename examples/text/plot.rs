//! The plot of a run: training and validation loss over epochs, as an SVG file.
//!
//! The contract: the curve of the whole run is drawn, what was before a resumption included; thousands of points are
//! averaged to as many as can be seen.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use crate::progress::{Point, Progress};

const SIZE: (u32, u32) = (960, 560);
/// More points than this cannot be told apart at that size.
const POINTS: usize = 600;
const TRAIN: RGBColor = RGBColor(0x7a, 0xa6, 0xd6);
const VALIDATION: RGBColor = RGBColor(0xc8, 0x4b, 0x31);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
const FONT: &str = "sans-serif";

/// Whether the plot can be written there: to be asked before a long training. Leaves no new file behind.
pub fn probe(path: &Path) -> Result<()> {
    let is_new = !path.exists();
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("cannot write the plot {}", path.display()))?;
    if is_new {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Draws the losses of a run whose epochs have `epoch` steps; nothing where there is no loss yet.
pub fn write(path: &Path, title: &str, progress: &Progress, epoch: u64) -> Result<()> {
    let (train, validation) = (curve(&progress.train, epoch), curve(&progress.validation, epoch));
    let mut all = train.iter().chain(&validation);
    let Some(&(_, first)) = all.next() else { return Ok(()) };
    let (low, high) = all.fold((first, first), |(low, high), &(_, y)| (low.min(y), high.max(y)));
    let end = progress.train.last().map_or(1.0, |p| p.step as f64 / epoch as f64);
    let margin = ((high - low) * 0.06).max(0.01);
    let svg = draw(title, 0.0..end, (low - margin).max(0.0)..high + margin, &train, &validation)
        .map_err(|e| anyhow!("cannot draw the plot: {e}"))?;
    fs::write(path, svg).with_context(|| format!("cannot write the plot {}", path.display()))
}

type Error = Box<dyn std::error::Error>;

fn draw(
    title: &str,
    x: Range<f64>,
    y: Range<f64>,
    train: &[(f64, f64)],
    validation: &[(f64, f64)],
) -> std::result::Result<String, Error> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(18)
        .caption(title, (FONT, 20).into_font().color(&INK))
        .x_label_area_size(46)
        .y_label_area_size(62)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc("epochs")
        .y_desc("loss (nats per character)")
        .x_label_formatter(&|x| format!("{}", (x * 100.0).round() / 100.0))
        .axis_desc_style((FONT, 16).into_font().color(&INK))
        .label_style((FONT, 14).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    chart
        .draw_series(LineSeries::new(train.iter().copied(), TRAIN.stroke_width(2)))?
        .label("training")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 22, y)], TRAIN.stroke_width(2)));
    if !validation.is_empty() {
        chart
            .draw_series(LineSeries::new(validation.iter().copied(), VALIDATION.stroke_width(2)))?
            .label("validation")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 22, y)], VALIDATION.stroke_width(2)));
        chart.draw_series(validation.iter().map(|&at| Circle::new(at, 3, VALIDATION.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 15).into_font().color(&INK))
        .background_style(WHITE)
        .border_style(GRID)
        .draw()?;
    area.present()?;
    drop(chart);
    drop(area);
    Ok(svg)
}

/// Points as (epochs, nats), neighbours averaged where there are too many.
fn curve(points: &[Point], epoch: u64) -> Vec<(f64, f64)> {
    let mean = |group: &[Point]| {
        let count = group.len() as f64;
        let step: f64 = group.iter().map(|p| p.step as f64).sum();
        let nats: f64 = group.iter().map(|p| p.nats).sum();
        (step / count / epoch as f64, nats / count)
    };
    points.chunks(points.len().div_ceil(POINTS).max(1)).map(mean).collect()
}
