//! Dropout as a layer: in training a mask, otherwise nothing; and what dropout and zoneout draw in a recurrence.

use super::Builder;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Site, Tape};
use crate::error::Result;
use crate::model::{DropoutLayer, Recurrent};
use crate::plan::{DropoutDraw, DropoutMask, Hold, Lifetime, Op, TensorId, View};

/// A dropout of a window.
pub(super) struct DropoutPlace {
    layer: usize,
    /// Of a training: `[R, N]`, and how it draws.
    mask: Option<(TensorId, DropoutDraw)>,
    /// After how many rows the mask repeats.
    period: usize,
}

/// A dropout after a part.
struct DropoutTape {
    layer: usize,
    rows: View,
    mask: Option<DropoutMask>,
    /// R, of the longest part.
    longest: usize,
}

impl DropoutPlace {
    /// The tensors of a layer of at most so many rows at a time, and so many in all.
    pub(super) fn open(
        builder: &mut Builder<'_>,
        layer: usize,
        spec: &DropoutLayer,
        [rows, width]: [usize; 2],
        all: usize,
    ) -> Result<Self> {
        let mask = match builder.draw(Site::Layer(layer, spec.rate)) {
            None => None,
            Some(draw) => {
                let name = format!("dropout_l{layer}");
                Some((builder.scratch(&name, &[rows, width], builder.storage_dtype)?, draw))
            }
        };
        Ok(DropoutPlace { layer, mask, period: if spec.over_time { builder.batch } else { all } })
    }
}

impl OpenLayer for DropoutPlace {
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let x = below.rows();
        let Some((tensor, draw)) = self.mask else {
            return Ok((x, Box::new(DropoutTape { layer: self.layer, rows: x, mask: None, longest: 0 })));
        };
        let (longest, out) = (builder.plan.get(tensor).shape[0], View::new(tensor, 0, x.rows, x.cols));
        let mask = DropoutMask { input: Some(x), out, draw, first: part.first * builder.batch, period: self.period };
        builder.push(Op::Dropout(mask.clone()));
        Ok((out, Box::new(DropoutTape { layer: self.layer, rows: out, mask: Some(mask), longest })))
    }
}

impl Tape for DropoutTape {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        builder.upstream(&format!("upstream_l{}", self.layer), self.rows, self.longest)
    }

    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, below: Option<Link<'_>>) -> Result<()> {
        let (Some(mask), Some(below)) = (&self.mask, below) else { return Ok(()) };
        let d = self.gradient(builder)?;
        // By way of what was read where another dropout stands between the two: nobody reads it any more.
        let out = if below.draw.is_some() { below.rows } else { below.tape.gradient(builder)? };
        builder.push(Op::Dropout(DropoutMask { input: Some(d), out, ..mask.clone() }));
        if below.draw.is_some() { builder.hand_down(out, below, segment.first) } else { Ok(()) }
    }
}

/// The mask of the hidden state's dropout, and what zoneout keeps over so many steps, of a training in one tensor: the
/// mask, then the draws of h, then those of c.
pub(super) fn masks(
    builder: &mut Builder<'_>,
    layer: usize,
    spec: &Recurrent,
    (steps, draws): (usize, [Option<DropoutDraw>; 2]),
) -> Result<(Option<TensorId>, [Hold; 2])> {
    let (batch, hidden) = (builder.batch, builder.draw(Site::Hidden(layer)));
    let width = |kind: usize| spec.state_width(kind);
    let of_hidden = if hidden.is_some() { batch.saturating_mul(width(0)) } else { 0 };
    let rows = steps.saturating_mul(batch);
    let drawn = draws.iter().enumerate().filter(|(_, draw)| draw.is_some());
    let len = drawn.fold(of_hidden, |len, (kind, _)| len.saturating_add(rows.saturating_mul(width(kind))));
    let mut zoneout = match builder.is_training {
        true => [Hold::None; 2],
        false => spec.zoneout.rates().map(|rate| if rate > 0.0 { Hold::Share(rate) } else { Hold::None }),
    };
    if len == 0 {
        return Ok((None, zoneout));
    }
    let name = if len == of_hidden { "hidden_mask" } else { "masks" };
    // Rows of h and of c are as wide as each other unless h is projected.
    let shape = if spec.projection.is_some() { vec![len] } else { vec![len / width(0), width(0)] };
    let masks = builder.real(&format!("{name}_l{layer}"), &shape, Lifetime::Transient)?;
    if let Some(draw) = hidden {
        let out = View::new(masks, 0, batch, width(0));
        builder.push(Op::Dropout(DropoutMask { input: None, out, draw, first: 0, period: batch }));
    }
    let mut first = of_hidden;
    for (kind, hold) in zoneout.iter_mut().enumerate().filter(|(kind, _)| draws[*kind].is_some()) {
        *hold = Hold::Drawn(View::new(masks, first, rows, width(kind)));
        first += rows * width(kind);
    }
    Ok((hidden.map(|_| masks), zoneout))
}
