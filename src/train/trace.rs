//! What the gradient was like: at every step of the last window, and in every parameter.
//!
//! The contract: the norms over time were reduced on the device within the step; the parameters' are read and reduced
//! when they are asked for, and cost a step nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Trainer;
use super::metrics::ClipCount;
use crate::error::{Error, Result};
use crate::model::{Directions, Layer, StateShape};
use crate::recipe::Clip;

/// The gradient of the last step of a training whose recipe [traces](crate::Recipe::with_trace) it.
///
/// One line of JSON each, written with `serde_json`, is a log that other programs plot; with pandas
/// `pandas.DataFrame(json.loads(line)["layers"][0]["norms"] for line in open("traces.jsonl")).T.plot(logy=True)`.
///
/// ```
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Trainer};
/// let model = Model::new(Config::elman(InputKind::Tokens(3), 8, 3))?;
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy).with_trace())?;
/// trainer.step(&Batch::tokens(BatchShape { steps: 4, batch_size: 1 }, vec![0, 1, 2, 0], vec![1, 2, 0, 1]))?;
/// let trace = trainer.trace()?;
/// assert_eq!(trace.layers[0].norms.len(), 4); // of the gradient of h at each step
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Trace {
    /// The step, counted from 1.
    pub step: u64,
    /// Every layer, from the first; each direction by itself.
    pub layers: Vec<LayerTrace>,
    /// Every parameter tensor, in the model's order.
    pub parameters: Vec<ParameterTrace>,
    /// Which share of the steps that this trainer has done had its gradient scaled down, or an element of it held, 0 to
    /// 1. `None` without clipping.
    pub clipped: Option<f64>,
}

/// One layer's gradient over time.
///
/// It is that of h. What an LSTM's memory cell c hands on beside it has no part in it.
///
/// ```
/// use recurrent::Trace;
/// fn report(trace: &Trace) {
///     for layer in &trace.layers {
///         // Below 1 the gradient vanishes on its way back, above it explodes.
///         println!("layer {}: {:?} a step", layer.layer, layer.per_step_factor());
///     }
/// }
/// # let _ = report;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LayerTrace {
    /// The layer, counted from 0 as in [`Config::layers`](crate::Config).
    pub layer: usize,
    /// Whether it is the direction that reads from the last step to the first.
    pub reverse: bool,
    /// `[T]`: ‖dL/dh_t‖ over the sequences of the last window that have a step t; the first is that of h_1.
    pub norms: Vec<f64>,
}

impl LayerTrace {
    /// The factor by which the gradient norm changes per step back in time: below 1 it vanishes, above 1 it explodes.
    /// It is the slope of a straight line through ln ‖dL/dh_t‖, by least squares, and says most of a loss at the last
    /// step alone.
    ///
    /// `None` where fewer than two steps have a gradient that is finite and not 0.
    pub fn per_step_factor(&self) -> Option<f64> {
        let points = || {
            let steps = self.norms.iter().enumerate().filter(|(_, norm)| norm.is_finite() && **norm > 0.0);
            steps.map(|(t, norm)| (t as f64, norm.ln()))
        };
        let count = points().count() as f64;
        let mean = |sum: f64| sum / count;
        let (at, height) = (mean(points().map(|p| p.0).sum()), mean(points().map(|p| p.1).sum()));
        let spread: f64 = points().map(|p| (p.0 - at).powi(2)).sum();
        let slope = points().map(|p| (p.0 - at) * (p.1 - height)).sum::<f64>() / spread;
        // It travels from the last step that was read to the first.
        let decay = if self.reverse { slope.exp() } else { (-slope).exp() };
        (count >= 2.0).then_some(decay)
    }
}

/// One parameter tensor and its gradient.
///
/// ```
/// use recurrent::Trace;
/// fn report(trace: &Trace) {
///     for parameter in &trace.parameters {
///         println!("{}: {:e} of {:e}", parameter.name, parameter.gradient.norm, parameter.weight.norm);
///     }
/// }
/// # let _ = report;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ParameterTrace {
    /// Same as [`Layout`](crate::Layout) calls it.
    pub name: String,
    /// Its gradient before clipping.
    pub gradient: TensorStats,
    /// Its values, after the step.
    pub weight: TensorStats,
}

/// How large the elements of a tensor are.
///
/// ```
/// use recurrent::TensorStats;
/// /// How many elements are below a thousandth.
/// fn small(stats: &TensorStats) -> usize {
///     stats.zeros + stats.decades.range(..-3).map(|(_, count)| count).sum::<usize>()
/// }
/// # let _ = small;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TensorStats {
    /// √Σx².
    pub norm: f64,
    /// How many elements there are of each order of magnitude: of k with 10ᵏ ≤ |x| < 10ᵏ⁺¹.
    pub decades: BTreeMap<i32, usize>,
    /// How many are 0.
    pub zeros: usize,
    /// How many are not finite.
    pub not_finite: usize,
}

impl TensorStats {
    fn of(values: &[f32]) -> Self {
        let mut spread = TensorStats { norm: 0.0, decades: BTreeMap::new(), zeros: 0, not_finite: 0 };
        for value in values.iter().map(|value| f64::from(value.abs())) {
            spread.norm += value * value;
            if value == 0.0 {
                spread.zeros += 1;
            } else if value.is_finite() {
                *spread.decades.entry(value.log10().floor() as i32).or_default() += 1;
            } else {
                spread.not_finite += 1;
            }
        }
        spread.norm = spread.norm.sqrt();
        spread
    }
}

impl Trainer {
    /// What the gradient of the last step was like; of a step over several windows the parameters' is that of all, and
    /// the norms over time are those of the last window.
    ///
    /// It waits for the device and reads gradient and parameters from it.
    ///
    /// # Errors
    /// [`Error::Config`] where the recipe does not trace, [`Error::Data`] before the first step of this trainer, and as
    /// [`Trainer::model_async`].
    pub async fn trace_async(&mut self) -> Result<Trace> {
        if !self.recipe.trace {
            let what = "the recipe traces no gradient; expected one made by Recipe::with_trace";
            return Err(Error::Config(what.to_owned()));
        }
        let Some(last) = self.last.clone() else {
            return Err(Error::Data("there was no step yet whose gradient could be traced".to_owned()));
        };
        let Some(trace) = last.tensors.training.and_then(|training| training.trace) else {
            unreachable!("a training that traces has one");
        };
        self.drain().await?;
        let norms = self.session.executor.read(last.id, trace).await?;
        let gradients = self.flat_gradients(&last).await?;
        let weights = self.session.executor.read(last.id, last.tensors.parameters).await?;
        let shape = StateShape::new(self.session.config());
        let parts = shape.parts().iter().filter(|part| part.kind == 0);
        let rows: Vec<(usize, usize)> =
            parts.flat_map(|part| (0..part.directions).map(|direction| (part.layer, direction))).collect();
        let is_reversed = |at: usize| match self.session.config().layers[at] {
            Layer::Recurrent(layer) => layer.directions == Directions::Reverse,
            _ => false,
        };
        let layers = rows.iter().zip(norms.chunks_exact(norms.len() / rows.len())).map(|(row, norms)| LayerTrace {
            layer: row.0,
            reverse: row.1 == 1 || is_reversed(row.0),
            norms: norms.iter().map(|norm| f64::from(*norm)).collect(),
        });
        let parameters = self.layout.parameters().iter().map(|parameter| ParameterTrace {
            name: parameter.name.clone(),
            gradient: TensorStats::of(&gradients[parameter.range()]),
            weight: TensorStats::of(&weights[parameter.range()]),
        });
        let ClipCount { clipped, steps } = self.clipped;
        let counts = self.recipe.clip != Clip::None;
        Ok(Trace {
            step: self.steps,
            layers: layers.collect(),
            parameters: parameters.collect(),
            clipped: (counts && steps > 0).then(|| clipped as f64 / steps as f64),
        })
    }
}
