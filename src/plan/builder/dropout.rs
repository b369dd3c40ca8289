//! Dropout as a layer: in training a mask, otherwise nothing.

use super::Builder;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Site, Tape};
use crate::error::Result;
use crate::model::DropoutLayer;
use crate::plan::{DropoutDraw, DropoutMask, Op, TensorId, View};

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
