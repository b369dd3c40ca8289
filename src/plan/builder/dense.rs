//! A dense layer: a product with W for all rows at once, and the function around it in place.

use super::Builder;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Tape};
use crate::error::Result;
use crate::model::{Activation, Dense};
use crate::plan::{Activate, ActivateGradient, CopyView, Op, TensorId, View};

/// A dense layer of a window.
pub(super) struct DenseLayer {
    /// Which layer of the network it is.
    layer: usize,
    prefix: String,
    activation: Activation,
    /// `[R, N]`: its values.
    rows: TensorId,
    /// `[R, N]`: what the function is of, of a training that needs it.
    sums: Option<TensorId>,
}

/// A dense layer after a part.
struct DenseTape {
    layer: usize,
    prefix: String,
    activation: Activation,
    rows: View,
    /// What the function's slope follows from.
    kept: View,
    below: Below,
    /// R, of the longest part.
    longest: usize,
}

impl DenseLayer {
    /// The tensors of a layer of at most so many rows at a time.
    pub(super) fn open(
        builder: &mut Builder<'_>,
        (layer, prefix): (usize, &str),
        spec: &Dense,
        rows: usize,
    ) -> Result<Self> {
        let (shape, dtype, activation) = ([rows, spec.units], builder.storage_dtype, spec.activation);
        let sums = match builder.is_training && !activation.slope_is_of_value() {
            true => Some(builder.scratch(&format!("dense_sums_l{layer}"), &shape, dtype)?),
            false => None,
        };
        let rows = builder.scratch(&format!("dense_l{layer}"), &shape, dtype)?;
        Ok(DenseLayer { layer, prefix: prefix.to_owned(), activation, rows, sums })
    }
}

impl OpenLayer for DenseLayer {
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let [weight, bias] = ["weight", "bias"].map(|name| format!("{}{name}", self.prefix));
        let [longest, units] = [0, 1].map(|axis| builder.plan.get(self.rows).shape[axis]);
        let count = match below {
            Below::Tokens { .. } | Below::Table { .. } => part.steps * builder.batch,
            Below::Rows(x) => x.rows,
        };
        let rows = View::new(self.rows, 0, count, units);
        let sums = self.sums.map_or(rows, |sums| View::new(sums, 0, count, units));
        builder.linear(below, (&weight, &bias), sums)?;
        if self.sums.is_some() {
            builder.push(Op::Copy(CopyView { from: sums, to: rows }));
        }
        let DenseLayer { layer, activation, .. } = *self;
        if activation != Activation::Identity {
            builder.push(Op::Activate(Activate { activation, x: rows }));
        }
        let prefix = self.prefix.clone();
        Ok((rows, Box::new(DenseTape { layer, prefix, activation, rows, kept: sums, below, longest })))
    }
}

impl Tape for DenseTape {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        builder.upstream(&format!("upstream_l{}", self.layer), self.rows, self.longest)
    }

    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, below: Option<Link<'_>>) -> Result<()> {
        let (d, activation, kept) = (self.gradient(builder)?, self.activation, self.kept);
        if activation != Activation::Identity {
            builder.push(Op::ActivateGradient(ActivateGradient { activation, kept, d }));
        }
        let name = format!("{}weight", self.prefix);
        let (weight, bias) = (builder.weight(&name).offset, builder.offset(&format!("{}bias", self.prefix)));
        builder.weight_gradient(d, self.below, (weight, bias), segment)?;
        match below {
            Some(below) => builder.pass_down(d, &name, below, segment.first),
            None => Ok(()),
        }
    }
}
