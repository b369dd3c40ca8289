//! The picture of a run, with strokes as they were written and what was read.
//!
//! The contract: a stroke begins at its dot; what was read wrongly says what it is.

use plotters::prelude::*;
use recurrent::metrics::ConfusionMatrix;
use recurrent_examples::{
    fit::History,
    gallery::gallery,
    readers::strokes::Stroke,
    svg::{Area, Drawn, FONT, INK},
};

/// Strokes in a row, and rows.
const SHOWN: (usize, usize) = (13, 2);

pub fn draw(area: &Area, history: &History, confusion: &ConfusionMatrix, test: &[Stroke], said: &[usize]) -> Drawn {
    let judged = test.iter().zip(said).map(|(stroke, said)| (stroke, stroke.digit, *said)).collect();
    gallery(area, (history, confusion), judged, SHOWN, |cell, (stroke, is, said), colour| {
        let text = if is == said { format!("{said}") } else { format!("{said}? is {is}") };
        stroke_in(cell, stroke, &text, colour)
    })
}

fn stroke_in(area: &Area, stroke: &Stroke, text: &str, colour: &RGBColor) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let side = width.min(height - 24) as f32 - 16.0;
    let at = |(x, y): (f32, f32)| ((8.0 + x * side / 100.0) as i32, (22.0 + (100.0 - y) * side / 100.0) as i32);
    area.draw_text(text, &(FONT, 14).into_font().color(colour), (8, 2))?;
    area.draw(&PathElement::new(stroke.points.map(at).to_vec(), INK.mix(0.75).stroke_width(2)))?;
    area.draw(&Circle::new(at(stroke.points[0]), 3, colour.filled()))?;
    Ok(())
}
