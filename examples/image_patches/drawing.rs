//! The picture of a run: losses, confusion, and images with what was read.
//!
//! The contract: mistakes come first, as they say most; what is right is blue, what is wrong red.

use plotters::prelude::*;

use crate::{
    classes::Confusion,
    curves,
    fit::Course,
    idx::Images,
    matrix,
    picture::{Area, Drawn, FONT, HELD, INK},
};

const RIGHT: RGBColor = RGBColor(0x2f, 0x6f, 0xb0);
/// Images in a row, and rows.
const SHOWN: (usize, usize) = (13, 2);

/// `read` names of each test image its place, what it is, and what was said.
pub fn draw(
    area: &Area,
    course: &Course,
    confusion: &Confusion,
    images: &Images,
    read: &[(usize, usize, usize)],
) -> Drawn {
    let height = area.dim_in_pixel().1 as i32;
    let (above, below) = area.split_vertically(height - 230);
    let (left, right) = above.split_horizontally(640);
    curves::curves(&left, course)?;
    matrix::matrix(&right, confusion)?;
    let (mut shown, others): (Vec<_>, Vec<_>) = read.iter().partition(|(_, is, said)| is != said);
    let wanted = SHOWN.0 * SHOWN.1;
    shown.truncate(wanted / 2);
    let every = (others.len() / wanted).max(1);
    shown.extend(others.into_iter().step_by(every).take(wanted - shown.len()));
    for (cell, &(at, is, said)) in below.split_evenly((SHOWN.1, SHOWN.0)).iter().zip(shown) {
        let colour = if is == said { RIGHT } else { HELD };
        let text = if is == said { format!("{said}") } else { format!("{said}? is {is}") };
        cell.draw_text(&text, &(FONT, 14).into_font().color(&colour), (8, 2))?;
        image_in(cell, images, &images.pixels[at])?;
    }
    Ok(())
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
