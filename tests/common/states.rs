//! Where the states of a network's recurrent layers lie, and those that are learned.
//!
//! The contract: it follows from the documentation of the crate and asks no code of it.

use recurrent::{Cell, Config, Directions, Layer, Layout, Recurrent};

/// One state of one recurrent layer.
#[derive(Clone, Debug)]
pub struct StatePart {
    /// Which layer of the network, and which of its module, whose name stands in front of its parameters'.
    pub layer: usize,
    pub number: usize,
    pub prefix: String,
    pub spec: Recurrent,
    /// 0 for h, 1 for c.
    pub kind: usize,
    /// How many numbers of a sequence's state lie before it.
    pub before: usize,
}

impl StatePart {
    /// D·H, of h with a projection D·P.
    pub fn width(&self) -> usize {
        self.width_of_one() * if self.spec.directions == Directions::Bidirectional { 2 } else { 1 }
    }

    /// That of one direction.
    pub fn width_of_one(&self) -> usize {
        self.spec.projection.filter(|_| self.kind == 0).unwrap_or(self.spec.hidden)
    }

    /// Where its learned initial value lies among the parameters, if it has one.
    pub fn learned(&self, layout: &Layout) -> Option<std::ops::Range<usize>> {
        let name = format!("{}{}", self.prefix, ["h_0", "c_0"][self.kind]);
        let start = layout.get(&name)?.offset + self.number * self.width();
        Some(start..start + self.width())
    }
}

/// All states of a network in the order in which they lie, h of all layers before c of any: the crate's documentation
/// of [`State::new`](recurrent::State::new) and of [`Layout`], written down again.
pub fn states(config: &Config) -> Vec<StatePart> {
    let mut layers: Vec<StatePart> = Vec::new();
    for (layer, spec) in config.layers.iter().enumerate() {
        let Layer::Recurrent(spec) = *spec else { continue };
        let number = match layers.last() {
            Some(last) if last.layer + 1 == layer && last.spec == spec => last.number + 1,
            _ => 0,
        };
        layers.push(StatePart { layer, number, prefix: String::new(), spec, kind: 0, before: 0 });
    }
    let has_names = |layer: &&Layer| matches!(layer, Layer::Dense(_) | Layer::Embedding(_) | Layer::LayerNorm(_));
    let others = config.layers.iter().filter(has_names).count();
    if layers.iter().filter(|layer| layer.number == 0).count() + others > 1
        || !config.heads.is_empty()
        || !config.columns.is_empty()
    {
        let mut met = std::collections::HashMap::new();
        for at in 0..layers.len() {
            let kind = match layers[at].spec.cell {
                Cell::Elman(_) => "rnn",
                Cell::Lstm => "lstm",
                Cell::Cifg => "cifg",
                Cell::PeepholeLstm => "peephole_lstm",
                _ => "gru",
            };
            layers[at].prefix = if layers[at].number > 0 {
                layers[at - 1].prefix.clone()
            } else {
                let count = met.entry(kind).and_modify(|count| *count += 1).or_insert(0);
                if *count == 0 { format!("{kind}.") } else { format!("{kind}_{count}.") }
            };
        }
    }
    let second = layers.iter().filter(|layer| matches!(layer.spec.cell, Cell::Lstm | Cell::Cifg | Cell::PeepholeLstm));
    let second: Vec<StatePart> = second.map(|layer| StatePart { kind: 1, ..layer.clone() }).collect();
    let mut before = 0;
    let mut all = [layers, second].concat();
    for part in &mut all {
        part.before = before;
        before += part.width();
    }
    all
}
