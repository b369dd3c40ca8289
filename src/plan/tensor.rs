//! Named tensors and rectangular views of them. A tensor is a name, a shape and a lifetime; its values are the
//! executor's.

use std::fmt;

use crate::error::{Error, Result};
use crate::model::MAX_ELEMENTS;

/// A tensor of one plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorId(pub(crate) usize);

/// What a tensor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// Real numbers: f32 on the GPU, f32 or f64 on the CPU.
    F32,
    /// Real numbers: f16 on the GPU. The CPU executor has none and holds them as it does the others.
    F16,
    /// Unsigned integers: token ids, class ids, row numbers.
    U32,
}

impl DType {
    /// Bytes of one on the GPU.
    pub fn bytes(self) -> u64 {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 => 2,
        }
    }
}

/// How long a tensor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Written by the host before a run; the inputs of a plan are uploaded together.
    Input,
    /// Known by its name to all plans of an executor, and kept from run to run.
    Shared,
    /// Known to one plan. Kept from run to run, so a carried state can live here.
    Scratch,
    /// Known to one plan, and written in every run before it is read there: its memory is another tensor's before and
    /// after, as [`Plan::blocks`](super::Plan::blocks) says, unless it is [kept](super::Plan::keep).
    Transient,
}

/// A named tensor, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The name, from the literature where there is one.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// What it holds.
    pub dtype: DType,
    /// How long it lives.
    pub lifetime: Lifetime,
}

impl Tensor {
    pub(super) fn new(name: &str, shape: &[usize], dtype: DType, lifetime: Lifetime) -> Result<Self> {
        let asked = shape.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
        if asked > MAX_ELEMENTS {
            return Err(Error::Limit {
                what: format!("tensor `{name}` {shape:?}"),
                limit: "elements that 32-bit indices reach",
                asked,
                allowed: MAX_ELEMENTS,
            });
        }
        Ok(Tensor { name: name.to_owned(), shape: shape.to_vec(), dtype, lifetime })
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the GPU: a multiple of four, of which every element has four or, of [`DType::F16`], two.
    pub fn bytes(&self) -> u64 {
        (self.len() as u64 * self.dtype.bytes()).next_multiple_of(4)
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dtype = format!("{:?}", self.dtype).to_lowercase();
        let lifetime = format!("{:?}", self.lifetime).to_lowercase();
        write!(f, "{lifetime:<10}{dtype:<6}{} {:?}", self.name, self.shape)
    }
}

/// A row-major matrix inside a tensor, its rows contiguous or `stride` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The tensor.
    pub tensor: TensorId,
    /// Where the matrix starts, in elements.
    pub offset: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// From a row to the next, in elements; 0 repeats one row.
    pub stride: usize,
}

impl View {
    /// A contiguous matrix that starts at `offset` in `tensor`.
    pub fn new(tensor: TensorId, offset: usize, rows: usize, cols: usize) -> Self {
        View { tensor, offset, rows, cols, stride: cols }
    }

    /// The same number of rows, from `column` on, `cols` wide.
    pub fn columns(self, column: usize, cols: usize) -> Self {
        View { offset: self.offset + column, cols, ..self }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its elements lie side by side.
    pub fn is_contiguous(&self) -> bool {
        self.stride == self.cols || self.rows == 1
    }

    /// From its first element to its last.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.rows.saturating_sub(1) * self.stride + self.cols
    }
}
