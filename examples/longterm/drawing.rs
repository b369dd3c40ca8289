//! The picture: a panel a task, a row a cell, a place a lag.
//!
//! The contract: a full disk is a lag that was solved, with its updates; a ring one that was not, and what is missing
//! was not tried.

use std::path::Path;

use anyhow::Result;
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use recurrent_examples::{
    cell::CellName,
    svg::{self, Area, Drawn, FONT, GRID, HELD, INK, TRAIN},
};

use crate::{runs::Outcome, tasks::Task};

const GREEN: RGBColor = RGBColor(0x3a, 0x8f, 0x5c);
const PANEL: i32 = 200;
const LEFT: i32 = 190;
const TOP: i32 = 46;

pub fn write(path: &Path, hidden: usize, lags: &[usize], outcomes: &[Outcome]) -> Result<()> {
    let tasks: Vec<Task> = Task::ALL.into_iter().filter(|task| outcomes.iter().any(|o| o.task == *task)).collect();
    let height = 90 + PANEL * tasks.len() as i32;
    let title = format!("how long a memory reaches: networks of {hidden} hidden units, updates until a lag is solved");
    svg::write(path, (980, height as u32), &title, |area| {
        let panels = area.split_evenly((tasks.len().max(1), 1));
        panels.iter().zip(&tasks).try_for_each(|(panel, task)| draw(panel, *task, lags, outcomes))
    })
}

fn draw(area: &Area, task: Task, lags: &[usize], outcomes: &[Outcome]) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let column = (width as i32 - LEFT - 60) / lags.len().max(1) as i32;
    let row = (height as i32 - TOP - 10) / 3;
    let x = |lag: usize| LEFT + column / 2 + column * lags.iter().position(|l| *l == lag).unwrap_or(0) as i32;
    let centre = |size: f64, colour: &RGBColor| {
        let pos = Pos::new(HPos::Center, VPos::Center);
        (FONT, size).into_font().color(colour).pos(pos)
    };
    let question = match task {
        Task::Recall => "recall: the first of many tokens",
        Task::Adding => "adding: the sum of two marked numbers",
        Task::Copy => "copy: three tokens in their order",
    };
    area.draw_text(question, &(FONT, 16).into_font().color(&INK), (12, 4))?;
    for lag in lags {
        area.draw(&PathElement::new([(x(*lag), TOP - 6), (x(*lag), height as i32 - 12)], GRID.stroke_width(1)))?;
        area.draw_text(&format!("lag {lag}"), &centre(13.0, &INK), (x(*lag), TOP - 16))?;
    }
    for (at, (cell, name, colour)) in
        [(CellName::Elman, "Elman", HELD), (CellName::Lstm, "LSTM", GREEN), (CellName::Gru, "GRU", TRAIN)]
            .into_iter()
            .enumerate()
    {
        let y = TOP + row / 2 + row * at as i32;
        area.draw_text(name, &(FONT, 15).into_font().color(&colour), (70, y - 8))?;
        for outcome in outcomes.iter().filter(|o| o.task == task && o.cell == cell) {
            let place = (x(outcome.lag), y);
            if outcome.solved {
                area.draw(&Circle::new(place, 19, colour.filled()))?;
                area.draw_text(&outcome.updates.to_string(), &centre(12.0, &WHITE), place)?;
            } else {
                area.draw(&Circle::new(place, 19, colour.stroke_width(2)))?;
                area.draw_text("no", &centre(12.0, &colour), place)?;
            }
        }
    }
    Ok(())
}
