//! The picture of a classification: losses, confusion, and examples with what was said of them.
//!
//! The contract: mistakes come first, as they say most, and fill half of it at the most; what is right is blue, what is
//! wrong red.

use plotters::prelude::*;
use recurrent::metrics::ConfusionMatrix;

use crate::{
    confusion_plot::{self, RIGHT},
    curves,
    fit::History,
    svg::{Area, Drawn, HELD},
};

/// An example, what it is, and what was said.
pub type Judged<T> = (T, usize, usize);

/// Draws all of it, with examples in so many columns and rows, each by `one` in the colour of right or wrong.
pub fn gallery<T>(
    area: &Area,
    (history, confusion): (&History, &ConfusionMatrix),
    judged: Vec<Judged<T>>,
    (columns, rows): (usize, usize),
    one: impl Fn(&Area, &Judged<T>, &RGBColor) -> Drawn,
) -> Drawn {
    let height = area.dim_in_pixel().1 as i32;
    let (above, below) = area.split_vertically(height - 230);
    let (left, right) = above.split_horizontally(640);
    curves::curves(&left, history)?;
    confusion_plot::draw(&right, confusion)?;
    let (mut shown, others): (Vec<_>, Vec<_>) = judged.into_iter().partition(|(_, is, said)| is != said);
    let wanted = columns * rows;
    shown.truncate(wanted / 2);
    let every = (others.len() / wanted).max(1);
    shown.extend(others.into_iter().step_by(every).take(wanted - shown.len()));
    for (cell, judged) in below.split_evenly((rows, columns)).iter().zip(&shown) {
        one(cell, judged, if judged.1 == judged.2 { &RIGHT } else { &HELD })?;
    }
    Ok(())
}
