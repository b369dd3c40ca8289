//! The recurrent tensors under one prefix of a file, whichever network they are of: what PyTorch's names say about it.
//!
//! The contract: every name that a `torch.nn.RNN`, `LSTM` or `GRU` can have, and those of a learned initial state,
//! belong to the family; any other tensor is foreign.

use crate::model::{Config, Directions, Layer, Layout, modules};

/// What stands before `_l0` in the names of a layer's tensors; the last is the projection of an LSTM with `proj_size`.
const KINDS: [&str; 5] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", PROJECTION];
const PROJECTION: &str = "weight_hr";

/// A name of the family.
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

/// The tensors of the family that lie under a prefix.
pub(super) struct Family<'a> {
    prefix: &'a str,
    members: Vec<Member>,
}

impl<'a> Family<'a> {
    pub(super) fn find(prefix: &'a str, names: &[String]) -> Self {
        let member = |name: &String| Member::parse(name.strip_prefix(prefix)?);
        Family { prefix, members: names.iter().filter_map(member).collect() }
    }

    /// Whether a tensor is of the family and of no parameter of `layout`: without it, it is another network.
    pub(super) fn is_left_over(&self, name: &str, layout: &Layout) -> bool {
        let own = name.strip_prefix(self.prefix).filter(|own| Member::parse(own).is_some());
        own.is_some_and(|own| layout.get(own).is_none())
    }

    /// Where the configuration differs from the one that the names are of, in words; `None` where it does not, or where
    /// there are no names.
    pub(super) fn advice(&self, config: &Config) -> Option<String> {
        let mut layers = self.members.iter().filter(|member| !member.is_state()).peekable();
        layers.peek()?;
        let (mut depth, mut is_bidirectional, mut has_bias, mut has_projection) = (0, false, false, false);
        for member in layers {
            depth = depth.max(member.layer.saturating_add(1));
            is_bidirectional |= member.is_reverse;
            has_bias |= member.kind.starts_with("bias");
            has_projection |= member.kind == PROJECTION;
        }
        let directions = if is_bidirectional { Directions::Bidirectional } else { Directions::Forward };
        let learned_initial_state = self.members.iter().any(Member::is_state);

        let differ = |field: &str, found: String, given: String| {
            if found == given { None } else { Some(format!("`{field}` {found} (given: {given})")) }
        };
        let stack = modules(config).into_iter().next().filter(|module| module.prefix.is_empty())?;
        let Layer::Recurrent(layer) = stack.layer else { return None };
        let fields: Vec<String> = [
            differ("layers", depth.to_string(), stack.layers.len().to_string()),
            differ("directions", format!("{directions:?}"), format!("{:?}", layer.directions)),
            differ("bias", has_bias.to_string(), layer.bias.to_string()),
            differ("learned_initial_state", learned_initial_state.to_string(), layer.learned_initial_state.to_string()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if has_projection {
            return Some(format!(
                "the tensors under the prefix `{}` are of an LSTM with projections ({PROJECTION}_l0, `proj_size`), \
                which no configuration has",
                self.prefix
            ));
        }
        let fits =
            format!("the tensors under the prefix `{}` fit a configuration with {}", self.prefix, fields.join(", "));
        Some(fits).filter(|_| !fields.is_empty())
    }
}
