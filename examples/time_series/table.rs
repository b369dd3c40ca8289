//! A column of numbers from a CSV file.
//!
//! The contract: what is wrong is said with file, line and column.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// The column of that name, or the last; with its name.
pub fn read(path: &Path, column: Option<&str>) -> Result<(String, Vec<f64>)> {
    let mut reader = csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let within = || format!("{}", path.display());
    let headers = reader.headers().with_context(within)?.clone();
    let at = match column {
        Some(name) => headers.iter().position(|header| header == name).with_context(|| {
            let there = headers.iter().collect::<Vec<_>>().join("\", \"");
            format!("{} has no column \"{name}\"; there are \"{there}\"", path.display())
        })?,
        None => headers.len().checked_sub(1).with_context(|| format!("{} has no columns", path.display()))?,
    };
    let name = headers.get(at).unwrap_or_default().to_owned();
    let mut values = Vec::new();
    for record in reader.records() {
        let record = record.with_context(within)?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = record.get(at).unwrap_or_default().trim();
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => values.push(value),
            _ => bail!("{}, line {line}: \"{text}\" in column \"{name}\" is no finite number", path.display()),
        }
    }
    ensure!(!values.is_empty(), "{} has no values in column \"{name}\"", path.display());
    Ok((name, values))
}
