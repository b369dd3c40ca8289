//! The picture of a run: losses, confusion, and strokes as they were written with what was read.
//!
//! The contract: mistakes come first, as they say most; what is right is blue, what is wrong red.

use plotters::prelude::*;

use crate::{
    classes::Confusion,
    curves,
    fit::Course,
    matrix,
    picture::{Area, Drawn, FONT, HELD, INK},
    strokes::Stroke,
};

const RIGHT: RGBColor = RGBColor(0x2f, 0x6f, 0xb0);
/// Strokes in a row, and rows.
const SHOWN: (usize, usize) = (13, 2);

pub fn draw(area: &Area, course: &Course, confusion: &Confusion, test: &[Stroke], said: &[usize]) -> Drawn {
    let height = area.dim_in_pixel().1 as i32;
    let (above, below) = area.split_vertically(height - 230);
    let (left, right) = above.split_horizontally(640);
    curves::curves(&left, course)?;
    matrix::matrix(&right, confusion)?;
    let (mut shown, others): (Vec<_>, Vec<_>) =
        test.iter().zip(said).partition(|(stroke, said)| stroke.digit != **said);
    let wanted = SHOWN.0 * SHOWN.1;
    shown.truncate(wanted / 2);
    let every = (others.len() / wanted).max(1);
    shown.extend(others.into_iter().step_by(every).take(wanted - shown.len()));
    for (cell, (stroke, said)) in below.split_evenly((SHOWN.1, SHOWN.0)).iter().zip(shown) {
        stroke_in(cell, stroke, *said)?;
    }
    Ok(())
}

fn stroke_in(area: &Area, stroke: &Stroke, said: usize) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let side = width.min(height - 24) as f32 - 16.0;
    let at = |(x, y): (f32, f32)| ((8.0 + x * side / 100.0) as i32, (22.0 + (100.0 - y) * side / 100.0) as i32);
    let colour = if stroke.digit == said { RIGHT } else { HELD };
    let text = if stroke.digit == said { format!("{said}") } else { format!("{said}? is {}", stroke.digit) };
    area.draw_text(&text, &(FONT, 14).into_font().color(&colour), (8, 2))?;
    area.draw(&PathElement::new(stroke.points.map(at).to_vec(), INK.mix(0.75).stroke_width(2)))?;
    area.draw(&Circle::new(at(stroke.points[0]), 3, colour.filled()))?;
    Ok(())
}
