//! What the kernels share: declaring one, and turning sizes, views and tensors into the numbers of a dispatch.
//!
//! The contract: a dispatch that is made here touches only elements that its tensors have, in numbers that the shaders'
//! 32 bits hold; anything else is an error.

use super::{Access, Binding, Command, Dispatch, Field, Kernel, MAX_GRID};
use crate::error::{Error, Result};
use crate::plan::{Cut, DType, Op, Plan, Record, Tensor, TensorId, View};

/// The WGSL of a file in `shaders/`.
macro_rules! shader {
    ($file:expr) => {
        include_str!(concat!("../../../shaders/", $file))
    };
}
pub(super) use shader;

/// The `Params` struct of a shader in Rust, with a table of its fields. The last of these, which says at which
/// workgroup a dispatch starts, is no field in Rust: `launch::dispatch` puts it there.
macro_rules! params {
    ($(#[$doc:meta])* $vis:vis $name:ident { $($field:ident: $ty:ident),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Default, bytemuck::NoUninit)]
        $vis struct $name { $($vis $field: $ty),* }

        impl $crate::gpu::kernels::Parameters for $name {
            const SIZE: usize = size_of::<$name>() + size_of::<u32>();
            const FIELDS: &'static [$crate::gpu::kernels::Field] = &[$($crate::gpu::kernels::Field {
                name: stringify!($field),
                offset: std::mem::offset_of!($name, $field),
                ty: stringify!($ty),
            },)* $crate::gpu::kernels::launch::first_workgroup(size_of::<$name>())];
        }
    };
}
pub(super) use params;

/// The last parameter of every kernel.
pub(super) const fn first_workgroup(offset: usize) -> Field {
    Field { name: "first_workgroup", offset, ty: "u32" }
}

pub(super) const fn read(name: &'static str) -> Binding {
    Binding { name, access: Access::Read, alias: None, record: None }
}

pub(super) const fn write(name: &'static str) -> Binding {
    Binding { name, access: Access::ReadWrite, alias: None, record: None }
}

impl Binding {
    /// Returns the same binding with elements that may be f16.
    pub(super) const fn of(self, alias: &'static str) -> Binding {
        Binding { alias: Some(alias), ..self }
    }

    /// The same of one record or an array of them.
    pub(super) const fn record(self, record: Record) -> Binding {
        Binding { record: Some(record), ..self }
    }
}

/// Those of a kernel's aliases that are f16 for these tensors.
fn f16_aliases(plan: &Plan, kernel: &Kernel, tensors: &[TensorId]) -> Result<Vec<&'static str>> {
    let mut known: Vec<(&'static str, bool)> = Vec::new();
    for (id, binding) in tensors.iter().zip(kernel.bindings) {
        let tensor = tensor(plan, *id)?;
        let is_half = tensor.dtype == DType::F16;
        let other = known.iter().find(|(alias, _)| binding.alias == Some(*alias));
        match (binding.alias, other) {
            (None, _) if is_half => {
                return Err(Error::Config(format!(
                    "{} reads `{}` in 32 bits, but is given `{}`, which has 16",
                    kernel.name, binding.name, tensor.name
                )));
            }
            (Some(alias), Some((_, other))) if *other != is_half => {
                return Err(Error::Config(format!(
                    "{} reads all of `{alias}` in 16 bits or all in 32, but is given some of each: `{}` as `{}`",
                    kernel.name, tensor.name, binding.name
                )));
            }
            (Some(alias), None) => known.push((alias, is_half)),
            _ => {}
        }
    }
    Ok(known.into_iter().filter(|(_, is_half)| *is_half).map(|(alias, _)| alias).collect())
}

/// A size as the shaders know it.
pub(super) fn to_u32(value: usize) -> Result<u32> {
    number_of(value as u64)
}

fn number_of(value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Limit {
        what: "a size in the plan".to_owned(),
        limit: "elements that 32-bit indices reach",
        asked: value,
        allowed: u64::from(u32::MAX),
    })
}

/// Checks that all tensors of an operation are the plan's.
pub(super) fn all_known(plan: &Plan, op: &Op) -> Result<()> {
    op.operands(plan).iter().try_for_each(|operand| tensor(plan, operand.tensor).map(drop))
}

pub(super) fn tensor(plan: &Plan, id: TensorId) -> Result<&Tensor> {
    plan.tensors().get(id.0).ok_or_else(|| Error::Config(format!("the plan has no tensor number {}", id.0)))
}

/// Where a contiguous view starts, once it is known to have the shape that is needed and to lie inside its tensor.
pub(super) fn contiguous_offset(plan: &Plan, argument: &str, view: &View, shape: [usize; 2]) -> Result<u32> {
    let offset = strided_offset(plan, argument, view, shape)?;
    if view.is_contiguous() {
        Ok(offset)
    } else {
        Err(Error::Config(format!("{argument} has rows {} apart, expected them side by side", view.stride)))
    }
}

/// Where a view starts, its rows any distance apart.
pub(super) fn strided_offset(plan: &Plan, argument: &str, view: &View, shape: [usize; 2]) -> Result<u32> {
    if [view.rows, view.cols] != shape || view.rows == 0 || view.cols == 0 {
        return Err(Error::shape(argument, &shape, &[view.rows, view.cols]));
    }
    let (offset, len) = (view.offset, tensor(plan, view.tensor)?.len());
    let last = (view.rows - 1).checked_mul(view.stride).and_then(|n| n.checked_add(offset));
    match last {
        Some(last) if view.rows == 1 || view.stride >= view.cols || view.stride == 0 => {
            offset_in_bounds(argument, last, [1, view.cols], len)?;
            to_u32(offset)
        }
        _ => Err(Error::Config(format!("{argument} {shape:?} has rows {} apart, which overlap", view.stride))),
    }
}

/// Where a matrix starts, once it is known to lie inside `len` elements.
pub(super) fn offset_in_bounds(argument: &str, offset: usize, [rows, cols]: [usize; 2], len: usize) -> Result<u32> {
    let end = rows.checked_mul(cols).and_then(|n| n.checked_add(offset));
    if end.is_none_or(|end| end > len) {
        return Err(Error::Config(format!("{argument} [{rows}, {cols}] at {offset} is not inside its {len} elements")));
    }
    to_u32(offset)
}

/// Checks that the tensor has exactly as many elements as `shape`.
pub(super) fn check_len(plan: &Plan, id: TensorId, shape: &[usize]) -> Result<()> {
    let tensor = tensor(plan, id)?;
    let needed = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if needed == Some(tensor.len()) { Ok(()) } else { Err(Error::shape(&tensor.name, shape, &tensor.shape)) }
}

/// Checks that a tensor has at least so many rows of that shape: a window may end before its tensors do.
pub(super) fn check_min_len(plan: &Plan, id: TensorId, rows: usize, shape: &[usize]) -> Result<()> {
    let tensor = tensor(plan, id)?;
    let needed = shape.iter().try_fold(rows, |n, &d| n.checked_mul(d));
    if needed.is_some_and(|needed| needed <= tensor.len()) {
        Ok(())
    } else {
        Err(Error::shape(&tensor.name, &[&[rows], shape].concat(), &tensor.shape))
    }
}

/// The two sizes of a tensor that is a matrix.
pub(super) fn matrix(plan: &Plan, id: TensorId) -> Result<[usize; 2]> {
    let tensor = tensor(plan, id)?;
    match *tensor.shape.as_slice() {
        [rows, cols] => Ok([rows, cols]),
        _ => Err(Error::Config(format!("tensor `{}` has shape {:?}, expected a matrix", tensor.name, tensor.shape))),
    }
}

/// How many tiles of `side` cover `length`.
pub(super) fn tile_count(length: usize, side: usize) -> u64 {
    length.div_ceil(side) as u64
}

/// Where each part of what is cut starts, and how much of it is taken.
pub(super) fn parts(cut: Cut, whole: usize) -> impl DoubleEndedIterator<Item = (usize, usize)> {
    let length = cut.length.max(1);
    (0..whole.div_ceil(length)).map(move |part| (part * length, length.min(whole - part * length)))
}

/// A dispatch of `workgroups` workgroups, spread over x and y, in each of `slices` layers.
pub(super) fn dispatch(
    plan: &Plan,
    kernel: &'static Kernel,
    tensors: Vec<TensorId>,
    params: &impl bytemuck::NoUninit,
    workgroups: u64,
    slices: usize,
) -> Result<Command> {
    debug_assert_eq!(tensors.len(), kernel.bindings.len());
    debug_assert_eq!(size_of_val(params) + size_of::<u32>(), kernel.params_size);
    let bound = || tensors.iter().zip(kernel.bindings);
    for (tensor, binding) in bound() {
        if binding.access == Access::ReadWrite && bound().filter(|(other, _)| *other == tensor).count() > 1 {
            return Err(Error::Config(format!("{} writes `{}` and is given it once more", kernel.name, binding.name)));
        }
    }
    let [x, y] = grid_2d(kernel.name, workgroups)?;
    let [z, _] = grid_2d(kernel.name, slices as u64)?;
    Ok(Command::Dispatch(Dispatch {
        kernel,
        constants: Vec::new(),
        f16_aliases: f16_aliases(plan, kernel, &tensors)?,
        tensors,
        params: [bytemuck::bytes_of(params), &[0; 4]].concat(),
        workgroups,
        grid: [x, y, z],
    }))
}

impl Dispatch {
    /// The dispatches that share its workgroups, so many of them; where there are fewer workgroups, some of none.
    ///
    /// A grid with workgroups to spare would take the first of the next: only the last may have some, as one dispatch
    /// does.
    pub(super) fn shared(self, shares: usize) -> Result<Vec<Dispatch>> {
        let [x, y] = grid_2d(self.kernel.name, self.workgroups.div_ceil(shares.max(1) as u64))?;
        let each = u64::from(x) * u64::from(y);
        let share = |number: u64| {
            let first = (number * each).min(self.workgroups);
            let workgroups = each.min(self.workgroups - first);
            let [x, y] = if workgroups == 0 { [0, 0] } else { grid_2d(self.kernel.name, workgroups)? };
            let mut params = self.params.clone();
            let at = params.len() - size_of::<u32>();
            params[at..].copy_from_slice(&number_of(first)?.to_le_bytes());
            Ok(Dispatch { params, workgroups, grid: [x, y, self.grid[2]], ..self.clone() })
        };
        (0..shares as u64).map(share).collect()
    }
}

/// The same dispatch with the kernel's constants.
pub(super) fn with_constants(command: Command, values: &[u32]) -> Command {
    match command {
        Command::Dispatch(dispatch) => {
            debug_assert_eq!(values.len(), dispatch.kernel.constants.len());
            Command::Dispatch(Dispatch { constants: values.to_vec(), ..dispatch })
        }
        other => other,
    }
}

/// A linear grid over two dimensions, with fewer than one row of workgroups to spare.
fn grid_2d(kernel: &str, workgroups: u64) -> Result<[u32; 2]> {
    let widest = u64::from(MAX_GRID);
    let beyond = || Error::Limit {
        what: format!("the grid of {kernel} (workgroups)"),
        limit: "the adapter's max_compute_workgroups_per_dimension",
        asked: workgroups,
        allowed: widest * widest,
    };
    let y = workgroups.div_ceil(widest).max(1);
    let x = workgroups.div_ceil(y).max(1);
    match (u32::try_from(x), u32::try_from(y)) {
        (Ok(x), Ok(y)) if y <= MAX_GRID => Ok([x, y]),
        _ => Err(beyond()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_grid_holds_every_workgroup_and_wastes_less_than_a_row() {
        let widest = u64::from(MAX_GRID);
        for workgroups in [1, 2, widest - 1, widest, widest + 1, 3 * widest + 7, widest * widest] {
            let [x, y] = grid_2d("k", workgroups).unwrap().map(u64::from);
            assert!(x <= widest && y <= widest, "{workgroups}: {x}×{y}");
            assert!((workgroups..workgroups + x.max(y)).contains(&(x * y)), "{workgroups}: {x}×{y}");
        }
        assert!(matches!(grid_2d("k", widest * widest + 1), Err(Error::Limit { .. })));
    }
}
