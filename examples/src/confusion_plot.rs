//! The confusion matrix as a picture.
//!
//! The contract: the darker, the larger its share of its row; what is wrong is red, what is right blue. Numbers that
//! have no room are left out; names too long for their column stand upright, and very long ones are cut.

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use recurrent::metrics::ConfusionMatrix;

use crate::svg::{Area, Drawn, FONT, HELD, INK};

/// Letters of a name that are drawn.
const LONGEST: usize = 12;
/// The colour of what is right.
pub const RIGHT: RGBColor = RGBColor(0x2f, 0x6f, 0xb0);

/// Draws the matrix as large as the area has room for.
pub fn draw(area: &Area, confusion: &ConfusionMatrix) -> Drawn {
    let classes = confusion.names().len() as i32;
    let (width, height) = area.dim_in_pixel();
    let names: Vec<String> = confusion.names().iter().map(|name| name.chars().take(LONGEST).collect()).collect();
    // Beyond two letters a name takes more room, and beyond three it is turned below its column.
    let longest = names.iter().map(|name| name.chars().count() as i32).max().unwrap_or(0);
    let (more, is_upright) = (8 * (longest - 2).max(0), longest > 3);
    let (left, top, below) = (44 + more, 34, if is_upright { 34 + more } else { 34 });
    let cell = ((width as i32 - left - 12).min(height as i32 - top - below)) / classes;
    let at = Pos::new(HPos::Center, VPos::Center);
    let style = |size: i32, colour: RGBColor| (FONT, size).into_font().color(&colour).pos(at);
    let middle = left + cell * classes / 2;
    area.draw_text("confusion on the test part", &style(15, INK), (middle, 14))?;
    area.draw_text("said", &style(13, INK), (middle, top + cell * classes + below - 8))?;
    area.draw_text("is", &style(13, INK), (10, top + cell * classes / 2))?;
    // Of many classes some names, and no counts.
    let gap = i32::from(cell > 3);
    let (every, has_counts) = ((16 + cell - 1) / cell.max(1), cell >= 16);
    for ((is, row), name) in (0..).zip(confusion.counts().chunks(classes as usize)).zip(&names) {
        let of = row.iter().sum::<u64>().max(1);
        if is % every == 0 {
            let label = style((cell + 4).min(13), INK);
            area.draw_text(name, &label, (left - 12 - more / 2, top + cell * is + cell / 2))?;
            let turned = if is_upright { label.transform(FontTransform::Rotate270) } else { label };
            area.draw_text(name, &turned, (left + cell * is + cell / 2, top + cell * classes + 10 + more / 2))?;
        }
        for (said, &count) in (0..).zip(row) {
            let share = count as f64 / of as f64;
            let (colour, strength) = match (count, is == said) {
                (0, _) => (INK, 0.03),
                (_, true) => (RIGHT, 0.15 + 0.85 * share),
                // A few mistakes are what one looks for.
                (_, false) => (HELD, (0.25 + 3.0 * share).min(1.0)),
            };
            let (x, y) = (left + cell * said, top + cell * is);
            area.draw(&Rectangle::new(
                [(x + gap, y + gap), (x + cell - gap, y + cell - gap)],
                colour.mix(strength).filled(),
            ))?;
            if count > 0 && has_counts {
                let ink = if strength > 0.55 { WHITE } else { INK };
                area.draw_text(&count.to_string(), &style((cell / 3).clamp(9, 13), ink), (x + cell / 2, y + cell / 2))?;
            }
        }
    }
    Ok(())
}
