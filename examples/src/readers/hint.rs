//! Advice on a CSV file that could not be read: which options it looks like.
//!
//! The contract: it looks at the first lines alone and changes nothing that is read.

use super::table::Dialect;

/// Bytes and lines that are looked at.
const BYTES: usize = 8192;
const LINES: usize = 20;

/// Returns the options that may read the file, as the end of a message; nothing where it looks as it was asked for.
pub fn hint(file: &[u8], asked: &Dialect) -> String {
    let head = &file[..file.len().min(BYTES)];
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return "; the file is UTF-16: save it as UTF-8".to_owned();
    }
    let head = String::from_utf8_lossy(head);
    let lines: Vec<&str> = head.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty()).collect();
    // The last may have been cut off.
    let lines = if lines.len() > 1 && !head.ends_with('\n') { &lines[..lines.len() - 1] } else { &lines[..] };
    let mut options = Vec::new();
    let mark = asked.comment.map(char::from);
    let comment = mark.or_else(|| "#%".chars().find(|mark| lines.first().is_some_and(|line| line.starts_with(*mark))));
    if let (None, Some(comment)) = (mark, comment) {
        options.push(format!("--comment '{comment}'"));
    }
    let rows: Vec<&str> =
        lines.iter().filter(|line| comment.is_none_or(|c| !line.starts_with(c))).take(LINES).copied().collect();
    let given = char::from(asked.separator());
    let count = |line: &str, c: char| line.matches(c).count();
    let is_regular = |c: &char| {
        let first = rows.first().map_or(0, |row| count(row, *c));
        first > 0 && rows.iter().all(|row| count(row, *c) == first)
    };
    let others = ['\t', ';', '|'].into_iter().filter(|c| *c != given);
    // The number of decimal commas varies from row to row; that of separators does not.
    let separator = match others.into_iter().find(is_regular) {
        Some(other) if "\t;".contains(other) || !is_regular(&given) => Some(other),
        _ if given != ',' && !is_regular(&given) && is_regular(&',') => Some(','),
        _ => None,
    };
    if let Some(separator) = separator {
        options.push(format!(
            "--separator {}",
            if separator == '\t' { "tab".to_owned() } else { format!("'{separator}'") }
        ));
    }
    let separator = separator.unwrap_or(given);
    // A single column has no separator, but its decimal commas must not be taken for one.
    let is_single = separator == ',' && rows.first().is_some_and(|name| !name.contains(','));
    let has_decimals =
        |row: &&str| if is_single { is_decimal(row) } else { separator != ',' && row.split(separator).any(is_decimal) };
    if !asked.decimal_comma && rows.iter().any(has_decimals) {
        options.push(if is_single { "--separator ';' --decimal-comma" } else { "--decimal-comma" }.to_owned());
    }
    if options.is_empty() { String::new() } else { format!("; the file looks like one for {}", options.join(" ")) }
}

/// Returns whether it is a number with a decimal comma.
fn is_decimal(text: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let text = text.trim().trim_matches('"').trim_start_matches(['-', '+']);
    text.split_once(',').is_some_and(|(whole, decimals)| is_digits(whole) && is_digits(decimals))
}
