//! One operation with its data, and the comparison of what the GPU and its twin, in f64, make of it.
//!
//! Everything that an operation may not read is NaN, and so is everything that it has to write. What it assigns is
//! compared range by range; the rest of its outputs has to be NaN still.

use std::ops::Range;

use recurrent::Error;
use recurrent::internals::cpu;
use recurrent::internals::gpu::kernels::{Command, lower};
use recurrent::internals::plan::{Bounds, DType, Lifetime, Op, Phase, Plan, TensorId, View};

use half::f16;

use crate::common::compare::{EXACT, Tolerance, check_close};
use crate::common::executor::{Execute, gpu};

/// One operation and all of its tensors.
#[derive(Clone)]
pub struct Case {
    name: String,
    /// The tensors, and no operation.
    plan: Plan,
    reals: Vec<(TensorId, Vec<f64>)>,
    ids: Vec<(TensorId, Vec<u32>)>,
    outputs: Vec<Output>,
    op: Option<Op>,
    /// What lies before a matrix in its tensor, and behind it.
    margins: (usize, usize),
}

#[derive(Clone)]
struct Output {
    tensor: TensorId,
    /// Ranges that are assigned, each compared by itself.
    assigned: Vec<(Range<usize>, Tolerance)>,
    /// Ranges that may hold anything afterwards.
    free: Vec<Range<usize>>,
}

impl Case {
    /// A case with no tensors; `name` is what a failure says.
    pub fn new(name: String) -> Self {
        let (reals, ids, outputs) = Default::default();
        Case { name, plan: Plan::empty(), reals, ids, outputs, op: None, margins: (5, 67) }
    }

    /// The same with matrices that begin at a vector of four.
    pub fn of_fours(self) -> Self {
        Case { margins: (8, 67), ..self }
    }

    /// A tensor of numbers, to be read.
    pub fn real(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> TensorId {
        let id = self.plan.tensor(name, shape, DType::F32, Lifetime::Scratch).unwrap();
        self.reals.push((id, values));
        id
    }

    /// A tensor of ids, to be read.
    pub fn ids(&mut self, name: &str, ids: Vec<u32>) -> TensorId {
        let id = self.plan.tensor(name, &[ids.len()], DType::U32, Lifetime::Input).unwrap();
        self.ids.push((id, ids));
        id
    }

    /// A matrix, to be read, inside a larger tensor.
    pub fn matrix(&mut self, name: &str, rows: usize, cols: usize, values: Vec<f64>) -> View {
        assert_eq!(values.len(), rows * cols);
        let (before, after) = self.margins;
        let mut all = vec![f64::NAN; before + values.len() + after];
        all[before..before + values.len()].copy_from_slice(&values);
        View::new(self.real(name, &[all.len()], all), before, rows, cols)
    }

    /// A tensor, to be written.
    pub fn out(
        &mut self,
        name: &str,
        shape: &[usize],
        assigned: impl IntoIterator<Item = Range<usize>>,
        tolerance: Tolerance,
    ) -> TensorId {
        let poison = vec![f64::NAN; shape.iter().product()];
        self.in_out(name, shape, poison, assigned.into_iter().map(|range| (range, tolerance)).collect())
    }

    /// A matrix, to be written, inside a larger tensor.
    pub fn out_matrix(&mut self, name: &str, rows: usize, cols: usize, tolerance: Tolerance) -> View {
        let (before, after) = self.margins;
        let len = rows * cols;
        let tensor = self.out(name, &[before + len + after], std::iter::once(before..before + len), tolerance);
        View::new(tensor, before, rows, cols)
    }

    /// A tensor, to be read and written.
    pub fn in_out(
        &mut self,
        name: &str,
        shape: &[usize],
        values: Vec<f64>,
        assigned: Vec<(Range<usize>, Tolerance)>,
    ) -> TensorId {
        let tensor = self.real(name, shape, values);
        self.outputs.push(Output { tensor, assigned, free: Vec::new() });
        tensor
    }

    /// Lets a range of an output hold anything.
    pub fn leave_free(&mut self, tensor: TensorId, range: Range<usize>) {
        self.outputs.iter_mut().filter(|o| o.tensor == tensor).for_each(|o| o.free.push(range.clone()));
    }

    /// A tensor of the case.
    pub fn find(&self, name: &str) -> TensorId {
        self.plan.find(name).unwrap()
    }

    /// Sets the operation.
    pub fn with(mut self, op: Op) -> Self {
        self.op = Some(op);
        self
    }

    /// The same data with a changed operation.
    pub fn changed(&self, change: impl FnOnce(&mut Op)) -> Self {
        let mut changed = self.clone();
        if let Some(op) = &mut changed.op {
            change(op);
        }
        changed
    }

    /// The same in half precision: these tensors, where the case has them, have 16 bits, everything that is read is
    /// rounded to them, and what the operation makes of it in them may be as far off as `tolerance`.
    pub fn in_half(&self, names: &[&str], tolerance: Tolerance) -> Self {
        let mut halved = self.clone();
        halved.name += &format!(", {names:?} in half precision");
        halved.plan = Plan::empty();
        for tensor in self.plan.tensors() {
            let is_half = names.contains(&tensor.name.as_str());
            assert!(!is_half || tensor.dtype == DType::F32, "ids have 32 bits");
            let element = if is_half { DType::F16 } else { tensor.dtype };
            halved.plan.tensor(&tensor.name, &tensor.shape, element, tensor.lifetime).unwrap();
        }
        let values = halved.reals.iter_mut().flat_map(|(_, values)| values);
        values.for_each(|value| *value = f16::from_f64(*value).to_f64());
        names.iter().for_each(|name| halved.widen(name, tolerance));
        halved
    }

    /// Lets an output, if the case has one of that name, be as far off as `tolerance`, but for what is not the
    /// operation's.
    pub fn widen(&mut self, name: &str, tolerance: Tolerance) {
        let Some(tensor) = self.plan.find(name) else { return };
        let ranges = self.outputs.iter_mut().filter(|output| output.tensor == tensor).flat_map(|o| &mut o.assigned);
        for (_, allowed) in ranges.filter(|(_, allowed)| allowed.relative > EXACT.relative) {
            *allowed = Tolerance { least: allowed.least, ..tolerance };
        }
    }

    /// Changes the ids of a tensor, each by its place.
    pub fn change_ids(&mut self, name: &str, change: impl Fn(usize, u32) -> u32) {
        let Some(tensor) = self.plan.find(name) else { return };
        let of_it = self.ids.iter_mut().filter(|(id, _)| *id == tensor).flat_map(|(_, ids)| ids.iter_mut().enumerate());
        of_it.for_each(|(at, id)| *id = change(at, *id));
    }

    /// The same within other bounds.
    pub fn within(&self, bounds: Bounds) -> Self {
        Case { plan: self.plan.clone().within(bounds), ..self.clone() }
    }

    /// The most iterations of an invocation in a dispatch within these bounds.
    pub fn iterations(&self, bounds: Bounds) -> u64 {
        let plan = self.plan.clone().within(bounds);
        self.op.as_ref().unwrap().iterations(&plan)
    }

    /// The same data with no operation.
    pub fn without_operation(&self) -> Self {
        Case { op: None, ..self.clone() }
    }

    /// Panics unless the GPU's results are those of the twin.
    #[track_caller]
    pub fn check(&self) {
        if let Err(message) = self.compare(&self.run(gpu())) {
            panic!("{message}");
        }
    }

    /// Whether `got` are the results of the twin.
    pub fn compare(&self, got: &[Vec<f64>]) -> Result<(), String> {
        let want = self.run(cpu::Executor::<f64>::new());
        for ((output, got), want) in self.outputs.iter().zip(got).zip(&want) {
            let what = format!("{}: {}", self.name, self.plan.get(output.tensor).name);
            let mut known = vec![false; want.len()];
            for (range, tolerance) in &output.assigned {
                let what = format!("{what}{range:?}");
                check_close(&what, &got[range.clone()], &want[range.clone()], *tolerance)?;
                known[range.clone()].fill(true);
            }
            output.free.iter().for_each(|range| known[range.clone()].fill(true));
            for (side, values) in [("the GPU", got), ("the twin", want)] {
                if let Some(at) = (0..known.len()).find(|&at| !known[at] && !values[at].is_nan()) {
                    return Err(format!("{what}[{at}] is not the operation's, but {side} wrote {}", values[at]));
                }
            }
        }
        Ok(())
    }

    /// What the operation is for a GPU, or why there is none such.
    pub fn lowered(&self) -> Result<Vec<Command>, Error> {
        lower(&self.whole())
    }

    /// Whether the GPU takes the operation.
    pub fn prepared(&self) -> Result<(), Error> {
        gpu().prepare(self.whole()).map(|_| ())
    }

    /// The tensors and the operation.
    fn whole(&self) -> Plan {
        let mut plan = self.plan.clone();
        self.op.iter().for_each(|op| plan.push(Phase::Forward, op.clone()));
        plan
    }

    /// The outputs after one run.
    pub fn run<E: Execute>(&self, mut executor: E) -> Vec<Vec<f64>> {
        let id = executor.prepare(self.whole());
        self.reals.iter().for_each(|(tensor, values)| executor.write(id, *tensor, values));
        self.ids.iter().for_each(|(tensor, ids)| executor.write_ids(id, *tensor, ids));
        executor.run(id);
        self.outputs.iter().map(|output| executor.read(id, output.tensor)).collect()
    }
}
