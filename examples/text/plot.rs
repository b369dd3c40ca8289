//! The plot of a run: training and validation loss over epochs, as an SVG file.
//!
//! The contract: the curve of the whole run is drawn, what was before a resumption included; thousands of points are
//! averaged to as many as can be seen.

use std::{ops::Range, path::Path};

use anyhow::Result;
use plotters::prelude::*;
use recurrent_examples::svg::{self, Area, Drawn, FONT, GRID, HELD, INK, TRAIN};

use crate::{
    progress::{Point, Progress},
    tokenizer::Unit,
};

const SIZE: (u32, u32) = (960, 560);
/// More points than this cannot be told apart at that size.
const POINTS: usize = 600;

/// Draws the losses of a run whose epochs have `epoch` steps; nothing where there is no loss yet.
pub fn write(path: &Path, (title, unit): (&str, Unit), progress: &Progress, epoch: u64) -> Result<()> {
    let (train, validation) = (curve(&progress.train, epoch), curve(&progress.validation, epoch));
    let mut all = train.iter().chain(&validation);
    let Some(&(_, first)) = all.next() else { return Ok(()) };
    let (low, high) = all.fold((first, first), |(low, high), &(_, y)| (low.min(y), high.max(y)));
    let end = progress.train.last().map_or(1.0, |p| p.step as f64 / epoch as f64);
    let margin = ((high - low) * 0.06).max(0.01);
    let range = (low - margin).max(0.0)..high + margin;
    let best = progress.best().map(|p| (p.step as f64 / epoch as f64, p.nats));
    svg::write(path, SIZE, title, |area| draw(area, unit, (0.0..end, range), &train, &validation, best))
}

fn draw(
    area: &Area,
    unit: Unit,
    (x, y): (Range<f64>, Range<f64>),
    train: &[(f64, f64)],
    validation: &[(f64, f64)],
    best: Option<(f64, f64)>,
) -> Drawn {
    let mut chart =
        ChartBuilder::on(area).margin(8).x_label_area_size(46).y_label_area_size(62).build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc("epochs")
        .y_desc(format!("loss (nats per {})", unit.name()))
        .x_label_formatter(&|x| format!("{}", (x * 100.0).round() / 100.0))
        .axis_desc_style((FONT, 16).into_font().color(&INK))
        .label_style((FONT, 14).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let mut curves = vec![(train, TRAIN, "training")];
    if !validation.is_empty() {
        curves.push((validation, HELD, "validation"));
    }
    for (points, colour, name) in curves {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(2)));
    }
    chart.draw_series(validation.iter().map(|&at| Circle::new(at, 3, HELD.filled())))?;
    // The epoch whose weights are kept.
    chart.draw_series(best.map(|at| Circle::new(at, 7, HELD.stroke_width(2))))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 15).into_font().color(&INK))
        .background_style(WHITE)
        .border_style(GRID)
        .draw()?;
    Ok(())
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
