//! The picture of a run, with images and what was read.
//!
//! The contract: an image is drawn pixel by pixel; what was read wrongly says what it is.

use plotters::prelude::*;
use recurrent::metrics::ConfusionMatrix;
use recurrent_examples::{
    fit::History,
    gallery::{Judged, gallery},
    readers::idx::Images,
    svg::{Area, Drawn, FONT, INK},
};

/// Images in a row, and rows.
const SHOWN: (usize, usize) = (13, 2);

/// `judged` names each test image by its place.
pub fn draw(
    area: &Area,
    history: &History,
    confusion: &ConfusionMatrix,
    images: &Images,
    judged: Vec<Judged<usize>>,
) -> Drawn {
    gallery(area, (history, confusion), judged, SHOWN, |cell, (at, is, said), colour| {
        let text = if is == said { format!("{said}") } else { format!("{said}? is {is}") };
        cell.draw_text(&text, &(FONT, 14).into_font().color(colour), (8, 2))?;
        image_in(cell, images, &images.pixels[*at])
    })
}

/// Runs of one grey in a row are one rectangle, and paper is none: the file stays small.
fn image_in(area: &Area, images: &Images, pixels: &[u8]) -> Drawn {
    const GREYS: u8 = 8;
    let (width, height) = area.dim_in_pixel();
    let side = ((width.min(height - 24) as usize - 12) / images.height.max(images.width)).max(1) as i32;
    let grey = |pixel: u8| pixel / (255 / GREYS);
    for (y, row) in (0..).zip(pixels.chunks_exact(images.width)) {
        let mut x = 0;
        for run in row.chunk_by(|a, b| grey(*a) == grey(*b)) {
            let end = x + run.len() as i32;
            let strength = f64::from(grey(run[0])) / f64::from(GREYS);
            if strength > 0.0 {
                let corners = [(8 + x * side, 22 + y * side), (8 + end * side, 22 + (y + 1) * side)];
                area.draw(&Rectangle::new(corners, INK.mix(strength.min(1.0)).filled()))?;
            }
            x = end;
        }
    }
    Ok(())
}
