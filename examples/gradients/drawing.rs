//! The page: how much of the gradient is left after so many steps back, and trainings with and without clipping.
//!
//! The contract: norms are on logarithmic scales, the same for what is compared; a network has one colour everywhere.

use std::path::Path;

use anyhow::Result;
use plotters::{coord::ranged1d::ValueFormatter, prelude::*};
use recurrent::LayerTrace;
use recurrent_examples::svg::{self, Area, Drawn, FONT, GRID, HELD, INK, TRAIN};

use crate::{
    runs::{Exploding, History, Network, Traced},
    task,
};

const GREEN: RGBColor = RGBColor(0x3a, 0x8f, 0x5c);
const VIOLET: RGBColor = RGBColor(0x7a, 0x52, 0xa8);
/// What is drawn of a gradient that is smaller.
const FLOOR: f64 = 1e-12;
const CEILING: f64 = 1e6;

type Curve<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);

pub fn write(path: &Path, networks: &[(Network, Traced)], exploding: &[(Exploding, History)]) -> Result<()> {
    svg::write(path, (1180, 940), "how gradients vanish and explode, and what is done about it", |area| {
        let (above, below) = area.split_vertically(452);
        let (left, right) = above.split_horizontally(578);
        let of = |which: fn(&Traced) -> &LayerTrace| -> Vec<Curve> {
            networks.iter().map(|(network, traced)| (network.name(), colour(*network), back(which(traced)))).collect()
        };
        relative(&left, "vanishing: the gradient at initialisation", &of(|traced| &traced.before), true)?;
        relative(&right, "the same networks after training", &of(|traced| &traced.after), false)?;
        let (left, right) = below.split_horizontally(578);
        let of = |which: fn(&History) -> &[f64]| -> Vec<Curve> {
            let curve = |(clipping, history): &(Exploding, History)| {
                let points = which(history).iter().enumerate().map(|(at, value)| (at as f64 + 1.0, *value));
                (clipping.name(), paint(*clipping), points.collect())
            };
            exploding.iter().map(curve).collect::<Vec<(&str, RGBColor, Vec<(f64, f64)>)>>()
        };
        by_step(
            &left,
            "exploding: the norm of the gradient before clipping",
            &of(|history| &history.norms),
            exploding,
            None,
        )?;
        let guess = Some(task::GUESSING);
        by_step(&right, "the loss of the same trainings", &of(|history| &history.losses), exploding, guess)
    })
}

fn colour(network: Network) -> RGBColor {
    match network {
        Network::ElmanSmall => TRAIN,
        Network::ElmanLarge => HELD,
        Network::Lstm => GREEN,
        Network::Gru => VIOLET,
    }
}

fn paint(clipping: Exploding) -> RGBColor {
    match clipping {
        Exploding::Nothing => HELD,
        Exploding::Value => VIOLET,
        Exploding::Norm => TRAIN,
        Exploding::Normalize => GREEN,
    }
}

/// ‖dL/dh_t‖ / ‖dL/dh_T‖ by how many steps t lies before the last.
fn back(layer: &LayerTrace) -> Vec<(f64, f64)> {
    let last = layer.norms.last().copied().unwrap_or(1.0);
    let points = layer.norms.iter().rev().enumerate().map(|(back, norm)| (back as f64, norm / last));
    points.take_while(|(_, ratio)| ratio.is_finite() && *ratio >= FLOOR).collect()
}

fn exponent(value: &f64) -> String {
    format!("1e{:.0}", value.log10())
}

fn relative(area: &Area, caption: &str, curves: &[Curve], legend: bool) -> Drawn {
    let steps = curves.iter().map(|(_, _, points)| points.len()).max().unwrap_or(2).max(2);
    let highest = curves.iter().flat_map(|(_, _, points)| points).fold(10.0, |high: f64, point| high.max(point.1));
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption(caption, (FONT, 16).into_font().color(&INK))
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..steps as f64 - 1.0, (FLOOR..highest.min(CEILING) * 3.0).log_scale())?;
    mesh(&mut chart, "steps before the last, T − t", "‖dL/dh(t)‖ / ‖dL/dh(T)‖")?;
    chart.draw_series(LineSeries::new([(0.0, 1.0), (steps as f64 - 1.0, 1.0)], INK.mix(0.4).stroke_width(1)))?;
    lines(&mut chart, curves, 2)?;
    if legend { names(&mut chart, SeriesLabelPosition::LowerLeft) } else { Ok(()) }
}

fn by_step(
    area: &Area,
    caption: &str,
    curves: &[Curve],
    exploding: &[(Exploding, History)],
    guessing: Option<f64>,
) -> Drawn {
    let values = || curves.iter().flat_map(|(_, _, points)| points).map(|p| p.1).filter(|v| v.is_finite() && *v > 0.0);
    let (lowest, highest) = values().fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), v| (low.min(v), high.max(v)));
    let steps = curves.iter().map(|(_, _, points)| points.len()).max().unwrap_or(2).max(2) as f64;
    let range = lowest.min(highest).max(1e-6) / 2.0..highest.clamp(1e-3, 1e15) * 3.0;
    let top = range.end;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption(caption, (FONT, 16).into_font().color(&INK))
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(1.0..steps, range.log_scale())?;
    mesh(&mut chart, "step of training", if guessing.is_some() { "mean squared error" } else { "norm" })?;
    if let Some(guess) = guessing {
        chart.draw_series(LineSeries::new([(1.0, guess), (steps, guess)], INK.mix(0.5).stroke_width(1)))?;
        let style = (FONT, 13).into_font().color(&INK);
        chart.draw_series([Text::new("always guessing the mean", (steps * 0.68, guess / 1.5), style)])?;
    }
    lines(&mut chart, curves, 1)?;
    for (clipping, history) in exploding.iter().filter(|(_, history)| history.diverged.is_some()) {
        let at = history.diverged.unwrap_or(0) as f64;
        let colour = paint(*clipping);
        chart.draw_series([Cross::new((at, top / 4.0), 6, colour.stroke_width(3))])?;
        let style = (FONT, 14).into_font().color(&colour);
        chart.draw_series([Text::new(format!("diverged at step {at}"), (at + steps * 0.02, top / 2.6), style)])?;
    }
    if guessing.is_none() { names(&mut chart, SeriesLabelPosition::UpperRight) } else { Ok(()) }
}

type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

fn mesh<X, Y>(chart: &mut Chart<X, Y>, x: &str, y: &str) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_labels(8)
        .y_labels(9)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&exponent)
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    Ok(())
}

fn lines<X, Y>(chart: &mut Chart<X, Y>, curves: &[Curve], width: u32) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for (name, colour, points) in curves {
        let (style, bold) = (colour.stroke_width(width), colour.stroke_width(3));
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], bold));
    }
    Ok(())
}

fn names<'a, 'b: 'a, X, Y>(chart: &mut Chart<'a, 'b, X, Y>, position: SeriesLabelPosition) -> Drawn
where
    X: Ranged<ValueType = f64> + 'a,
    Y: Ranged<ValueType = f64> + 'a,
{
    chart
        .configure_series_labels()
        .position(position)
        .label_font((FONT, 14).into_font().color(&INK))
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .draw()?;
    Ok(())
}
