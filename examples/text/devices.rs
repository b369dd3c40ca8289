//! The command `devices`: where this machine can compute.
//!
//! The contract: every adapter is listed by the index that `--device gpu:INDEX` takes, and the CPU last.

use anyhow::Result;
use recurrent::{Device, gpu};
use recurrent_examples::report::Report;

use crate::events::{Event, Limits};

/// Prints every adapter, and the CPU.
pub fn list(report: &Report) -> Result<()> {
    for a in gpu::adapters() {
        let limits = Limits {
            buffer_bytes: a.max_buffer_bytes,
            binding_bytes: a.max_binding_bytes,
            workgroup_bytes: a.workgroup_bytes.into(),
            invocations: a.invocations.into(),
        };
        report.line(&format!("gpu:{}  {}, {}, {}", a.index, a.name, a.backend, a.kind))?;
        report.line(&format!(
            "       buffers to {} MiB, bindings to {} MiB, workgroups of {} KiB and {} invocations",
            limits.buffer_bytes >> 20,
            limits.binding_bytes >> 20,
            limits.workgroup_bytes >> 10,
            limits.invocations
        ))?;
        let (name, backend, kind, software) = (&a.name, &a.backend, &a.kind, a.is_software);
        report.event(&Event::Adapter { index: a.index, name, backend, kind, software, limits })?;
    }
    let cpu = Device::cpu().name();
    report.line(&format!("cpu    {cpu}"))?;
    report.event(&Event::Device { name: &cpu, gpu: false })
}
