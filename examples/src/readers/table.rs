//! A column of numbers from a CSV file, in the dialect that the options name.
//!
//! The contract: nothing is guessed. What is wrong is said with file, line and column, and where the file looks like
//! another dialect, with the option that reads it.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

use super::{hint::hint, records::records};

/// How to read a file.
#[derive(Args, Clone, Default)]
pub struct Dialect {
    /// What stands between two columns: a character, or `tab` [default: ,]
    #[arg(long, value_name = "CHAR", value_parser = mark)]
    pub separator: Option<u8>,
    /// Numbers have a comma before their decimals, as in 3,14
    #[arg(long)]
    pub decimal_comma: bool,
    /// Lines that begin with this character are left out
    #[arg(long, value_name = "CHAR", value_parser = mark)]
    pub comment: Option<u8>,
    /// The first line is data: columns are called by their number, from 1
    #[arg(long)]
    pub no_header: bool,
    /// The first line holds names, though there are numbers among them
    #[arg(long, conflicts_with = "no_header")]
    pub header: bool,
}

/// Parses a separator, or what a comment begins with.
fn mark(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [b'"'] => Err("a quotation mark quotes".to_owned()),
        [mark] if mark.is_ascii_punctuation() || b" \t".contains(mark) => Ok(*mark),
        _ => Err("expected a punctuation mark, a space or `tab`".to_owned()),
    }
}

impl Dialect {
    /// Returns the first option that was given.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--separator", self.separator.is_some()),
            ("--decimal-comma", self.decimal_comma),
            ("--comment", self.comment.is_some()),
            ("--no-header", self.no_header),
            ("--header", self.header),
        ];
        options.iter().find(|(_, is_given)| *is_given).map(|(option, _)| *option)
    }

    /// Returns the separator, a comma where none was given.
    pub fn separator(&self) -> u8 {
        self.separator.unwrap_or(b',')
    }

    /// Reads the column of that name, or the last; returns its name with it.
    pub fn read(&self, path: &Path, column: Option<&str>) -> Result<(String, Vec<f64>)> {
        ensure!(self.comment != Some(self.separator()), "--comment and --separator are the same character");
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let read = self.column(&bytes, column);
        read.map_err(|error| anyhow!("{}{error:#}{}", path.display(), hint(&bytes, self)))
    }

    /// Reads the same from a file's bytes; an error's message continues after the file's name.
    fn column(&self, bytes: &[u8], column: Option<&str>) -> Result<(String, Vec<f64>)> {
        let mut how = csv::ReaderBuilder::new();
        let records = records(bytes, how.delimiter(self.separator()).comment(self.comment)).context(": no CSV")?;
        let (line, first) = records.first().context(" has no columns")?;
        let names = match self.no_header {
            true => (1..=first.len()).map(|number| number.to_string()).collect(),
            false => first.clone(),
        };
        if let Some(name) = names.iter().find(|name| !self.no_header && !self.header && looks_like_number(name)) {
            bail!(
                ", line {line}: \"{name}\" in place of a column's name: --no-header reads the line as data, --header \
                as names"
            );
        }
        let mut known = BTreeSet::new();
        for name in names.iter().filter(|name| !name.is_empty() || column == Some("")) {
            ensure!(known.insert(name), ", line {line}: two columns are called \"{name}\"");
        }
        let at = match column {
            Some(column) => names
                .iter()
                .position(|name| name == column)
                .with_context(|| format!(" has no column \"{column}\"; there are \"{}\"", names.join("\", \"")))?,
            None => names.len() - 1,
        };
        let name = &names[at];
        let mut values = Vec::new();
        for (line, record) in &records[usize::from(!self.no_header)..] {
            let (count, expected) = (record.len(), names.len());
            ensure!(count == expected, ", line {line}: {count} columns, expected {expected} as in the first line");
            let text = &record[at];
            let value = self.number(text);
            values.push(
                value.with_context(|| format!(", line {line}: \"{text}\" in column \"{name}\" is no finite number"))?,
            );
        }
        ensure!(!values.is_empty(), " has no values in column \"{name}\"");
        Ok((name.clone(), values))
    }

    /// Parses a finite number, as the dialect writes it.
    fn number(&self, text: &str) -> Option<f64> {
        let text = match self.decimal_comma {
            // A point would separate thousands; it is not guessed that it does.
            true if text.contains('.') => return None,
            true => text.replacen(',', ".", 1),
            false => text.to_owned(),
        };
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }
}

/// Returns whether it is a number in any dialect.
fn looks_like_number(text: &str) -> bool {
    text.replacen(',', ".", 1).parse::<f64>().is_ok_and(f64::is_finite)
}
