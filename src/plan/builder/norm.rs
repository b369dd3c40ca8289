//! Layer normalisation: a row by itself, and its gain and bias.

use super::Builder;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Tape};
use crate::error::Result;
use crate::model::LayerNorm;
use crate::plan::{DType, Normalize, NormalizeGradient, NormalizeWeightGradient, Op, TensorId, View};

/// A norm of a window.
pub(super) struct NormLayer {
    layer: usize,
    prefix: String,
    spec: LayerNorm,
    /// `[R, N]`.
    rows: TensorId,
    /// `[R, 2]`: what each row's mean and deviation were.
    statistics: TensorId,
}

/// A norm after a part.
struct NormTape {
    layer: usize,
    prefix: String,
    x: View,
    rows: View,
    statistics: TensorId,
    /// R, of the longest part.
    longest: usize,
}

impl NormLayer {
    /// The tensors of a layer of at most so many rows at a time.
    pub(super) fn open(
        builder: &mut Builder<'_>,
        (layer, prefix): (usize, &str),
        spec: &LayerNorm,
        [rows, width]: [usize; 2],
    ) -> Result<Self> {
        let statistics = builder.scratch(&format!("norm_statistics_l{layer}"), &[rows, 2], DType::F32)?;
        let rows = builder.scratch(&format!("norm_l{layer}"), &[rows, width], builder.storage_dtype)?;
        Ok(NormLayer { layer, prefix: prefix.to_owned(), spec: *spec, rows, statistics })
    }
}

impl OpenLayer for NormLayer {
    fn forward(&self, builder: &mut Builder<'_>, _: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let [longest, width] = [0, 1].map(|axis| builder.plan.get(self.rows).shape[axis]);
        let x = below.rows();
        let out = View::new(self.rows, 0, x.rows, width);
        let [gain, bias] = ["weight", "bias"].map(|name| builder.weight(&format!("{}{name}", self.prefix)));
        let (epsilon, statistics) = (self.spec.epsilon, self.statistics);
        builder.push(Op::Normalize(Normalize { x, gain, bias, epsilon, statistics, out }));
        let prefix = self.prefix.clone();
        Ok((out, Box::new(NormTape { layer: self.layer, prefix, x, rows: out, statistics, longest })))
    }
}

impl Tape for NormTape {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        builder.upstream(&format!("upstream_l{}", self.layer), self.rows, self.longest)
    }

    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, below: Option<Link<'_>>) -> Result<()> {
        let (d, x, statistics, slices) = (self.gradient(builder)?, self.x, self.statistics, segment.slices);
        let [gain, bias] = ["weight", "bias"].map(|name| builder.weight(&format!("{}{name}", self.prefix)));
        let op = NormalizeWeightGradient { d, x, statistics, slices, gain: gain.offset, bias: bias.offset };
        builder.push(Op::NormalizeWeightGradient(op));
        let Some(below) = below else { return Ok(()) };
        builder.push(Op::NormalizeGradient(NormalizeGradient { x, gain, statistics, d }));
        builder.hand_down(d, below, segment.first)
    }
}
