//! Standard MIDI files as piano rolls: which of a piano's keys sound at every eighth note, read and written.
//!
//! The contract: a file that is damaged, cut short or of another kind is an error with its name and the byte; nothing
//! is allocated by what a file claims. Percussion, pedals and how hard a key is struck are not looked at, and a key
//! that is struck again at once sounds on.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

/// The number of the lowest key of a piano, A0.
pub const LOWEST: usize = 21;
/// A piano's keys.
pub const KEYS: usize = 88;
/// Steps in a quarter note.
pub const STEPS: u64 = 2;
/// Steps of a piece at most: nine hours at 120 quarter notes a minute.
const MOST: u64 = 1 << 17;
/// Percussion, by its channel from 0.
const PERCUSSION: u8 = 9;
/// Ticks of a step in files that are written.
const TICKS: u32 = 240;

/// A piece of music.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The file's name.
    pub name: String,
    /// At every eighth note which keys sound: bit k is key [`LOWEST`] + k.
    pub steps: Vec<u128>,
    /// Notes that no piano has, which are left out.
    pub outside: usize,
}

/// Reads all files of a folder that end in `.mid` or `.midi`, in the order of their names.
pub fn folder(path: &Path) -> Result<Vec<Piece>> {
    let cannot = || format!("cannot read the folder {}", path.display());
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        let extension = file.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        if extension.is_some_and(|extension| ["mid", "midi"].contains(&extension.as_str())) {
            files.push(file);
        }
    }
    // Folders list their files in any order.
    files.sort();
    ensure!(!files.is_empty(), "{} has no file that ends in .mid or .midi", path.display());
    files.iter().map(|file| read(file)).collect()
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Piece> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (steps, outside) = parse(&bytes).with_context(|| path.display().to_string())?;
    Ok(Piece { name, steps, outside })
}

/// A note: its key, and the ticks at which it begins and ends.
type Note = (u8, [u64; 2]);

/// The steps of a file, and how many of its notes no piano has.
fn parse(bytes: &[u8]) -> Result<(Vec<u128>, usize)> {
    let mut file = Bytes { bytes, at: 0 };
    ensure!(file.take(4).ok() == Some(b"MThd"), "is not a MIDI file: it does not begin with MThd");
    let length = file.number(4)?;
    ensure!(length >= 6, "byte 4: a header of {length} bytes, expected at least 6");
    let [format, tracks, quarter] = [file.number(2)?, file.number(2)?, file.number(2)?];
    ensure!(format < 2, "byte 8: format {format}, expected 0 or 1: one piece, in one track or several");
    ensure!(quarter & 0x8000 == 0, "byte 12: it counts time in frames of a film, expected parts of a quarter note");
    ensure!(quarter > 0, "byte 12: a quarter note has 0 parts, expected at least 1");
    file.take(length as usize - 6)?;
    let mut notes = Vec::new();
    for track in 1..=tracks {
        let (kind, length) = loop {
            let at = file.at;
            let kind = file.take(4).with_context(|| format!("ends before track {track} of {tracks}"))?;
            let length = file.number(4)? as usize;
            if kind == b"MTrk" {
                break (at, length);
            }
            // A chunk of another program's.
            file.take(length)?;
        };
        ensure!(
            length <= file.bytes.len() - file.at,
            "byte {kind}: track {track} has {length} bytes, but {} follow",
            file.bytes.len() - file.at
        );
        read_track(&mut Bytes { bytes: &bytes[..file.at + length], at: file.at }, &mut notes)?;
        file.at += length;
    }
    roll(&notes, quarter)
}

/// Which keys sound at every step from the first note to the last.
fn roll(notes: &[Note], quarter: u64) -> Result<(Vec<u128>, usize)> {
    let is_of_piano = |key: u8| (LOWEST..LOWEST + KEYS).contains(&usize::from(key));
    let inside: Vec<&Note> = notes.iter().filter(|(key, _)| is_of_piano(*key)).collect();
    // The nearest step.
    let step = |tick: u64| (2 * STEPS * tick + quarter) / (2 * quarter);
    let first = inside.iter().map(|(_, [on, _])| step(*on)).min();
    let first = first.context("has no note of a piano's")?;
    let mut steps: Vec<u128> = Vec::new();
    for (key, [on, off]) in &inside {
        let on = step(*on) - first;
        let off = (step(*off) - first).max(on + 1);
        ensure!(off <= MOST, "lasts {off} eighth notes, expected at most {MOST}");
        let (on, off) = (on as usize, off as usize);
        steps.resize(steps.len().max(off), 0);
        steps[on..off].iter_mut().for_each(|step| *step |= 1 << (usize::from(*key) - LOWEST));
    }
    Ok((steps, notes.len() - inside.len()))
}

/// Bytes that are read in order.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let left = &self.bytes[self.at..];
        let Some(taken) = left.get(..count) else {
            bail!("byte {}: {count} more were expected, {} are there", self.at, left.len())
        };
        self.at += count;
        Ok(taken)
    }

    /// Of so many bytes, the highest first.
    fn number(&mut self, bytes: usize) -> Result<u64> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Seven bits a byte, at most four bytes; the last has no eighth bit.
    fn variable(&mut self) -> Result<u64> {
        let (at, mut number) = (self.at, 0);
        for _ in 0..4 {
            let byte = self.number(1)?;
            number = number << 7 | byte & 0x7f;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        bail!("byte {at}: a number of more than four bytes")
    }

    /// Below 128.
    fn data(&mut self) -> Result<u8> {
        let (at, byte) = (self.at, self.take(1)?[0]);
        ensure!(byte < 0x80, "byte {at} is {byte}, expected at most 127");
        Ok(byte)
    }
}

/// Adds the notes of a track; what still sounds at its end ends there.
fn read_track(track: &mut Bytes<'_>, notes: &mut Vec<Note>) -> Result<()> {
    let (mut tick, mut running) = (0, None);
    // Where each key of each channel began to sound.
    let mut sounding = [[None; 128]; 16];
    while track.at < track.bytes.len() {
        tick += track.variable()?;
        let at = track.at;
        let status = match track.bytes.get(at) {
            Some(&byte) if byte >= 0x80 => {
                track.at += 1;
                byte
            }
            Some(_) => running.with_context(|| format!("byte {at}: a message that does not say what it is"))?,
            None => bail!("byte {at}: a track ends in the middle of an event"),
        };
        match status {
            0x80..=0xef => {
                running = Some(status);
                let (kind, channel) = (status >> 4, status & 0xf);
                let key = track.data()?;
                // A program and a pressure have one number.
                let value = if matches!(kind, 0xc | 0xd) { 0 } else { track.data()? };
                if !matches!(kind, 8 | 9) || channel == PERCUSSION {
                    continue;
                }
                let began = &mut sounding[usize::from(channel)][usize::from(key)];
                let before = if kind == 9 && value > 0 { began.replace(tick) } else { began.take() };
                notes.extend(before.map(|on| (key, [on, tick])));
            }
            0xf0 | 0xf7 => {
                let length = track.variable()?;
                track.take(length as usize)?;
                running = None;
            }
            0xff => {
                let kind = track.data()?;
                let length = track.variable()?;
                track.take(length as usize)?;
                running = None;
                if kind == 0x2f {
                    break;
                }
            }
            _ => bail!("byte {at}: a message {status:#04x}, which no file has"),
        }
    }
    let keys = sounding.iter().flat_map(|channel| (0..).zip(channel));
    notes.extend(keys.filter_map(|(key, began)| began.map(|on| (key, [on, tick]))));
    Ok(())
}

/// Writes steps as a file of one track, 100 quarter notes a minute.
pub fn write(path: &Path, steps: &[u128]) -> Result<()> {
    let mut track = Vec::new();
    // 600,000 microseconds a quarter note.
    track.extend([0, 0xff, 0x51, 3, 0x09, 0x27, 0xc0]);
    let (mut before, mut waited) = (0, 0);
    for step in steps.iter().chain([&0]) {
        let changed = before ^ step;
        // First what ends, then what begins.
        for is_on in [false, true] {
            for key in (0..KEYS).filter(|key| changed >> key & 1 == 1 && (step >> key & 1 == 1) == is_on) {
                push_variable(&mut track, std::mem::take(&mut waited));
                track.extend([if is_on { 0x90 } else { 0x80 }, (LOWEST + key) as u8, 64]);
            }
        }
        (before, waited) = (*step, waited + TICKS);
    }
    track.extend([0, 0xff, 0x2f, 0]);
    let quarter = (STEPS as u32 * TICKS) as u16;
    let mut file = b"MThd\0\0\0\x06\0\0\0\x01".to_vec();
    file.extend(quarter.to_be_bytes());
    file.extend(b"MTrk");
    file.extend((track.len() as u32).to_be_bytes());
    file.extend(track);
    fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
}

fn push_variable(out: &mut Vec<u8>, number: u32) {
    let bytes = [number >> 21, number >> 14, number >> 7].map(|part| part as u8 & 0x7f | 0x80);
    out.extend(bytes.into_iter().skip_while(|byte| *byte == 0x80));
    out.push(number as u8 & 0x7f);
}
