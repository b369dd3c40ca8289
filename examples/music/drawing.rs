//! The picture of a run: losses, what is compared, and three piano rolls: a piece of the test part, what the network
//! expected at each step of it, and what it plays itself.
//!
//! The contract: all three rolls have the same keys and as many steps; the darker, the more probable.

use plotters::prelude::*;
use recurrent_examples::{
    curves,
    fit::History,
    readers::midi::{KEYS, LOWEST, Piece},
    svg::{Area, Drawn, FONT, GRID, HELD, INK, TRAIN},
};

/// Steps that are shown, at most.
const SHOWN: usize = 128;
/// Below this probability nothing is drawn.
const LEAST: f64 = 0.05;

/// Draws all of it; `scores` are nats an eighth note, the network's last.
pub fn draw(
    area: &Area,
    history: &History,
    (piece, expected, played): (&Piece, &[f64], &[u128]),
    scores: &[(&str, f64)],
) -> Drawn {
    let (above, below) = area.split_vertically(270);
    let (left, right) = above.split_horizontally(640);
    curves::curves(&left, history)?;
    bars(&right, scores)?;
    let heard: Vec<f64> = piece.steps.iter().flat_map(|step| of(*step)).collect();
    let played: Vec<f64> = played.iter().flat_map(|step| of(*step)).collect();
    let sounding = heard.iter().chain(&played).enumerate().filter(|(_, p)| **p > 0.0).map(|(at, _)| at % KEYS);
    let (low, high) = sounding.fold((KEYS, 0), |(low, high), key| (low.min(key), high.max(key)));
    let keys = low.saturating_sub(1)..(high + 2).min(KEYS);
    let titles = [
        (format!("{}: what is played", piece.name), &heard[..], TRAIN),
        ("what the network expects at each step of it".to_owned(), expected, INK),
        ("what the network plays".to_owned(), &played, HELD),
    ];
    for (area, (title, rows, colour)) in below.split_evenly((3, 1)).iter().zip(titles) {
        roll(area, &title, rows, &keys, colour)?;
    }
    Ok(())
}

/// 1 for each key that sounds.
fn of(step: u128) -> impl Iterator<Item = f64> {
    (0..KEYS).map(move |key| (step >> key & 1) as f64)
}

/// Rows of probabilities, `[T, 88]`, with time to the right and keys upwards.
fn roll(area: &Area, title: &str, rows: &[f64], keys: &std::ops::Range<usize>, colour: RGBColor) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(4)
        .caption(title, (FONT, 15).into_font().color(&INK))
        .x_label_area_size(18)
        .y_label_area_size(34)
        .build_cartesian_2d(0.0..SHOWN as f64, keys.start as f64..keys.end as f64)?;
    // A line a bar of four quarter notes, and the names of the Cs.
    chart
        .configure_mesh()
        .x_labels(17)
        .y_labels(8)
        .y_label_formatter(&|key| format!("{}", *key as usize + LOWEST))
        .x_label_formatter(&|step| format!("{}", *step as usize))
        .label_style((FONT, 11).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let rows: Vec<&[f64]> = rows.chunks_exact(KEYS).take(SHOWN).collect();
    for key in keys.clone() {
        // Equal steps are one bar.
        let mut step = 0;
        for bar in rows.chunk_by(|a, b| a[key] == b[key]) {
            let (p, from) = (bar[0][key], step);
            step += bar.len();
            if p >= LEAST {
                let corners = [(from as f64, key as f64), (step as f64, key as f64 + 1.0)];
                chart.draw_series([Rectangle::new(corners, colour.mix(p).filled())])?;
            }
        }
    }
    Ok(())
}

/// What each reaches, the shorter the better.
fn bars(area: &Area, scores: &[(&str, f64)]) -> Drawn {
    let (width, _) = area.dim_in_pixel();
    let most = scores.iter().fold(f64::MIN_POSITIVE, |most, (_, nats)| most.max(*nats));
    area.draw_text("nats an eighth note, test part", &(FONT, 15).into_font().color(&INK), (12, 10))?;
    for (at, (name, nats)) in scores.iter().enumerate() {
        let top = 44 + at as i32 * 66;
        let length = (nats / most * f64::from(width - 90)) as i32;
        let colour = if at + 1 == scores.len() { HELD } else { TRAIN };
        area.draw_text(&format!("{name}: {nats:.2}"), &(FONT, 14).into_font().color(&INK), (12, top))?;
        area.draw(&Rectangle::new([(12, top + 20), (12 + length.max(1), top + 42)], colour.filled()))?;
    }
    Ok(())
}
