//! The records of a CSV file with the lines on which they stand.
//!
//! The contract: lines are those that an editor shows, whether they end as on Windows or not, blank ones and comments counted;
//! what is not UTF-8 becomes U+FFFD, so that a name in another encoding hinders nobody who asks for another column.

use anyhow::Result;
use csv::{ByteRecord, ReaderBuilder, Trim};

/// A record: the line where it ends, from 1, and its fields, trimmed.
pub type Record = (usize, Vec<String>);

/// All records, those of a header among them.
pub fn records(bytes: &[u8], how: &mut ReaderBuilder) -> Result<Vec<Record>> {
    let mut reader = how.has_headers(false).flexible(true).trim(Trim::All).from_reader(bytes);
    let (mut all, mut record) = (Vec::new(), ByteRecord::new());
    let (mut line, mut seen) = (1, 0);
    while reader.read_byte_record(&mut record)? {
        // The reader's own count is behind after "\r\n", of which it leaves half to the record that follows.
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
