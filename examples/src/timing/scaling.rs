//! How a network's time grows with its sizes, one at a time: measured, as lines of a table, and drawn.
//!
//! The contract: a dashed line is the time of the work's operations at the best pace among the sizes; those at which
//! the measured time is over [`DEPARTS`] times as long are named in the picture.

use std::path::Path;

use anyhow::Result;
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use recurrent::Device;

use super::clock::{Repeats, Subject, median};
use super::report::short;
use super::work::{Phase, Work};
use crate::svg::{self, Area, Drawn, FONT, GRID, HELD, INK, TRAIN};

/// By what factor a time is above its line where it departs from it.
pub const DEPARTS: f64 = 1.5;

/// The phases that are measured, and their colours.
const PHASES: [(Phase, RGBColor); 2] = [(Phase::Forward, TRAIN), (Phase::Train, HELD)];

/// One size that grows while the others stay.
pub struct Axis {
    /// Its letter and what it is.
    pub name: &'static str,
    /// The other sizes, as they are named in the picture.
    pub rest: &'static str,
    /// The sizes, ascending, and the work at each.
    pub works: Vec<(usize, Work)>,
}

/// What was measured at one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// T, B, H or L.
    pub size: usize,
    /// Floating-point operations of forward and train.
    pub flop: [f64; 2],
    /// Milliseconds of them.
    pub ms: [f64; 2],
}

/// Returns the milliseconds of an operation, in a phase, at the best pace among some points.
fn best_pace(points: &[Point], phase: usize) -> f64 {
    points.iter().map(|point| point.ms[phase] / point.flop[phase]).fold(f64::INFINITY, f64::min)
}

/// Returns by what factor each point's time is above the work's at the best pace.
fn times_line(points: &[Point], phase: usize) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
    let pace = best_pace(points, phase);
    points.iter().map(move |point| point.ms[phase] / (point.flop[phase] * pace))
}

/// Returns the four sizes that grow.
///
/// # Errors
/// None: the sizes are valid.
pub fn axes() -> Result<[Axis; 4]> {
    let of = |sizes: &[usize], work: &dyn Fn(usize) -> Result<Work>| -> Result<Vec<(usize, Work)>> {
        sizes.iter().map(|&size| Ok((size, work(size)?))).collect()
    };
    let powers = |from: u32, to: u32, by: usize| (from..=to).step_by(by).map(|power| 1 << power).collect::<Vec<_>>();
    Ok([
        Axis {
            name: "T, steps",
            rest: "B 4, I 64, H 64",
            works: of(&powers(7, 17, 2), &|steps| Work::parse(&format!("lstm:4,{steps},64,64,16")))?,
        },
        Axis {
            name: "B, sequences",
            rest: "T 64, I 64, H 128",
            works: of(&powers(0, 10, 1), &|batch| Work::parse(&format!("lstm:{batch},64,64,128,16")))?,
        },
        Axis {
            name: "H, hidden units",
            rest: "B 16, T 32, I 64",
            works: of(&powers(3, 11, 1), &|hidden| Work::parse(&format!("lstm:16,32,64,{hidden},16")))?,
        },
        Axis {
            name: "L, layers",
            rest: "B 16, T 64, I 128, H 128",
            works: of(&[1, 2, 3, 4, 6, 8], &|layers| Ok(Work::parse("lstm:16,64,128,128,16")?.with_layers(layers)))?,
        },
    ])
}

/// Times every work of an axis.
///
/// # Errors
/// The device's.
pub fn measure(axis: &Axis, device: &Device, seconds: f64) -> Result<Vec<Point>> {
    let repeats = Repeats { warm_up: 1, fewest: 3, seconds };
    let point = |(size, work): &(usize, Work)| -> Result<Point> {
        let subject = Subject::new(work)?;
        let ms = PHASES.map(|(phase, _)| subject.on(device, phase).and_then(|repeat| median(repeats, repeat)));
        let [forward, train] = ms;
        let flop = PHASES.map(|(phase, _)| work.flop(phase));
        Ok(Point { size: *size, flop, ms: [forward?.ms, train?.ms] })
    };
    axis.works.iter().map(point).collect()
}

/// Writes the lines of a table under `| grows | size | forward, ms | × line | train, ms | × line |`.
pub fn markdown(name: &str, points: &[Point]) -> String {
    let of_both = points.iter().zip(times_line(points, 0).zip(times_line(points, 1)));
    let line = |(Point { size, ms: [forward, train], .. }, (first, second)): (&Point, (f64, f64))| {
        format!("| {name} | {size} | {} | {first:.2} | {} | {second:.2} |\n", short(*forward), short(*train))
    };
    of_both.map(line).collect()
}

/// Says up to which size, and from which, the time departs from the work's line.
pub fn departure(points: &[Point], phase: usize) -> String {
    let times: Vec<f64> = times_line(points, phase).collect();
    let departs = |times: &f64| *times > DEPARTS;
    let below = times.iter().take_while(|times| departs(times)).count();
    let above = if below < times.len() { times.iter().rev().take_while(|times| departs(times)).count() } else { 0 };
    let most = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let mut parts = Vec::new();
    if let Some(at) = below.checked_sub(1) {
        parts.push(format!("up to {} at most {:.1} × the line", points[at].size, most(&times[..below])));
    }
    if let Some(at) = (above > 0).then(|| times.len() - above) {
        parts.push(format!("from {} on {:.1} ×", points[at].size, most(&times[at..])));
    }
    if times[below..times.len() - above].iter().any(departs) {
        parts.push(format!("in between {:.1} ×", most(&times[below..times.len() - above])));
    }
    if parts.is_empty() { format!("everywhere within {DEPARTS} × the line") } else { parts.join(", ") }
}

/// Draws a panel for each of four axes.
///
/// # Errors
/// What cannot be drawn or written.
pub fn draw(path: &Path, title: &str, panels: &[(&str, &str, Vec<Point>)]) -> Result<()> {
    svg::write(path, (1080, 860), title, |area| {
        let (legend, area) = area.split_vertically(26);
        draw_legend(&legend)?;
        for (area, (name, rest, points)) in area.split_evenly((2, 2)).iter().zip(panels) {
            panel(area, (name, rest), points)?;
        }
        Ok(())
    })
}

fn draw_legend(area: &Area) -> Drawn {
    let style = (FONT, 14).into_font().color(&INK);
    let mut x = 60;
    for (name, (_, colour)) in ["a forward pass", "a training step"].into_iter().zip(PHASES) {
        area.draw(&PathElement::new([(x, 12), (x + 26, 12)], colour.stroke_width(2)))?;
        area.draw(&Text::new(name, (x + 34, 4), &style))?;
        x += 160;
    }
    for dash in 0..3 {
        area.draw(&PathElement::new([(x + dash * 10, 12), (x + dash * 10 + 6, 12)], INK.stroke_width(1)))?;
    }
    area.draw(&Text::new("the work's operations at the best pace", (x + 38, 4), &style))?;
    Ok(())
}

fn panel(area: &Area, (name, rest): (&str, &str), points: &[Point]) -> Drawn {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(()) };
    let pace = [0, 1].map(|phase| best_pace(points, phase));
    let of_all = points.iter().flat_map(|point| [0, 1].map(|phase| (point, phase)));
    let lines = of_all.flat_map(|(point, phase)| [point.ms[phase], point.flop[phase] * pace[phase]]);
    let (low, high) = lines.fold((f64::MAX, 0.0_f64), |(low, high), ms| (low.min(ms), high.max(ms)));
    // Two notes stand above the lines.
    let (low, high) = (low / 1.6, high * (high / low).powf(0.3));
    let (from, to) = (first.size as f64 / 1.08, last.size as f64 * 1.08);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption(format!("{name}  ({rest})"), (FONT, 15).into_font().color(&INK))
        .x_label_area_size(28)
        .y_label_area_size(62)
        .build_cartesian_2d((from..to).log_scale(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(1)
        .x_label_formatter(&|_| String::new())
        .set_tick_mark_size(LabelAreaPosition::Bottom, 0)
        .y_labels(8)
        .y_desc("ms")
        .y_label_formatter(&|ms| format!("{ms}"))
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (phase, (_, colour)) in PHASES.into_iter().enumerate() {
        let line = points.iter().map(|point| (point.size as f64, point.flop[phase] * pace[phase]));
        chart.draw_series(DashedLineSeries::new(line, 5, 4, INK.stroke_width(1)))?;
        let measured = points.iter().map(|point| (point.size as f64, point.ms[phase]));
        chart.draw_series(LineSeries::new(measured.clone(), colour.stroke_width(2)))?;
        chart.draw_series(measured.map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    // Sizes stand below the axis, where a scale by powers of ten has no marks, and notes above the lines.
    let (plot, screen) = (chart.plotting_area(), area.use_screen_coord());
    let centred = (FONT, 13).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
    for point in points {
        let (x, y) = plot.map_coordinate(&(point.size as f64, low));
        screen.draw(&PathElement::new([(x, y), (x, y + 4)], INK.stroke_width(1)))?;
        screen.draw(&Text::new(point.size.to_string(), (x, y + 8), &centred))?;
    }
    let (x, y) = plot.map_coordinate(&(from, high));
    for (phase, (kind, colour)) in PHASES.into_iter().enumerate() {
        let style = (FONT, 13).into_font().color(&colour);
        let note = format!("{}: {}", kind.name(), departure(points, phase));
        screen.draw(&Text::new(note, (x + 10, y + 6 + 18 * phase as i32), &style))?;
    }
    Ok(())
}
