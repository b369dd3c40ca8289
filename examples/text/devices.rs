//! Where to compute: the device that was asked for, and the list of what there is.
//!
//! The contract: the choice is said in one line before anything else is printed.

use anyhow::Result;
use recurrent::{Device, gpu};

use crate::{
    args::Common,
    report::{Event, Limits, Report},
};

/// The device that was asked for, said aloud.
pub fn open(common: &Common, report: &Report) -> Result<Device> {
    let device = Device::parse(&common.device)?;
    let name = device.name();
    let why = if common.device == "best" && !device.is_gpu() { "; no hardware GPU was found" } else { "" };
    report.event(&Event::Device { name: &name, gpu: device.is_gpu() })?;
    report.line(&format!("device: {name}{why}"))?;
    Ok(device)
}

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
