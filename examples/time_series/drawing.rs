//! The picture of a run: the test part with forecasts one step ahead and many, and errors by how far ahead they look.
//!
//! The contract: what happened is ink, what the networks said is red, what they are measured against is pale.

use std::ops::Range;

use plotters::prelude::*;
use recurrent::data::{Series, Split};
use recurrent_examples::{
    curves,
    fit::History,
    svg::{Area, Drawn, FONT, GRID, HELD, INK, TRAIN},
};

use crate::bands::{self, Quantiles};
use crate::errors::Errors;

/// Forecasts of many steps that are drawn, at even distances.
const SHOWN: usize = 6;
const OTHERS: [RGBColor; 3] = [TRAIN, RGBColor(0x9a, 0x9a, 0x9a), RGBColor(0xc9, 0xa6, 0x5b)];

type Methods<'a> = [(&'a str, Vec<Vec<f64>>)];

pub fn draw(
    area: &Area,
    history: Option<&History>,
    known: &Series<f64>,
    (methods, bands): (&Methods, &[Quantiles]),
    errors: &[(&str, Errors)],
) -> Drawn {
    let (above, below) = area.split_vertically(400);
    test_part(&above, known, methods, bands)?;
    let (left, right) = below.split_horizontally(580);
    by_step(&left, errors)?;
    history.map_or(Ok(()), |history| curves::curves(&right, history))
}

fn test_part(area: &Area, known: &Series<f64>, methods: &Methods, bands: &[Quantiles]) -> Drawn {
    let origins = known.origins(Split::Test);
    let last = origins.end + known.future(origins.start).len() - 1;
    // Of a long part its end, where lines can still be told apart.
    let first = origins.start.max(last.saturating_sub(420));
    let truth = |place: usize| known.future(place.min(origins.end - 1))[place - place.min(origins.end - 1)];
    let happened: Vec<(f64, f64)> = (first..last).map(|place| (place as f64, truth(place))).collect();
    let Some((_, said)) = methods.first() else { return Ok(()) };
    let of = |place: usize| said.get(place - origins.start);
    let ahead: Vec<(f64, f64)> =
        (first..origins.end).filter_map(|place| Some((place as f64, *of(place)?.first()?))).collect();
    let outlines: Vec<Vec<(f64, f64)>> = shown(first, &origins)
        .filter_map(|origin| bands.get(origin - origins.start).map(|band| bands::outline(band, origin)))
        .collect();
    let all = || happened.iter().chain(&ahead).chain(outlines.iter().flatten()).map(|point| point.1);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let room = (high - low).max(1e-6) * 0.08;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption("the test part and what was forecast of it", (FONT, 15).into_font().color(&INK))
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(first as f64..last as f64, low - room..high + 2.5 * room)?;
    mesh(&mut chart, "place in the series")?;
    let series = |points: Vec<(f64, f64)>, style: ShapeStyle| LineSeries::new(points, style);
    let drawn = chart.draw_series(outlines.iter().map(|outline| Polygon::new(outline.clone(), HELD.mix(0.18))))?;
    if !outlines.is_empty() {
        drawn
            .label("where 90 % of what came should lie")
            .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 22, y + 5)], HELD.mix(0.18).filled()));
    }
    chart
        .draw_series(series(happened, INK.mix(0.75).stroke_width(2)))?
        .label("what happened")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 22, y)], INK.mix(0.75).stroke_width(2)));
    chart
        .draw_series(series(ahead, TRAIN.stroke_width(2)))?
        .label("forecast one step ahead")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 22, y)], TRAIN.stroke_width(2)));
    for (number, origin) in shown(first, &origins).enumerate() {
        let Some(far) = of(origin) else { continue };
        let points = far.iter().enumerate().map(|(h, value)| ((origin + h) as f64, *value)).collect();
        let drawn = chart.draw_series(series(points, HELD.stroke_width(3)))?;
        if number == 0 {
            drawn
                .label(format!("forecast {} steps ahead, from the dot on", far.len()))
                .legend(|(x, y)| PathElement::new([(x, y), (x + 22, y)], HELD.stroke_width(3)));
        }
        chart.draw_series(far.first().map(|value| Circle::new((origin as f64, *value), 4, HELD.filled())))?;
    }
    names(&mut chart, SeriesLabelPosition::UpperRight)
}

/// The places at which forecasts of many steps are drawn.
fn shown(first: usize, origins: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    let every = ((origins.end - first) / SHOWN).max(1);
    (first + every / 2..origins.end).step_by(every)
}

fn by_step(area: &Area, errors: &[(&str, Errors)]) -> Drawn {
    let horizon = errors.first().map_or(1, |(_, errors)| errors.by_step.len());
    let highest = errors.iter().flat_map(|(_, errors)| &errors.by_step).fold(0.0, |high: f64, e| high.max(*e));
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption("error on the test part (RMSE) by steps ahead", (FONT, 15).into_font().color(&INK))
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(1.0..(horizon as f64).max(1.5), 0.0..(highest * 1.2).max(1e-6))?;
    mesh(&mut chart, "steps ahead")?;
    for (at, (name, errors)) in errors.iter().enumerate() {
        let colour = at.checked_sub(1).map_or(HELD, |other| OTHERS[other % OTHERS.len()]);
        let points: Vec<(f64, f64)> = (1..).map(f64::from).zip(errors.by_step.iter().copied()).collect();
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(2)));
    }
    names(&mut chart, SeriesLabelPosition::LowerRight)
}

type Float = plotters::coord::types::RangedCoordf64;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Float, Float>>;

fn mesh(chart: &mut Chart, x: &str) -> Drawn {
    chart
        .configure_mesh()
        .x_desc(x)
        .x_labels(12)
        .y_labels(7)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    Ok(())
}

fn names<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> Drawn {
    chart
        .configure_series_labels()
        .position(position)
        .label_font((FONT, 13).into_font().color(&INK))
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .draw()?;
    Ok(())
}
