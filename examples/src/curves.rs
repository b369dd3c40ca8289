//! The losses of a training, drawn.
//!
//! The contract: the epoch whose weights were kept is marked, and no line runs under the names.

use plotters::prelude::*;

use recurrent::fit::Epoch;

use crate::{
    fit::History,
    svg::{Area, Drawn, FONT, GRID, HELD, INK, TRAIN},
};

/// Draws the losses by epoch, with a mark at the epoch whose weights were kept.
pub fn curves(area: &Area, history: &History) -> Drawn {
    let points = |of: fn(&Epoch) -> f64| -> Vec<(f64, f64)> {
        history.epochs.iter().enumerate().map(|(at, epoch)| (at as f64 + 1.0, of(epoch))).collect()
    };
    let (train, held) = (points(|epoch| epoch.train_loss), points(|epoch| epoch.held_loss.unwrap_or(f64::NAN)));
    // A quarter of the height is the names'.
    let highest = train.iter().chain(&held).fold(0.0, |high: f64, point| high.max(point.1));
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption("loss by epoch", (FONT, 15).into_font().color(&INK))
        .x_label_area_size(32)
        .y_label_area_size(46)
        .build_cartesian_2d(1.0..(train.len() as f64).max(1.5), 0.0..(highest / 0.75).max(1e-6))?;
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
    chart.draw_series(
        history
            .best
            .checked_sub(1)
            .and_then(|at| held.get(at as usize))
            .map(|&point| Circle::new(point, 4, HELD.filled())),
    )?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 13).into_font().color(&INK))
        .background_style(WHITE)
        .border_style(GRID)
        .draw()?;
    Ok(())
}
