//! Where an example computes.
//!
//! The contract: the device that is used is said aloud before it is.

use anyhow::Result;
use recurrent::Device;
use serde_json::json;

use crate::report::Report;

/// The device that was asked for, said aloud.
pub fn open(asked: &str, report: &Report) -> Result<Device> {
    let device = Device::parse(asked)?;
    let name = device.name();
    let why = if asked == "best" && !device.is_gpu() { "; no hardware GPU was found" } else { "" };
    report.event(&json!({ "event": "device", "name": name, "gpu": device.is_gpu() }))?;
    report.line(&format!("device: {name}{why}"))?;
    Ok(device)
}
