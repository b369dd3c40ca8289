//! What an operation says that it touches is what its kernels and its copies touch.
//!
//! The contract: no GPU is needed; sharing of memory and costs rest on these lists, so one that lacks a tensor fails
//! here and not as a wrong number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use recurrent::internals::gpu::kernels::{Command, lower};
use recurrent::internals::plan::{Access, Plan, TensorId};

use super::lowering::for_every_plan;

/// Whether each tensor of some commands is written.
fn touched(commands: &[Command]) -> HashMap<TensorId, bool> {
    let mut all = HashMap::new();
    let mut touch = |tensor: TensorId, written: bool| *all.entry(tensor).or_insert(false) |= written;
    for command in commands {
        match command {
            Command::Dispatch(dispatch) => {
                for (tensor, binding) in dispatch.tensors.iter().zip(dispatch.kernel.bindings) {
                    touch(*tensor, binding.access != Access::Read);
                }
            }
            Command::Copy { from, to } => {
                touch(from.tensor, false);
                touch(to.tensor, true);
            }
            Command::Zero { tensor } => touch(*tensor, true),
        }
    }
    all
}

/// Adds the names of the operations to `seen`, and to `wrong`, once each, those that say something else.
fn compare(what: &str, plan: &Plan, seen: &mut BTreeSet<String>, wrong: &mut BTreeMap<String, String>) {
    let commands = lower(plan).unwrap();
    let mut rest = &commands[..];
    for stage in plan.stages() {
        let (own, after) = rest.split_at(stage.op.dispatches(plan).max(1));
        rest = after;
        let operands = stage.op.operands(plan);
        let mut said = HashMap::new();
        for operand in &operands {
            *said.entry(operand.tensor).or_insert(false) |= operand.access != Access::Read;
        }
        let touched = touched(own);
        if said != touched {
            let message = || format!("{what}: {operands:?}, but {touched:?} in\n{plan}");
            wrong.entry(stage.op.name()).or_insert_with(message);
        }
        seen.insert(stage.op.name());
    }
    assert!(rest.is_empty(), "{what}: commands of no operation");
}

#[test]
fn an_operation_says_which_tensors_its_commands_touch() {
    let (mut number, mut seen, mut wrong) = (0, BTreeSet::new(), BTreeMap::new());
    for_every_plan(|what, plan| {
        // A prime, so that every kind of plan comes with every target.
        if number % 7 == 0 {
            compare(what, plan, &mut seen, &mut wrong);
        }
        number += 1;
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(number > 1000, "{number} plans");
    assert!(seen.len() > 25, "only {seen:?} were seen");
}
