//! The loss of label sequences and its gradient by themselves, on the CPU executor; `scripts/ctc_time.py` runs
//! PyTorch's beside it.
//!
//! The contract: one line of JSON, the median of the repeats in milliseconds; `--test` makes it one repeat.
#![allow(clippy::expect_used, reason = "a bench has nobody to hand an error to")]

use std::time::{Duration, Instant};

use recurrent::internals::cpu;
use recurrent::internals::plan::{
    Bounds, Ctc, CtcGradient, CtcStates, DType, Lifetime, LogSums, Op, Phase, Plan, StepParams, View,
};

/// T, B, O and how many labels each sequence has.
const SIZES: [usize; 4] = [400, 16, 30, 40];
/// For how many labels a plan of these has room.
const ROOM: usize = 64;
/// How long repeats are made, of which the first three are not counted.
const TIME: Duration = Duration::from_secs(2);

fn main() {
    let once = std::env::args().any(|argument| argument == "--test");
    let [steps, batch, outputs, labels] = SIZES;
    let mut plan = Plan::empty().within(Bounds::NONE);
    let mut tensor = |name: &str, shape: &[usize], dtype| {
        plan.tensor(name, shape, dtype, Lifetime::Scratch).expect("a tensor within limits")
    };
    let y = tensor("outputs", &[steps * batch, outputs], DType::F32);
    let log_sums = tensor("log_sums", &[steps * batch], DType::F32);
    let loss_weights = tensor("loss_weights", &[batch], DType::F32);
    let step_params = tensor("step_params", &[StepParams::LEN], DType::F32);
    let row_loss = tensor("row_loss", &[batch], DType::F32);
    let states = tensor("states", &[2, batch, steps, 2 * ROOM + 4], DType::F32);
    let of_labels = tensor("labels", &[batch, 1 + 2 * ROOM], DType::U32);
    let lengths = tensor("lengths", &[batch], DType::U32);
    let view = View::new(y, 0, steps * batch, outputs);
    let ctc = Ctc { outputs: view, log_sums, labels: of_labels, lengths, loss_weights, step_params, blank: 0, states };
    plan.push(Phase::Loss, Op::LogSums(LogSums { outputs: view, out: log_sums }));
    plan.push(Phase::Loss, Op::CtcStates(CtcStates { ctc: ctc.clone(), row_loss, gradient: true }));
    plan.push(Phase::Loss, Op::CtcGradient(CtcGradient { ctc, loss_scale: None }));

    let mut executor = cpu::Executor::<f32>::new();
    let id = executor.prepare(plan).expect("a small plan");
    let divisor = StepParams { divisor: batch as f64, ..StepParams::default() };
    executor.write(id, step_params, divisor.elements().into_iter()).expect("its size");
    executor.write(id, loss_weights, (0..batch).map(|_| 1.0)).expect("its size");
    executor.write_ids(id, lengths, &vec![steps as u32; batch]).expect("its size");
    // Neighbours differ by a prime; the CPU needs no order of them.
    let label = |b: usize, at: usize| 1 + ((b * labels + at) * 7 % (outputs - 1)) as u32;
    let row = |b: usize| {
        let ids = (0..ROOM).map(move |at| if at < labels { label(b, at) } else { 0 });
        std::iter::once(labels as u32).chain(ids).chain((0..ROOM).map(|_| 0))
    };
    executor.write_ids(id, of_labels, &(0..batch).flat_map(row).collect::<Vec<_>>()).expect("its size");
    let (mut times, begin) = (Vec::new(), Instant::now());
    loop {
        // The gradient has taken the outputs' place.
        let values = (0..steps * batch * outputs).map(|at| (at * 31 % 997) as f64 / 249.0 - 2.0);
        executor.write(id, y, values).expect("its size");
        let start = Instant::now();
        executor.run(id);
        times.push(start.elapsed());
        if once || (begin.elapsed() > TIME && times.len() > 8) {
            break;
        }
    }
    let mut counted = times.split_off(times.len().min(3) * usize::from(!once));
    counted.sort_unstable();
    let loss: f32 = executor.read(id, row_loss).iter().sum();
    println!(r#"{{"ms":{:.3},"loss":{loss}}}"#, counted[counted.len() / 2].as_secs_f64() * 1e3);
}
