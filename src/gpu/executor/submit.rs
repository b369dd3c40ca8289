//! Commands with everything they need at hand, and their way into submissions.
//!
//! The contract: commands run in the order of the list, and the count of what was done comes behind all of them.

use super::BufferSlice;
use crate::gpu::context::Gpu;
use crate::gpu::progress::WorkDone;

/// A command with everything it needs at hand.
pub(super) enum Encoded {
    Dispatch { pipeline: wgpu::ComputePipeline, group: wgpu::BindGroup, params: u32, grid: [u32; 3] },
    Copy { from: BufferSlice, to: BufferSlice },
    Zero(BufferSlice),
}

/// One submission, counted on the device where there is a count, with what `copy` adds behind the count.
pub(super) fn submit(
    gpu: &Gpu,
    commands: &[Encoded],
    mut progress: Option<&mut WorkDone>,
    copy: impl FnOnce(Option<&WorkDone>, &mut wgpu::CommandEncoder),
) {
    let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    #[cfg(test)]
    if let Some(kept) = gpu.next_fault() {
        // As a device that is stopped in the middle: what follows in the submission is left out, but for the copies.
        record(&mut encoder, &commands[..kept.min(commands.len())], None);
        progress.iter_mut().for_each(|progress| progress.count());
        copy(progress.as_deref(), &mut encoder);
        gpu.queue().submit([encoder.finish()]);
        return;
    }
    record(&mut encoder, commands, progress.as_deref_mut());
    copy(progress.as_deref(), &mut encoder);
    gpu.queue().submit([encoder.finish()]);
}

/// Copies stand between passes, dispatches inside them, the count in the last.
pub(super) fn record(encoder: &mut wgpu::CommandEncoder, commands: &[Encoded], mut progress: Option<&mut WorkDone>) {
    let mut rest = commands;
    while let Some(first) = rest.first() {
        match first {
            Encoded::Copy { from, to } => {
                encoder.copy_buffer_to_buffer(&from.buffer, from.offset, &to.buffer, to.offset, from.size);
                rest = &rest[1..];
            }
            Encoded::Zero(place) => {
                encoder.clear_buffer(&place.buffer, place.offset, Some(place.size));
                rest = &rest[1..];
            }
            Encoded::Dispatch { .. } => {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                while let Some(Encoded::Dispatch { pipeline, group, params, grid: [x, y, z] }) = rest.first() {
                    pass.set_pipeline(pipeline);
                    pass.set_bind_group(0, group, &[*params]);
                    pass.dispatch_workgroups(*x, *y, *z);
                    rest = &rest[1..];
                }
                if rest.is_empty()
                    && let Some(progress) = progress.take()
                {
                    progress.mark(&mut pass);
                }
            }
        }
    }
    if let Some(progress) = progress {
        progress.mark(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    }
}
