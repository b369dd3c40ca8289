//! Networks that are lists of layers, drawn one by one.
//!
//! The contract: what a user can say is drawn, the same for the same random numbers.

use recurrent::{
    Activation, Cell, Config, Dense, Directions, Embedding, EmbeddingUpdate, GateActivation, InputKind, Join, Layer,
    LayerNorm, Recipe,
};

use super::random::Random;

/// What stands in front of the names of a dense layer's parameters, or a norm's.
pub fn prefix_of(config: &Config, at: usize) -> String {
    let is_dense = |layer: &Layer| matches!(layer, Layer::Dense(_));
    let is_norm = |layer: &Layer| matches!(layer, Layer::LayerNorm(_));
    let (kind, before) = match &config.layers[at] {
        layer if is_dense(layer) => ("dense", config.layers[..at].iter().filter(|l| is_dense(l)).count()),
        _ => ("norm", config.layers[..at].iter().filter(|l| is_norm(l)).count()),
    };
    if before == 0 { format!("{kind}.") } else { format!("{kind}_{before}.") }
}

/// The same network with a dense layer, or an embedding, below all others, dropout, a dense layer, a norm and a way
/// past another dense layer above them and, where there is a pool, a dense layer below that. The dense layer below all
/// has a way past it through a map where it reads numbers.
pub fn with_dense(mut config: Config) -> Config {
    let pool = config.layers.iter().position(|layer| matches!(layer, Layer::Pool(_)));
    if let Some(at) = pool {
        config.layers.insert(at, Dense::new(3, Activation::Gelu).into());
    }
    match config.input {
        InputKind::Tokens(tokens) if tokens > 2 => config.layers.insert(0, Embedding::new(4).with_padding(1).into()),
        InputKind::Dense(_) => {
            config.layers.insert(0, Dense::new(4, Activation::Sigmoid).with_bias(false).residual().into());
        }
        _ => config.layers.insert(0, Dense::new(4, Activation::Sigmoid).with_bias(false).into()),
    }
    let config = config.dropout(0.2).dense(5, Activation::Softplus).layer(LayerNorm::new().with_epsilon(0.1));
    config.layer(Dense::new(5, Activation::Tanh).residual())
}

/// The same network with layers that are drawn one by one: of each recurrent one the cell, size, directions and how
/// they are joined, biases and whether the initial state is learned, with dense layers and norms anywhere among them.
pub fn mixed(mut config: Config, random: &mut Random, cells: &[Cell], functions: &[Activation]) -> Config {
    for layer in &mut config.layers {
        let Layer::Recurrent(layer) = layer else { continue };
        let drawn = random.ids(5, 1 << 16);
        layer.cell = cells[drawn[0] as usize % cells.len()];
        layer.hidden = 1 + drawn[1] as usize % (2 * layer.hidden);
        if layer.directions == Directions::Bidirectional {
            layer.directions =
                [Directions::Forward, Directions::Bidirectional, Directions::Reverse][drawn[2] as usize % 3];
        }
        layer.gate_activation = match (layer.cell, drawn[1] as usize / 16 % 4) {
            (Cell::Elman(_), _) | (_, 0 | 1) => GateActivation::Sigmoid,
            (_, 2) => GateActivation::HardSigmoid,
            _ => GateActivation::SteepHardSigmoid,
        };
        let has_c = layer.cell.states() > 1;
        layer.cell_clip = (has_c && (drawn[4] / 2).is_multiple_of(3)).then_some(0.3);
        let h = if (drawn[3] / 4).is_multiple_of(4) { 0.2 } else { 0.0 };
        let c = if has_c && (drawn[3] / 16).is_multiple_of(3) { 0.4 } else { 0.0 };
        *layer = layer.with_zoneout(h, c);
        let projects =
            matches!(layer.cell, Cell::Lstm | Cell::Cifg) && (drawn[4] / 8).is_multiple_of(2) && layer.hidden > 1;
        layer.projection = projects.then(|| 1 + drawn[4] as usize / 16 % (layer.hidden - 1));
        layer.join = Join::Concat;
        if layer.directions == Directions::Bidirectional {
            let joins = [Join::Concat, Join::Sum, Join::Concat, Join::Mean, Join::Concat, Join::Product];
            layer.join = joins[drawn[2] as usize / 3 % 6];
        }
        (layer.bias, layer.learned_initial_state) = (!drawn[3].is_multiple_of(4), drawn[4].is_multiple_of(2));
    }
    for at in (0..=config.layers.len()).rev() {
        let [inserts, units, function, bias] = random.ids(4, 1 << 16)[..] else { unreachable!() };
        let is_above_tokens = at > 0 || matches!(config.input, InputKind::Dense(_));
        if inserts % 5 == 1 && is_above_tokens {
            // Not of the smallest ε: it would make much of rounding where the numbers of a row are nearly the same.
            config.layers.insert(at, LayerNorm::new().with_epsilon(0.5).into());
        }
        if inserts.is_multiple_of(3) {
            let dense = Dense::new(1 + units as usize % 7, functions[function as usize % functions.len()]);
            config.layers.insert(at, dense.with_bias(!bias.is_multiple_of(4)).into());
        }
    }
    // The way past a layer, which is made as wide as what it reads, or has a map.
    let mut below = config.input.size();
    for at in 0..config.layers.len() {
        let drawn = random.ids(1, 1 << 16)[0];
        let is_as_wide = drawn.is_multiple_of(2) && below <= 40;
        let reads_rows = at > 0 || matches!(config.input, InputKind::Dense(_));
        match &mut config.layers[at] {
            Layer::Recurrent(layer) if drawn.is_multiple_of(3) && reads_rows => {
                layer.residual = true;
                let stays = layer.directions != Directions::Bidirectional || layer.join != Join::Concat;
                match layer.projection {
                    Some(_) if is_as_wide && stays && below < layer.hidden => layer.projection = Some(below),
                    None if is_as_wide && layer.width() == layer.hidden => layer.hidden = below,
                    _ => {}
                }
            }
            Layer::Dense(dense) if drawn.is_multiple_of(3) && reads_rows => {
                dense.residual = true;
                if is_as_wide {
                    dense.units = below;
                }
            }
            _ => {}
        }
        below = match &config.layers[at] {
            Layer::Recurrent(layer) => layer.width(),
            Layer::Dense(dense) => dense.units,
            _ => below,
        };
    }
    let [embeds, width, pads, ties] = random.ids(4, 1 << 16)[..] else { unreachable!() };
    if let (InputKind::Tokens(tokens), true) = (config.input, embeds.is_multiple_of(2)) {
        let embedding = Embedding::new(1 + width as usize % 7);
        let padding = pads as usize % tokens;
        let embedding = if pads.is_multiple_of(2) { embedding.with_padding(padding) } else { embedding };
        config.layers.insert(0, embedding.into());
        if ties.is_multiple_of(3) {
            // What the read-out reads has to be as wide as the table.
            config = config.dense(embedding.width, functions[0]).outputs(tokens).tied();
        }
    }
    config = with_columns(config, random);
    for (number, drawn) in random.ids(4, 1 << 16).chunks(2).enumerate() {
        let [has, outputs] = *drawn else { unreachable!() };
        if has.is_multiple_of(3) {
            let reads = 1 + has as usize / 3 % config.layers.len();
            config = config.head(format!("number_{number}"), 1 + outputs as usize % 5);
            config.heads.last_mut().unwrap().reads = reads;
        }
    }
    config
}

/// The same network with a column of tokens, one of numbers, or both, where something can stand beside its inputs.
fn with_columns(config: Config, random: &mut Random) -> Config {
    let [tokens, width, features, pads] = random.ids(4, 1 << 16)[..] else { unreachable!() };
    if matches!(config.input, InputKind::Tokens(_)) && !matches!(config.layers.first(), Some(Layer::Embedding(_))) {
        return config;
    }
    let count = 1 + tokens as usize / 3 % 6;
    let mut config =
        if tokens.is_multiple_of(3) { config.token_column("kind", count, 1 + width as usize % 5) } else { config };
    if let (Some(column), true) = (config.columns.first_mut(), pads.is_multiple_of(2)) {
        column.embedding = column.embedding.map(|embedding| embedding.with_padding(pads as usize % count));
    }
    if features.is_multiple_of(4) { config.dense_column("shape", 1 + features as usize / 4 % 3) } else { config }
}

/// The same recipe, by which only the rows of tables that occur are updated, for a network of which that can be said.
pub fn lazy_if_it_can_be(recipe: Recipe, config: &Config) -> Recipe {
    let has_table = matches!(config.layers.first(), Some(Layer::Embedding(_)))
        || config.columns.iter().any(|column| column.embedding.is_some());
    let lazy = has_table && !config.tied;
    recipe.with_embedding_update(if lazy { EmbeddingUpdate::Lazy } else { EmbeddingUpdate::Exact })
}
