//! The table of named parameters: which tensors a configuration has, their shapes, and their places in one flat buffer.
//!
//! Parameters, gradients and optimiser moments all lie in flat buffers of this layout, so that clipping and updating
//! are one pass each however many tensors there are. Names and shapes are PyTorch's.

use std::collections::HashMap;
use std::ops::Range;

use super::config::Config;
use super::layers::ParameterGroup;
use super::modules::{EMBEDDING, is_read_out, parameter_groups};
use crate::error::{Error, Result};

/// Groups of tensors start at multiples of this many elements: 256 bytes, WebGPU's alignment of a binding.
const ALIGNMENT: usize = 64;

/// One named tensor of the network.
///
/// ```
/// use recurrent::{Config, InputKind, Layout};
/// let layout = Layout::new(&Config::gru(InputKind::Dense(3), 8, 2))?;
/// let weight = layout.get("weight_ih_l0").unwrap();
/// assert_eq!((weight.shape.as_slice(), weight.len()), (&[3 * 8, 3][..], 72));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameter {
    /// PyTorch's name: `weight_ih_l0`.
    pub name: String,
    /// The shape, row-major.
    pub shape: Vec<usize>,
    /// Where it starts in the flat buffers, in elements.
    pub offset: usize,
}

impl Parameter {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: no parameter has a size of zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the values lie in a flat buffer.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// All parameters of a network and their places.
///
/// | name | shape | role |
/// |---|---|---|
/// | `weight_ih_l0` | `[G·H, I]` | W, input to hidden; of layers above `[G·H, ·]`, as wide as what they read |
/// | `weight_hh_l0` | `[G·H, H]` | U, hidden to hidden |
/// | `bias_ih_l0`, `bias_hh_l0` | `[G·H]` | b_W and b_U, unless the layer has none |
/// | `weight_hr_l0` | `[P, H]` | W_hr, where h is projected to P numbers; U is `[G·H, P]` then |
/// | `weight`, `bias` | `[O, D·H]`, `[O]` | V, the read-out |
/// | `h_0`, `c_0` | `[L, D·H]` | the initial state of h (projected `[L, D·P]`) and of c, where it is learned |
///
/// So they are called where all layers are recurrent and equal. Other networks are several of PyTorch's modules:
/// recurrent layers that stand one above the other and are equal are one, an embedding is one with `weight`, a dense
/// layer or a norm one with `weight` and `bias`, and the names begin with the module's, `rnn.`, `lstm.`, `gru.`,
/// `embedding.`, `dense.` or `norm.`, the second of a kind being `lstm_1.`, the read-out `head.0.`, a head called
/// tags `head.tags.`, and a column's table `column.tags.`; so they do where there is a head or a column.
///
/// The reverse direction's are those of a layer with `_reverse` behind the name. They follow the forward direction's
/// without a gap, so that one product with both reads them as one matrix of D·G·H rows.
///
/// ```
/// use recurrent::{Config, InputKind, Layout};
/// let layout = Layout::new(&Config::elman(InputKind::Dense(3), 8, 2))?;
/// let names: Vec<&str> = layout.parameters().iter().map(|p| p.name.as_str()).collect();
/// assert_eq!(names, ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight", "bias"]);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    parameters: Vec<Parameter>,
    /// Where the tables begin, which lie behind all else, so that an update may leave most of them alone.
    dense_len: usize,
    len: usize,
}

impl Layout {
    /// The parameters of `config`.
    ///
    /// # Errors
    /// [`Error::Config`] for a size of zero or an option that the cell lacks, [`Error::Limit`] for more elements than
    /// 32-bit indices reach.
    pub fn new(config: &Config) -> Result<Self> {
        config.check()?;
        let mut layout = Layout { parameters: Vec::new(), dense_len: 0, len: 0 };
        let groups = parameter_groups(config);
        for group in groups.iter().filter(|group| !group.draw.is_table()) {
            layout.push(group)?;
        }
        layout.dense_len = layout.len;
        for group in groups.iter().filter(|group| group.draw.is_table()) {
            layout.push(group)?;
        }
        // In the order of the layers, wherever they lie.
        let mut by_name: HashMap<String, Parameter> =
            layout.parameters.drain(..).map(|parameter| (parameter.name.clone(), parameter)).collect();
        layout.parameters.extend(groups.iter().flat_map(|group| &group.names).filter_map(|name| by_name.remove(name)));
        Ok(layout)
    }

    /// Tensors of one shape, without a gap between them.
    fn push(&mut self, ParameterGroup { names, shape, .. }: &ParameterGroup) -> Result<()> {
        for name in names {
            let offset = self.len;
            let asked = shape.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
            let end = asked.saturating_add(offset as u64).saturating_add(ALIGNMENT as u64);
            if end > MAX_ELEMENTS {
                return Err(Error::Limit {
                    what: format!("parameter `{name}` {shape:?}, with those before it,"),
                    limit: "elements that 32-bit indices reach",
                    asked: end,
                    allowed: MAX_ELEMENTS,
                });
            }
            self.len = offset + asked as usize;
            self.parameters.push(Parameter { name: name.clone(), shape: shape.clone(), offset });
        }
        self.len = self.len.next_multiple_of(ALIGNMENT);
        Ok(())
    }

    /// The parameters in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter of that name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.name == name)
    }

    /// The names of the read-out's weight and bias.
    pub(crate) fn read_out(&self) -> (&str, &str) {
        let mut names = self.parameters.iter().map(|p| p.name.as_str()).filter(|name| is_read_out(name));
        match (names.next(), names.next()) {
            (Some(weight), Some(bias)) => (weight, bias),
            // Tied to the embedding.
            (bias, _) => (EMBEDDING, bias.unwrap_or_default()),
        }
    }

    /// The length of a flat buffer, in elements, gaps included.
    pub fn buffer_len(&self) -> usize {
        self.len
    }

    /// How many elements of a flat buffer lie before the tables of embeddings and columns, which a read-out is not tied
    /// to.
    pub(crate) fn dense_len(&self) -> usize {
        self.dense_len
    }

    /// Never: every network has parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of trainable values, gaps not counted.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }
}

/// Shaders index with `u32`, and a few products of an index and a stride need the head-room.
pub(crate) const MAX_ELEMENTS: u64 = 1 << 31;
