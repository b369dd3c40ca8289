//! The tensors under one module's prefix in a file, whichever network they are of: what PyTorch's names say about it.
//!
//! The contract: every name that a `torch.nn.RNN`, `LSTM` or `GRU` can have, those of peepholes and of a learned
//! initial state, or of a dense layer those of a `torch.nn.Linear`, and of a way past either, belong to the family; any
//! other tensor is foreign.

use crate::model::{Config, Directions, Layer, Layout, Module, Recurrent, modules};

/// What stands before `_l0` in the names of a layer's tensors; the last five are its peepholes, the map of a way past
/// it and the projection of an LSTM with `proj_size`.
const KINDS: [&str; 9] = [
    "weight_ih",
    "weight_hh",
    "bias_ih",
    "bias_hh",
    "weight_ci",
    "weight_cf",
    "weight_co",
    "weight_residual",
    PROJECTION,
];
const PROJECTION: &str = "weight_hr";

/// A name of a recurrent module's family.
struct Member {
    /// What stands before `_l0`, or the whole name of an initial state.
    kind: &'static str,
    layer: usize,
    is_reverse: bool,
}

impl Member {
    fn parse(name: &str) -> Option<Self> {
        if let Some(kind) = ["h_0", "c_0"].into_iter().find(|kind| *kind == name) {
            return Some(Member { kind, layer: 0, is_reverse: false });
        }
        let (forward, is_reverse) = name.strip_suffix("_reverse").map_or((name, false), |forward| (forward, true));
        let (kind, layer) = forward.rsplit_once("_l")?;
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        let is_number = layer.bytes().all(|digit| digit.is_ascii_digit());
        Some(Member { kind, layer: layer.parse().ok().filter(|_| is_number)?, is_reverse })
    }

    fn is_state(&self) -> bool {
        matches!(self.kind, "h_0" | "c_0")
    }
}

/// The tensors of a file that lie under a module's prefix and that such a module can have.
pub(super) struct Family {
    /// In the file.
    prefix: String,
    /// Among the model's names.
    own: String,
    layer: Layer,
    layers: usize,
    /// Their names, without the prefix.
    there: Vec<String>,
}

impl Family {
    /// Those of every module that can lack some of its tensors, or have more; `name` is the file's of a parameter.
    pub(super) fn all(config: &Config, names: &[String], name: impl Fn(&str) -> String) -> Vec<Self> {
        let family = |Module { prefix: own, layers, layer }: Module| {
            let first = match layer {
                Layer::Recurrent(_) => "weight_ih_l0",
                Layer::Dense(_) => "weight",
                _ => return None,
            };
            // A function that changes what stands behind the prefix leaves nothing to go by.
            let prefix = name(&format!("{own}{first}")).strip_suffix(first)?.to_owned();
            let there = names.iter().filter_map(|name| name.strip_prefix(&prefix));
            let there = there.filter(|name| is_of(&layer, name)).map(str::to_owned).collect();
            Some(Family { prefix, own, layer, layers: layers.len(), there })
        };
        modules(config).into_iter().filter_map(family).collect()
    }

    /// Whether a tensor is of the family and of no parameter of `layout`: without it, it is another network.
    pub(super) fn is_left_over(&self, name: &str, layout: &Layout) -> bool {
        let own = name.strip_prefix(&self.prefix).filter(|own| is_of(&self.layer, own));
        own.is_some_and(|own| layout.get(&format!("{}{own}", self.own)).is_none())
    }

    /// Where the configuration differs from the one that the names are of, in words; `None` where it does not, or where
    /// there are no names.
    pub(super) fn advice(&self) -> Option<String> {
        let fields = match &self.layer {
            Layer::Recurrent(layer) => self.recurrent_fields(layer)?,
            Layer::Dense(layer) if !self.there.is_empty() => {
                let has_bias = self.there.iter().any(|name| name == "bias");
                Vec::from_iter(differ("bias", has_bias.to_string(), layer.bias.to_string()))
            }
            _ => return None,
        };
        let fits =
            format!("the tensors under the prefix `{}` fit a configuration with {}", self.prefix, fields.join(", "));
        Some(fits).filter(|_| !fields.is_empty())
    }

    fn recurrent_fields(&self, layer: &Recurrent) -> Option<Vec<String>> {
        let members: Vec<Member> = self.there.iter().filter_map(|name| Member::parse(name)).collect();
        let mut layers = members.iter().filter(|member| !member.is_state()).peekable();
        layers.peek()?;
        let (mut depth, mut is_bidirectional, mut has_bias, mut is_projected) = (0, false, false, false);
        for member in layers {
            depth = depth.max(member.layer.saturating_add(1));
            is_bidirectional |= member.is_reverse;
            has_bias |= member.kind.starts_with("bias");
            is_projected |= member.kind == PROJECTION;
        }
        // No name tells which way one direction reads.
        let directions = match layer.directions {
            _ if is_bidirectional => Directions::Bidirectional,
            Directions::Bidirectional => Directions::Forward,
            one => one,
        };
        let learned_initial_state = members.iter().any(Member::is_state);
        // No name tells how many numbers h is projected to.
        let projection = match (is_projected, layer.projection) {
            (true, None) => Some(format!("`projection` P of {PROJECTION}_l0 [P, H] (given: None)")),
            (false, Some(size)) => Some(format!("`projection` None (given: {size})")),
            _ => None,
        };
        let fields = [
            differ("layers", depth.to_string(), self.layers.to_string()),
            differ("directions", format!("{directions:?}"), format!("{:?}", layer.directions)),
            differ("bias", has_bias.to_string(), layer.bias.to_string()),
            differ("learned_initial_state", learned_initial_state.to_string(), layer.learned_initial_state.to_string()),
            projection,
        ];
        Some(fields.into_iter().flatten().collect())
    }
}

/// Whether a module of such layers can have a tensor of that name.
fn is_of(layer: &Layer, name: &str) -> bool {
    match layer {
        Layer::Recurrent(_) => Member::parse(name).is_some(),
        Layer::Dense(_) => matches!(name, "weight" | "bias" | "weight_residual"),
        _ => false,
    }
}

fn differ(field: &str, found: String, given: String) -> Option<String> {
    (found != given).then(|| format!("`{field}` {found} (given: {given})"))
}
