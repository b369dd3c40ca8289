//! The configuration in formats 2 and 3, which knew equal recurrent layers and one read-out, and what it is now.

use serde::Deserialize;

use crate::model::{Cell, Config, Directions, Init, InputKind, Pool, Recurrent};

/// A configuration of these formats.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShortConfig {
    input: InputKind,
    cell: Cell,
    hidden: usize,
    layers: usize,
    directions: Directions,
    bias: bool,
    #[serde(alias = "learnt_start")]
    learned_initial_state: bool,
    outputs: usize,
    read_out: ReadOut,
    init: Init,
    forget_bias: Option<f64>,
    seed: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadOut {
    EveryStep,
    Last,
    Mean,
}

impl ShortConfig {
    /// The same network.
    pub fn into_config(self) -> Config {
        let ShortConfig { cell, hidden, directions, bias, learned_initial_state, forget_bias, .. } = self;
        let plain = Recurrent::new(cell, hidden);
        let layer = Recurrent { directions, bias, learned_initial_state, forget_bias, ..plain };
        let pool = match self.read_out {
            ReadOut::EveryStep => None,
            ReadOut::Last => Some(Pool::Last),
            ReadOut::Mean => Some(Pool::Mean),
        };
        let config = Config::new(self.input).layer(layer).with_layers(self.layers);
        config.with_pool(pool).outputs(self.outputs).with_init(self.init).with_seed(self.seed)
    }
}
