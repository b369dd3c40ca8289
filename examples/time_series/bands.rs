//! Forecasts as bands: between which values what comes will lie, and how often it did.
//!
//! The contract: the quantiles are the networks', of what the linear forecast leaves; none crosses another.

use recurrent::Loss;
use recurrent::metrics::Coverage;
use serde::Serialize;

/// The quantiles that networks say.
pub const LEVELS: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
/// The one that is the forecast.
pub const MEDIAN: usize = 2;
/// The outer band and the inner one, by the places of their ends among the levels.
const BANDS: [[usize; 2]; 2] = [[0, 4], [1, 3]];

/// What the networks learn by.
pub fn loss() -> Loss {
    Loss::ordered_quantiles(LEVELS)
}

/// Of a forecast `[horizon]` every quantile, in the order of the levels.
pub type Quantiles = Vec<Vec<f64>>;

/// How often what came lay in a band.
#[derive(Clone, Copy, Serialize)]
pub struct Held {
    /// How often it should.
    pub nominal: f64,
    /// One step ahead.
    pub first: f64,
    /// Over all steps ahead.
    pub all: f64,
}

/// Both bands at every place, the outer one first.
pub fn held(quantiles: &[Quantiles], truths: &[Vec<f64>]) -> recurrent::Result<Vec<Held>> {
    let of_band = |[low, high]: [usize; 2]| {
        let (mut first, mut all) = (Coverage::new(), Coverage::new());
        for (quantiles, truth) in quantiles.iter().zip(truths) {
            let (low, high) = (&quantiles[low], &quantiles[high]);
            all.add(truth, low, high, None)?;
            first.add(&truth[..1], &low[..1], &high[..1], None)?;
        }
        let share = |coverage: &Coverage| coverage.value().unwrap_or(f64::NAN);
        Ok(Held { nominal: LEVELS[high] - LEVELS[low], first: share(&first), all: share(&all) })
    };
    BANDS.into_iter().map(of_band).collect()
}

/// The ends of the outer band, from its lower end forwards and along its upper one back: a polygon over places from
/// `origin` on.
pub fn outline(quantiles: &Quantiles, origin: usize) -> Vec<(f64, f64)> {
    let [low, high] = BANDS[0].map(|at| {
        let places = quantiles[at].iter().enumerate();
        places.map(|(h, value)| ((origin + h) as f64, *value)).collect::<Vec<_>>()
    });
    low.into_iter().chain(high.into_iter().rev()).collect()
}
