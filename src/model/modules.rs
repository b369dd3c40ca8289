//! The modules of a network: layers that PyTorch has one module for, and what their parameters are called.
//!
//! The contract: a network that is one stack of equal recurrent layers has PyTorch's names as they are, `weight_ih_l0`,
//! and `weight` and `bias` of the read-out; in any other the module's name stands in front, `lstm.weight_ih_l0` or
//! `dense.weight`, from the second of a kind on with a number, `lstm_1.weight_ih_l0`, `head.0.` in front of the
//! read-out's, `head.tags.` in front of those of a head of that name, and `column.tags.` in
//! front of a column's table.

use std::ops::Range;

use super::config::Config;
use super::layers::{Draw, Layer, ParameterGroup};

/// The table of an embedding, of which a network has one at most.
pub(crate) const EMBEDDING: &str = "embedding.weight";

/// What stands in front of the names of the network's own read-out, among several modules.
pub(crate) const HEAD: &str = "head.0.";

/// Equal layers, one above the other.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// What stands in front of the names of its parameters.
    pub prefix: String,
    /// Which layers of the network they are.
    pub layers: Range<usize>,
    pub layer: Layer,
}

/// The modules of all layers that have parameters, from the lowest up.
pub(crate) fn modules(config: &Config) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    for (at, layer) in config.layers.iter().enumerate() {
        let is_recurrent = matches!(layer, Layer::Recurrent(_));
        match modules.last_mut() {
            _ if matches!(layer, Layer::Pool(_) | Layer::Dropout(_)) => {}
            Some(last) if is_recurrent && last.layer == *layer && last.layers.end == at => last.layers.end = at + 1,
            _ => modules.push(Module { prefix: String::new(), layers: at..at + 1, layer: *layer }),
        }
    }
    if modules.len() > 1 || !config.heads.is_empty() || !config.columns.is_empty() {
        for at in 0..modules.len() {
            let kind = modules[at].layer.kind();
            let before = modules[..at].iter().filter(|module| module.layer.kind() == kind).count();
            modules[at].prefix = if before == 0 { format!("{kind}.") } else { format!("{kind}_{before}.") };
        }
    }
    modules
}

/// All parameters in the order in which they are drawn and listed.
pub(super) fn parameter_groups(config: &Config) -> Vec<ParameterGroup> {
    let (modules, widths) = (modules(config), config.widths());
    let mut groups = Vec::new();
    for module in &modules {
        for (number, at) in module.layers.clone().enumerate() {
            let mut own = module.layer.parameters(number, widths[at], config.tied);
            own.iter_mut().flat_map(|group| &mut group.names).for_each(|name| name.insert_str(0, &module.prefix));
            groups.extend(own);
        }
    }
    for column in &config.columns {
        let Some(embedding) = column.embedding else { continue };
        let mut own = embedding.parameters(column.input.size(), false);
        own.iter_mut().flat_map(|group| &mut group.names).for_each(|name| name.insert_str(0, &column.prefix()));
        groups.extend(own);
    }
    let is_plain = modules.iter().all(|module| module.prefix.is_empty());
    let own = (if is_plain { "" } else { HEAD }.to_owned(), widths[config.layers.len()], config.outputs, config.tied);
    let named = config.heads.iter().map(|head| (head.prefix(), widths[head.reads], head.outputs, false));
    for (prefix, width, outputs, tied) in std::iter::once(own).chain(named) {
        let of_head = |name: &str, shape, draw| ParameterGroup { names: vec![format!("{prefix}{name}")], shape, draw };
        if !tied {
            groups.push(of_head("weight", vec![outputs, width], Draw::Weight { blocks: 1, fan: width }));
        }
        groups.push(of_head("bias", vec![outputs], Draw::Bias { fan: width }));
    }
    for Module { prefix, layers, layer } in &modules {
        let Layer::Recurrent(recurrent) = layer else { continue };
        if recurrent.learned_initial_state {
            for (kind, name) in ["h_0", "c_0"].into_iter().take(recurrent.cell.states()).enumerate() {
                let (name, shape) = (format!("{prefix}{name}"), vec![layers.len(), recurrent.state_width(kind)]);
                match groups.last_mut() {
                    // Beside h, where it is as wide.
                    Some(h) if kind > 0 && h.shape == shape => h.names.push(name),
                    _ => groups.push(ParameterGroup { names: vec![name], shape, draw: Draw::Zero }),
                }
            }
        }
    }
    groups
}

/// Whether a parameter of that name is of the network's own read-out.
pub(crate) fn is_read_out(name: &str) -> bool {
    matches!(name.strip_prefix(HEAD).unwrap_or(name), "weight" | "bias")
}
