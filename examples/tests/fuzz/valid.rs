//! Small valid files of every kind that is read, which damage starts from.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use hound::{SampleFormat, WavSpec, WavWriter};
use recurrent::checkpoint::Training;
use recurrent::formats::Names;
use recurrent::recipe::Optimizer;
use recurrent::{Activation, Checkpoint, Config, Dense, InputKind, Loss, Model, Recipe, Recurrent, State};

/// Two tracks with a name, a tempo, a message of another program's, percussion and a status that runs on.
pub fn music() -> Vec<Vec<u8>> {
    let first = b"\0\xff\x03\x01a\0\xff\x51\x03\x07\xa1\x20\0\x90\x3c\x40\0\x40\x40\x30\x3c\0\x30\x40\0\0\xff\x2f\0";
    let second = b"\0\xf0\x02\x01\xf7\0\xc0\x05\x60\x99\x3c\x40\0\x91\x45\x40\x81\x10\x81\x45\x40\0\xff\x2f\0";
    let track = |bytes: &[u8]| [b"MTrk", &(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let header = |format: u8, tracks: u8| [b"MThd\0\0\0\x06\0", &[format, 0, tracks, 0, 96][..]].concat();
    vec![
        [header(0, 1), track(first)].concat(),
        [header(1, 2), track(first), b"XXXX\0\0\0\x02ab".to_vec(), track(second)].concat(),
    ]
}

/// I = 3, H = 2, O = 2.
pub fn config() -> Config {
    Config::gru(InputKind::Dense(3), 2, 2)
}

pub fn checkpoints() -> Vec<Vec<u8>> {
    let model = Model::new(config()).unwrap();
    let alone = Checkpoint::from(model.clone());
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::sgd(0.9), 0.1);
    let mut training = Training::new(recipe);
    (training.steps, training.frozen) = (17, vec!["bias".to_owned()]);
    (training.moments, training.state) =
        (vec![model.values().to_vec()], Some(State::new(&config(), 1, vec![0.5; 2]).unwrap()));
    training.best = Some(model.values().to_vec());
    let mut resumable = Checkpoint::from(model);
    resumable.training = Some(training);
    let notes = BTreeMap::from([("alphabet".to_owned(), "\n\"é".to_owned())]);
    resumable.notes = notes;
    [alone, resumable].map(|c| c.to_bytes().unwrap()).into()
}

/// Under the prefixes `rnn.` and `head.`.
pub fn exports() -> Vec<Vec<u8>> {
    let names = Names::new().recurrent("rnn.").read_out("head.");
    vec![Model::new(config()).unwrap().export_bytes(&names).unwrap()]
}

/// Modules of several kinds, the read-out tied to the embedding.
pub fn list() -> Config {
    let config = Config::new(InputKind::Tokens(4)).embedding(2).layer(Recurrent::gru(3).bidirectional()).dropout(0.1);
    config.layer_norm().layer(Dense::new(2, Activation::Tanh).with_bias(false)).outputs(4).tied()
}

/// In PyTorch's numbers: the table twice, and once beside a stranger.
pub fn exported_lists() -> Vec<Vec<u8>> {
    let twice = Model::new(list()).unwrap().export_bytes(&Names::sequential()).unwrap();
    let mut once = twice.clone();
    let at = once.windows(10).position(|bytes| bytes == b"\"0.weight\"").unwrap();
    once[at + 1] = b'x';
    vec![twice, once]
}

pub fn recordings() -> Vec<Vec<u8>> {
    let specs = [(1, 8000, 8, SampleFormat::Int), (1, 8000, 16, SampleFormat::Int), (2, 16_000, 24, SampleFormat::Int)];
    let specs = specs.into_iter().chain([(1, 8000, 32, SampleFormat::Float)]);
    let write = |(channels, sample_rate, bits_per_sample, sample_format)| {
        let mut file = Cursor::new(Vec::new());
        let spec = WavSpec { channels, sample_rate, bits_per_sample, sample_format };
        let mut writer = WavWriter::new(&mut file, spec).unwrap();
        for sample in (0..64).chain(0..64) {
            match sample_format {
                SampleFormat::Float => writer.write_sample(sample as f32 / 64.0).unwrap(),
                SampleFormat::Int => writer.write_sample(sample).unwrap(),
            }
        }
        writer.finalize().unwrap();
        file.into_inner()
    };
    specs.map(write).collect()
}

/// Plain and packed.
pub fn images() -> Vec<Vec<u8>> {
    let sizes = [0x0803u32, 3, 4, 5].map(u32::to_be_bytes).concat();
    let plain = [&sizes[..], &[7; 60]].concat();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&plain).unwrap();
    vec![plain, packed.finish().unwrap()]
}

pub fn tables() -> Vec<Vec<u8>> {
    let plain = "date,\"high, low\",value\n2024-01-01,3,1.5\r\n2024-01-02,4,-2e3\n";
    let other = "# of a meter\nZeit;Wert\n1;3,14\n2;-0,5\n";
    let bare = "1,2\n3,4.5\n5,6\n";
    [plain, other, bare].map(|text| text.as_bytes().to_vec()).into()
}

pub fn strokes() -> Vec<Vec<u8>> {
    let line = |digit| format!("{}, {digit}\n", ["0", "100", "47", "8"].repeat(4).join(","));
    vec![(0..5).map(line).collect::<String>().into_bytes()]
}

/// In two columns, and CoNLL-U with a comment, a token of two words and one of none.
pub fn tagged_words() -> Vec<Vec<u8>> {
    let columns = "The\tDET\ncat\tNOUN\n\nIt\tPRON\nsleeps\tVERB\r\n.\tPUNCT\n";
    let line = |id: &str, word: &str, tag: &str| format!("{id}\t{word}\t_\t{tag}{}\n", "\t_".repeat(6));
    let lines = [line("1-2", "du", "_"), line("1", "de", "ADP"), line("2", "le", "DET"), line("2.1", "est", "VERB")];
    vec![columns.as_bytes().to_vec(), format!("# text = du\n{}\n", lines.concat()).into_bytes()]
}

pub fn texts() -> Vec<Vec<u8>> {
    vec!["\u{feff}first line\r\nsecond, é and 𝄞\n".as_bytes().to_vec(), b"plain".to_vec()]
}
