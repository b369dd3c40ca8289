//! A reader of WAV files: RIFF with PCM of 8 to 32 bits, floats of 32 or 64 bits, A-law or µ-law.
//!
//! The contract: a file that is damaged, cut short or of another format is an error that says which, with the sample. A
//! file that was written to a pipe, where its length could not be filled in, is read to its end.

use anyhow::{Context, Result, bail, ensure};
use audio_codec_algorithms::{decode_alaw, decode_ulaw};

/// What a file holds.
pub struct Wav {
    /// At least 1.
    pub channels: usize,
    /// Samples of a channel a second.
    pub rate: u32,
    /// `[frames, channels]`: −1 to 1.
    pub samples: Vec<f32>,
}

/// A file of floats may go beyond 1 where it was made too loud; what is beyond this is no sound.
const LOUDEST: f64 = 1000.0;

/// How a sample is stored.
#[derive(Clone, Copy)]
enum Encoding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
    ALaw,
    MuLaw,
}

struct Format {
    encoding: Encoding,
    channels: usize,
    rate: u32,
}

/// Parses the bytes of a file.
pub fn parse(bytes: &[u8]) -> Result<Wav> {
    let is_wav = bytes.get(..4) == Some(b"RIFF") && bytes.get(8..12) == Some(b"WAVE");
    ensure!(is_wav, "is no WAV file: it does not begin with RIFF and WAVE");
    let mut format = None;
    let mut rest = &bytes[12..];
    loop {
        let (name, size) = match (rest.first_chunk::<4>(), word(rest, 4)) {
            (Some(name), Some(size)) => (name, size),
            _ => bail!("has no samples: it ends before its chunk `data`"),
        };
        let body = &rest[8..];
        match name {
            b"fmt " => {
                format = Some(Format::parse(body.get(..size as usize).context("ends inside its chunk `fmt `")?)?)
            }
            b"data" => return format.context("has no chunk `fmt ` before `data`")?.samples(body, size),
            _ => {}
        }
        // A chunk of odd length is followed by a byte of padding.
        let next = (size as usize).saturating_add(size as usize % 2);
        rest = body.get(next..).unwrap_or_default();
    }
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Self> {
        /// The format is that of the GUID whose first two bytes it is.
        const EXTENSIBLE: u16 = 0xfffe;
        const GUID: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
        let field = |at: usize| Some(u16::from_le_bytes(*chunk.get(at..)?.first_chunk()?));
        let short = || format!("has a chunk `fmt ` of {} bytes", chunk.len());
        let mut tag = field(0).with_context(short)?;
        let (channels, rate) = (field(2).with_context(short)?, word(chunk, 4).with_context(short)?);
        let (frame, bits) = (field(12).with_context(short)?, field(14).with_context(short)?);
        if tag == EXTENSIBLE {
            tag = field(24).with_context(short)?;
            ensure!(chunk.get(26..40) == Some(&GUID), "is in a format of its own, expected PCM, float, A-law or µ-law");
        }
        ensure!(channels > 0, "has 0 channels");
        // The stored bits and not the valid ones: those stand high, and the bits below them are 0.
        let width = frame.is_multiple_of(channels).then(|| frame / channels);
        let encoding = match (tag, width.unwrap_or(0)) {
            (1, 1) => Encoding::Unsigned8,
            (1, 2) => Encoding::Signed16,
            (1, 3) => Encoding::Signed24,
            (1, 4) => Encoding::Signed32,
            (3, 4) => Encoding::Float32,
            (3, 8) => Encoding::Float64,
            (6, 1) => Encoding::ALaw,
            (7, 1) => Encoding::MuLaw,
            (1 | 3 | 6 | 7, _) => {
                let name = name(tag);
                bail!("has {channels} channels in frames of {frame} bytes, {bits} bits a sample, which is no {name}")
            }
            _ => bail!("is in {}, expected PCM, float, A-law or µ-law: sox and ffmpeg convert it", name(tag)),
        };
        Ok(Format { encoding, channels: channels.into(), rate })
    }

    /// Reads the samples at the beginning of `body`, of which the chunk's header says that it has `size` bytes.
    fn samples(self, body: &[u8], size: u32) -> Result<Wav> {
        let (width, channels) = (self.encoding.width(), self.channels);
        let frame = width * channels;
        let said = size as usize;
        let whole = body.len() / frame * frame;
        let data = match body.get(..said) {
            _ if is_unknown(size, frame) => &body[..whole],
            Some(data) => data,
            None => {
                bail!("sample {} cannot be read: the file ends, and says that it has {}", whole / width, said / width)
            }
        };
        let is_whole = data.len().is_multiple_of(frame);
        ensure!(is_whole, "has {} bytes of samples, no whole number of frames of {frame}", data.len());
        let mut samples = Vec::with_capacity(data.len() / width);
        for (at, sample) in data.chunks_exact(width).enumerate() {
            let value = self.encoding.value(sample);
            if value.is_nan() || value.abs() > LOUDEST {
                bail!("sample {at} is {value:e}, expected −1 to 1");
            }
            samples.push(value as f32);
        }
        Ok(Wav { channels, rate: self.rate, samples })
    }
}

impl Encoding {
    /// Bytes of a sample.
    fn width(self) -> usize {
        match self {
            Encoding::Unsigned8 | Encoding::ALaw | Encoding::MuLaw => 1,
            Encoding::Signed16 => 2,
            Encoding::Signed24 => 3,
            Encoding::Signed32 | Encoding::Float32 => 4,
            Encoding::Float64 => 8,
        }
    }

    /// Returns the value of a sample of that many bytes, −1 to 1.
    fn value(self, sample: &[u8]) -> f64 {
        let signed = |of: i32| f64::from(of) / 2f64.powi(31);
        match (self, sample) {
            (Encoding::Unsigned8, &[a]) => (f64::from(a) - 128.0) / 128.0,
            (Encoding::Signed16, &[a, b]) => signed(i32::from_le_bytes([0, 0, a, b])),
            (Encoding::Signed24, &[a, b, c]) => signed(i32::from_le_bytes([0, a, b, c])),
            (Encoding::Signed32, &[a, b, c, d]) => signed(i32::from_le_bytes([a, b, c, d])),
            (Encoding::Float32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
            (Encoding::Float64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            (Encoding::ALaw, &[a]) => f64::from(decode_alaw(a)) / 32768.0,
            (Encoding::MuLaw, &[a]) => f64::from(decode_ulaw(a)) / 32768.0,
            // Of another length, which is never given.
            _ => f64::NAN,
        }
    }
}

/// Returns whether a size is a placeholder for one that was not known: ffmpeg writes all ones, sox the largest number
/// of whole frames in 2³¹ − 4096 bytes.
fn is_unknown(size: u32, frame: usize) -> bool {
    const SOX: u32 = 0x7fff_f000;
    size == u32::MAX || (size <= SOX && ((SOX - size) as usize) < frame)
}

/// Returns the name of a format.
fn name(tag: u16) -> String {
    let name = match tag {
        0x01 => "PCM",
        0x02 => "Microsoft ADPCM",
        0x03 => "float",
        0x06 => "A-law",
        0x07 => "µ-law",
        0x11 => "IMA ADPCM",
        0x31 => "GSM 6.10",
        0x45 => "G.726 ADPCM",
        0x50 => "MPEG",
        0x55 => "MP3",
        0xff => "AAC",
        0x161 => "Windows Media Audio",
        _ => return format!("format {tag:#06x}"),
    };
    name.to_owned()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
