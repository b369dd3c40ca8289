//! The picture of a run: losses, shares of right words beside those of simpler taggers, confusion, and sentences.
//!
//! The contract: sentences with a mistake come first, and fill half of the room at the most; a wrong tag is red and
//! says what is right.

use plotters::prelude::*;
use recurrent::metrics::ConfusionMatrix;
use recurrent_examples::{
    confusion_plot::{self, RIGHT},
    curves,
    fit::History,
    readers::tagged::Sentence,
    svg::{Area, Drawn, FONT, GRID, HELD, INK, TRAIN},
};

use crate::score::{GROUPS, Score};

/// Sentences that are shown, and the height of one.
const SHOWN: usize = 4;
const HEIGHT: i32 = 46;
/// Of bars, the tagger's last.
const COLOURS: [RGBColor; 4] = [RGBColor(0xad, 0xad, 0xad), TRAIN, TRAIN, RIGHT];

/// Returns the tags by their names.
pub fn names(said: &[Vec<usize>], tags: &[String]) -> Vec<Vec<String>> {
    said.iter().map(|words| words.iter().filter_map(|&class| tags.get(class).cloned()).collect()).collect()
}

pub fn draw(
    area: &Area,
    history: &History,
    confusion: &ConfusionMatrix,
    scores: &[(&str, Score)],
    test: &[Sentence],
    said: &[Vec<String>],
) -> Drawn {
    let height = area.dim_in_pixel().1 as i32;
    let (above, below) = area.split_vertically(height - HEIGHT * SHOWN as i32);
    let (left, right) = above.split_horizontally(540);
    let (losses, bars) = left.split_vertically(300);
    curves::curves(&losses, history)?;
    shares(&bars, scores)?;
    confusion_plot::draw(&right, confusion)?;
    let (mut shown, others): (Vec<_>, Vec<_>) = test.iter().zip(said).partition(|(one, said)| one.tags != **said);
    shown.truncate(SHOWN / 2);
    shown.extend(others.into_iter().take(SHOWN - shown.len()));
    for (row, (one, said)) in below.split_evenly((SHOWN, 1)).iter().zip(shown) {
        sentence(row, one, said)?;
    }
    Ok(())
}

/// A bar for every tagger in every group of words, from nothing to all of them.
fn shares(area: &Area, scores: &[(&str, Score)]) -> Drawn {
    let (left, width, step) = (150, area.dim_in_pixel().0 as i32 - 150 - 76, 17);
    let style = (FONT, 13).into_font().color(&INK);
    let mut y = 4;
    for (group, (name, _)) in GROUPS.iter().enumerate() {
        let count = scores.last().map_or(0, |(_, score)| score.counts()[group]);
        area.draw_text(&format!("{name} ({count}), told rightly"), &(FONT, 15).into_font().color(&INK), (12, y))?;
        y += step + 4;
        for ((tagger, score), colour) in scores.iter().zip(COLOURS) {
            let share = score.shares()[group];
            let end = left + (f64::from(width) * share.unwrap_or(0.0)) as i32;
            area.draw_text(tagger, &style, (24, y))?;
            area.draw(&Rectangle::new([(left, y + 1), (left + width, y + step - 3)], GRID.filled()))?;
            area.draw(&Rectangle::new([(left, y + 1), (end, y + step - 3)], colour.filled()))?;
            let text = share.map_or_else(|| "none".to_owned(), |share| format!("{:.1} %", share * 100.0));
            area.draw_text(&text, &style, (left + width + 8, y))?;
            y += step;
        }
        y += 8;
    }
    Ok(())
}

/// The words of a sentence as far as there is room, each above its tag.
fn sentence(area: &Area, sentence: &Sentence, said: &[String]) -> Drawn {
    let mut x = 12;
    for ((word, is), said) in sentence.words.iter().zip(&sentence.tags).zip(said) {
        let (tag, colour) = if is == said { (said.clone(), RIGHT) } else { (format!("{said}? is {is}"), HELD) };
        let width = (8 * word.chars().count()).max(8 * tag.chars().count()) as i32 + 14;
        if x + width > area.dim_in_pixel().0 as i32 {
            area.draw_text("…", &(FONT, 15).into_font().color(&INK), (x, 6))?;
            break;
        }
        area.draw_text(word, &(FONT, 15).into_font().color(&INK), (x, 6))?;
        area.draw_text(&tag, &(FONT, 12).into_font().color(&colour), (x, 25))?;
        x += width;
    }
    Ok(())
}
