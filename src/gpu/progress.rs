//! Whether a device did all that was submitted to it.
//!
//! A system that stops a dispatch for taking too long drops what follows it in the same submission, and some report
//! that as completed work. The contract: the last dispatch of every submission counts it on the device, every readback
//! brings the count along, and one that is not the host's is [`Error::WorkDropped`] from then on.

use super::context::Gpu;
use super::kernels;
use crate::error::{Error, Result};

/// Bytes of the count.
pub(super) const BYTES: u64 = 4;

/// The count of an executor's submissions, on the device and on the host.
pub(super) struct WorkDone {
    /// `[1]`: how many were done.
    done: wgpu::Buffer,
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    /// How many were submitted; both counts wrap around.
    submitted: u32,
    /// Whether the outcome of one is unknown, after an error that was reported.
    is_uncertain: bool,
}

impl WorkDone {
    /// A count of none.
    pub async fn new(gpu: &Gpu) -> Result<Self> {
        let mark = kernels::mark();
        gpu.pipelines().compile(gpu.device(), std::iter::once(&mark)).await?;
        let compiled = gpu.pipelines().get(&mark)?;
        let buffer = |label, usage| {
            let usage = usage | wgpu::BufferUsages::COPY_SRC;
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: BYTES,
                usage,
                mapped_at_creation: false,
            })
        };
        let done = buffer("submissions done", wgpu::BufferUsages::STORAGE);
        let uniform = buffer("parameters of mark", wgpu::BufferUsages::UNIFORM);
        let entries = [(0, &uniform), (1, &done)]
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
        let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("mark"),
            layout: &compiled.layout,
            entries: &entries,
        });
        Ok(WorkDone { done, pipeline: compiled.pipeline, group, submitted: 0, is_uncertain: false })
    }

    /// Ends the last pass of a submission, which has to be submitted.
    pub fn mark(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[0]);
        pass.dispatch_workgroups(1, 1, 1);
        self.count();
    }

    /// Counts a submission on the host.
    pub fn count(&mut self) {
        self.submitted = self.submitted.wrapping_add(1);
    }

    /// Brings the count along with a readback. Returns what it has to be.
    pub fn copy(&self, encoder: &mut wgpu::CommandEncoder, staging: &wgpu::Buffer, offset: u64) -> u32 {
        encoder.copy_buffer_to_buffer(&self.done, 0, staging, offset, BYTES);
        self.submitted
    }

    /// After an error of a submission: it may have been done or not, and that was told.
    pub fn mark_uncertain(&mut self) {
        self.is_uncertain = true;
    }

    /// Checks the device's count against what it had to be. More may have been submitted since it was copied.
    pub fn check(&mut self, done: u32, submitted: u32) -> Result<()> {
        let submissions = submitted.wrapping_sub(done);
        if std::mem::take(&mut self.is_uncertain) {
            self.submitted = self.submitted.wrapping_sub(submissions);
            return Ok(());
        }
        if submissions == 0 { Ok(()) } else { Err(Error::WorkDropped { submissions }) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::executor::Executor;
    use super::super::{Gpu, Select};
    use crate::plan::{Bounds, Plan, Purpose, Work};
    use crate::{
        Batch, BatchShape, Config, Device, Error, InputKind, Loss, Model, Predictor, Recipe, Sequences, Trainer,
    };

    fn gpu() -> Gpu {
        Gpu::new(&Select::Any).expect("an adapter; RECURRENT_ADAPTER=none tests without one")
    }

    fn batch() -> Batch {
        Batch::tokens(
            BatchShape { steps: 6, batch_size: 2 },
            (0..12).map(|i| i % 5).collect(),
            (0..12).map(|i| i % 3).collect(),
        )
    }

    fn is_dropped<T>(outcome: Result<T, Error>) -> bool {
        matches!(outcome, Err(Error::WorkDropped { submissions: 1 }))
    }

    #[test]
    #[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
    fn a_training_whose_work_was_dropped_says_so_and_gives_no_weights() {
        let model = Model::new(Config::lstm(InputKind::Tokens(5), 8, 3)).expect("a small network");
        // All of a step; its last dispatches; the count alone.
        for kept in [0, 5, usize::MAX] {
            let gpu = gpu();
            let device = Device::from_gpu(gpu.clone());
            let mut trainer = Trainer::new(&device, &model, Recipe::new(Loss::CrossEntropy)).expect("a trainer");
            trainer.step(&batch()).expect("a step");
            assert_eq!(trainer.metrics().expect("what was done").len(), 1);
            let checkpoint = trainer.checkpoint().expect("a good one");
            gpu.leave_out(0, kept);
            trainer.step(&batch()).expect("no wait, no news");
            assert!(is_dropped(trainer.metrics()));
            trainer.step(&batch()).expect("another step, which is done");
            assert!(is_dropped(trainer.metrics()));
            assert!(is_dropped(trainer.model()));
            assert!(is_dropped(trainer.checkpoint()));
            assert!(is_dropped(trainer.evaluate([batch()])));
            let mut resumed = Trainer::resume(&device, &checkpoint).expect("a trainer that goes on");
            resumed.step(&batch()).expect("a step");
            assert_eq!(resumed.metrics().expect("what was done").len(), 1);
        }
    }

    #[test]
    #[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
    fn what_was_read_before_more_was_submitted_is_good() {
        // Outputs of 18 MB, which are read back while later chunks are on their way.
        let (steps, outputs) = (2048, 2200);
        let model = Model::new(Config::elman(InputKind::Tokens(5), 4, outputs)).expect("a small network");
        let mut predictor = Predictor::new(&Device::from_gpu(gpu()), &model).expect("a predictor");
        let answer = predictor
            .run(&Sequences::tokens(BatchShape { steps, batch_size: 1 }, vec![3; steps]))
            .expect("all was done");
        assert_eq!(answer.outputs.len(), steps * outputs);
    }

    #[test]
    #[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
    fn each_of_several_submissions_is_missed() {
        let config = Config::lstm(InputKind::Tokens(5), 8, 3);
        let gpu = gpu();
        let submission = Work { flops: 2000, bytes: u64::MAX };
        let (plan, outputs) = Plan::new(&config, Purpose::Infer, 20, 2, &gpu.target()).expect("a plan");
        let plan = plan.within(Bounds { submission, ..gpu.target().bounds });
        let submissions = plan.submissions().len();
        assert!(submissions > 2, "{submissions} submissions");
        for missing in 0..submissions {
            let mut executor = Executor::new(gpu.clone());
            let id = executor.prepare(plan.clone()).expect("a plan that fits");
            executor.run(id).expect("a run");
            executor.read(id, outputs.outputs).expect("all was done");
            gpu.leave_out(missing, 0);
            executor.run(id).expect("no wait, no news");
            assert!(is_dropped(executor.read(id, outputs.outputs)), "submission {missing}");
        }
    }
}
