//! Where an example computes.
//!
//! The contract: an example says which device it uses before it uses it.

use anyhow::Result;
use recurrent::Device;
use serde_json::json;

use crate::report::Report;

/// Opens the device that was asked for and says which it is.
pub fn open(asked: &str, report: &Report) -> Result<Device> {
    let device = Device::parse(asked)?;
    let name = device.name();
    let why = if asked == "best" && !device.is_gpu() { "; no hardware GPU was found" } else { "" };
    report.event(&json!({ "event": "device", "name": name, "gpu": device.is_gpu() }))?;
    report.line(&format!("device: {name}{why}"))?;
    Ok(device)
}
