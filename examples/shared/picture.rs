//! Pictures of runs, as SVG: curves of the losses, and room for what an example adds.
//!
//! The contract: one look for all examples; what cannot be drawn or written is an error that names the file.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use crate::fit::Course;

pub const TRAIN: RGBColor = RGBColor(0x7a, 0xa6, 0xd6);
pub const HELD: RGBColor = RGBColor(0xc8, 0x4b, 0x31);
pub const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
pub const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
pub const FONT: &str = "sans-serif";

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Draws a picture of that size, in pixels, under a title.
pub fn write(path: &Path, size: (u32, u32), title: &str, draw: impl FnOnce(&Area) -> Drawn) -> Result<()> {
    let mut svg = String::new();
    let drawn = || -> Drawn {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.margin(12, 12, 12, 12).titled(title, (FONT, 20).into_font().color(&INK))?;
        draw(&area)?;
        area.present()?;
        Ok(())
    };
    drawn().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
    fs::write(path, svg).with_context(|| format!("cannot write the picture {}", path.display()))
}

/// The losses by epoch, with a mark at the epoch whose weights were kept.
pub fn curves(area: &Area, course: &Course) -> Drawn {
    let points = |of: fn(&crate::fit::Epoch) -> f64| -> Vec<(f64, f64)> {
        course.epochs.iter().enumerate().map(|(at, epoch)| (at as f64 + 1.0, of(epoch))).collect()
    };
    let (train, held) = (points(|epoch| epoch.train), points(|epoch| epoch.held));
    let highest = train.iter().chain(&held).fold(0.0, |high: f64, point| high.max(point.1));
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption("loss by epoch", (FONT, 15).into_font().color(&INK))
        .x_label_area_size(32)
        .y_label_area_size(46)
        .build_cartesian_2d(1.0..(train.len() as f64).max(1.5), 0.0..(highest * 1.05).max(1e-6))?;
    chart
        .configure_mesh()
        .x_labels(8)
        .y_labels(6)
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (points, colour, name) in [(&train, TRAIN, "training"), (&held, HELD, "validation")] {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(2)));
    }
    chart.draw_series(held.get(course.best).map(|&point| Circle::new(point, 4, HELD.filled())))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 13).into_font().color(&INK))
        .background_style(WHITE)
        .border_style(GRID)
        .draw()?;
    Ok(())
}
