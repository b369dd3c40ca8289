//! The records of a CSV file with the lines on which they stand.
//!
//! The contract: lines are counted as an editor counts them: CRLF or LF, blank lines and comments included. What is not
//! UTF-8 becomes U+FFFD, so that a column whose name is in another encoding does not hinder the reading of another
//! column.

use anyhow::Result;
use csv::{ByteRecord, ReaderBuilder, Trim};

/// The line on which a record ends, from 1, and its fields, trimmed.
pub type Record = (usize, Vec<String>);

/// Reads all records, the header among them.
pub fn records(bytes: &[u8], how: &mut ReaderBuilder) -> Result<Vec<Record>> {
    let mut reader = how.has_headers(false).flexible(true).trim(Trim::All).from_reader(bytes);
    let (mut all, mut record) = (Vec::new(), ByteRecord::new());
    let (mut line, mut seen) = (1, 0);
    while reader.read_byte_record(&mut record)? {
        // The reader's own count is one behind after "\r\n", whose "\n" it leaves to the next record.
        let mut end = bytes.len().min(reader.position().byte() as usize);
        while end > seen && b"\r\n".contains(&bytes[end - 1]) {
            end -= 1;
        }
        line += bytes[seen..end].iter().filter(|byte| **byte == b'\n').count();
        seen = end;
        all.push((line, record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect()));
    }
    Ok(all)
}
