//! Pictures of runs, as SVG.
//!
//! The contract: one look for all examples; what cannot be drawn or written is an error that names the file.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow};
use plotters::{coord::Shift, prelude::*};

/// The colour of what is learned from.
pub const TRAIN: RGBColor = RGBColor(0x7a, 0xa6, 0xd6);
/// The colour of what is held out, and of what is wrong.
pub const HELD: RGBColor = RGBColor(0xc8, 0x4b, 0x31);
/// The colour of text and axes.
pub const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
/// The colour of grid lines.
pub const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// The font of all text.
pub const FONT: &str = "sans-serif";

/// A part of a picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing comes to: an error of the back end, whatever it is.
pub type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Draws a picture of that size, in pixels, under a title.
pub fn write(path: &Path, size: (u32, u32), title: &str, draw: impl FnOnce(&Area) -> Drawn) -> Result<()> {
    let mut svg = String::new();
    let drawn = || -> Drawn {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.margin(12, 12, 12, 12).titled(title, (FONT, 20).into_font().color(&INK))?;
        draw(&area)?;
        area.present()?;
        Ok(())
    };
    drawn().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
    fs::write(path, svg).with_context(|| format!("cannot write the picture {}", path.display()))
}
