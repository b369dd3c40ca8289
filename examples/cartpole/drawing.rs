//! The picture: how long the poles stand while two policies learn, and one episode of each.
//!
//! The contract: blue is the policy that remembers and red the one that does not; both episodes begin alike.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;
use recurrent_examples::svg::{self, Area, Drawn, FONT, GRID, HELD, INK, TRAIN};

use crate::{
    learn::Point,
    player::Moment,
    pole::{LEAN, LONGEST, TRACK},
};

/// What is drawn of a policy: its name, how it learned, and an episode.
pub type Policy<'a> = (&'a str, &'a [Point], &'a [Moment]);

/// Of the policies in order.
const COLOURS: [RGBColor; 2] = [TRAIN, HELD];

/// Draws all of it.
pub fn write(path: &Path, policies: &[Policy]) -> Result<()> {
    svg::write(path, (1180, 900), "a pole on a cart: position and angle are seen, speeds are not", |area| {
        let (above, below) = area.split_vertically(380);
        curves(&above, policies)?;
        let panels = below.split_evenly((3, 1));
        let degrees = LEAN.to_degrees();
        line(
            &panels[0],
            "an episode that neither has seen: position by step, m; the track ends at ± 2.4",
            TRACK,
            policies,
            |moment| moment.0,
        )?;
        line(&panels[1], "angle by step, degrees; beyond ± 12 the pole has fallen", degrees, policies, |m| {
            m.1.to_degrees()
        })?;
        pushes(&panels[2], policies)
    })
}

/// Mean rewards by steps of all environments: of greedy episodes bold, of those that were learned from thin.
fn curves(area: &Area, policies: &[Policy]) -> Drawn {
    let last = policies.iter().filter_map(|(_, points, _)| Some(points.last()?.steps)).max().unwrap_or(1).max(1);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption("mean reward by thousands of steps", (FONT, 15).into_font().color(&INK))
        .x_label_area_size(28)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..last as f64 / 1e3, 0.0..LONGEST as f64 * 1.03)?;
    chart
        .configure_mesh()
        .x_labels(12)
        .y_labels(6)
        .x_label_formatter(&|steps| format!("{steps:.0}"))
        .y_label_formatter(&|reward| format!("{reward:.0}"))
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((name, points, _), colour) in policies.iter().zip(COLOURS) {
        let of = |reward: fn(&Point) -> Option<f64>| {
            points.iter().filter_map(move |point| Some((point.steps as f64 / 1e3, reward(point)?)))
        };
        chart.draw_series(LineSeries::new(of(|point| point.drawn), colour.mix(0.7).stroke_width(1)))?;
        chart
            .draw_series(LineSeries::new(of(|point| point.greedy), colour.stroke_width(3)))?
            .label(format!("{name}: bold where it plays greedily, thin where it learns"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .label_font((FONT, 13).into_font().color(&INK))
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .draw()?;
    Ok(())
}

/// A number of both episodes, by step.
fn line(area: &Area, title: &str, most: f64, policies: &[Policy], of: fn(&Moment) -> f64) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(4)
        .caption(title, (FONT, 15).into_font().color(&INK))
        .x_label_area_size(20)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..LONGEST as f64, -most..most)?;
    chart
        .configure_mesh()
        .x_labels(11)
        .y_labels(5)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .label_style((FONT, 11).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((_, _, episode), colour) in policies.iter().zip(COLOURS) {
        let points = episode.iter().enumerate().map(|(step, moment)| (step as f64, of(moment)));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        let end = episode.len().checked_sub(1).filter(|_| episode.len() < LONGEST);
        chart.draw_series(end.map(|step| Cross::new((step as f64, of(&episode[step])), 5, colour.stroke_width(2))))?;
    }
    Ok(())
}

/// Where each pushed to the right.
fn pushes(area: &Area, policies: &[Policy]) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(4)
        .caption("pushes by step: upper bars to the right, lower bars to the left", (FONT, 15).into_font().color(&INK))
        .x_label_area_size(20)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..LONGEST as f64, -0.2..4.2)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(11)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .label_style((FONT, 11).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (at, ((_, _, episode), colour)) in policies.iter().zip(COLOURS).enumerate() {
        let middle = 3.1 - 2.0 * at as f64;
        // Equal pushes are one bar.
        let mut step = 0;
        for same in episode.chunk_by(|a, b| a.2 == b.2) {
            let (from, height) = (step as f64, if same[0].2 { 0.8 } else { -0.8 });
            step += same.len();
            chart.draw_series([Rectangle::new([(from, middle), (step as f64, middle + height)], colour.filled())])?;
        }
    }
    Ok(())
}
