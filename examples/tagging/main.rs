//! Words as a sequence: a bidirectional network reads a sentence and says of each word which part of speech it is.
//!
//! The contract: nothing is learned from the sentences of the test; what a word's letters say is read beside the word,
//! so that unknown words are tagged too; what is wrong with a file is said with its name and line.
//!
//! ```text
//! cargo run --release --example tagging
//! cargo run --release --example tagging -- --data FILE                # word TAB tag, and a blank line
//! cargo run --release --example tagging -- --conllu --data FILE --test FILE
//! cargo run --release --example tagging -- --tag "lo zidum kolm ta brifen ."
//! cargo run --release --example tagging -- --predict FILE             # a sentence a line
//! ```

mod drawing;
mod grammar;
mod guess;
mod letters;
mod score;
mod tagger;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{CommandFactory, Parser, error::ErrorKind};
use recurrent::{Directions, metrics::ConfusionMatrix};
use recurrent_examples::{
    classes, device, files,
    fit::{self, History},
    options::{self, Options},
    program,
    readers::tagged::{self, Format, Sentence},
    report::Report,
    shuffle, svg,
};
use serde_json::json;

use guess::Guess;
use letters::Lexicon;
use score::{GROUPS, Score};
use tagger::{Lesson, Part, Plan};

const DEFAULTS: &[(&str, &str)] = &[
    ("checkpoint", "out/tagging.safetensors"),
    ("plot", "out/tagging.svg"),
    ("cell", "lstm"),
    ("layers", "1"),
    ("hidden", "48"),
    ("epochs", "12"),
    ("patience", "4"),
    ("batch_size", "16"),
    ("learning_rate", "0.01"),
    ("dropout", "0"),
];

/// Without --test the last of this many sentences are for it, and of as many of the rest one tells when to stop.
const HELD: usize = 10;
/// Tags the words of sentences, each by its sentence and by its letters.
///
/// Without --data it learns a language that it makes up itself.
#[derive(Parser)]
#[command(name = "tagging", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    format: Format,
    /// Sentences to test with, in the same format; without it they are the last tenth of --data
    #[arg(long, value_name = "FILE", requires = "data")]
    test: Option<PathBuf>,
    /// A word that is there n times is unknown with the probability A / (A + n) while it is learned
    #[arg(long, value_name = "A", default_value_t = 0.25, allow_negative_numbers = true)]
    word_dropout: f64,
    /// Train nothing: tag this sentence, its words and marks parted by spaces, with the network of --checkpoint
    #[arg(long, value_name = "SENTENCE", conflicts_with = "predict")]
    tag: Option<String>,
}

fn main() -> ExitCode {
    program::main(|| {
        let Cli { options, format, test, word_dropout, tag } = options::parse(DEFAULTS);
        if let (None, Some(option)) = (&options.data, format.given()) {
            let what = format!("{option} says how --data is read, but there is none");
            Cli::command().error(ErrorKind::MissingRequiredArgument, what).exit()
        }
        let report = Report::new(options.json);
        let sentences = match (&tag, &options.predict) {
            (Some(sentence), _) => vec![(1, tagged::words(sentence))],
            (None, Some(file)) => tagged::sentences(file)?,
            (None, None) => {
                ensure!(
                    word_dropout.is_finite() && word_dropout >= 0.0,
                    "--word-dropout is {word_dropout}, expected at least 0"
                );
                let parts = match &options.data {
                    Some(file) => {
                        let sentences = format.read(file)?;
                        let count = sentences.len();
                        let least = HELD * HELD;
                        ensure!(count >= least, "{}: {count} sentences, expected at least {least}", file.display());
                        let tested = test.as_deref().map(|file| format.read(file)).transpose()?;
                        files::prepare(test.as_deref(), &[&options.checkpoint], &[&options.plot])?;
                        parted(sentences, tested)
                    }
                    None => grammar::parts(options.seed),
                };
                return train(parts, word_dropout, &options, report);
            }
        };
        predict(&sentences, &options, &report).map(|()| ExitCode::SUCCESS)
    })
}

/// The sentences to learn and those to test, which are the last where none are given.
fn parted(mut sentences: Vec<Sentence>, test: Option<Vec<Sentence>>) -> [Vec<Sentence>; 2] {
    let kept = sentences.len() - sentences.len() / HELD;
    let test = test.unwrap_or_else(|| sentences.split_off(kept));
    [sentences, test]
}

fn train(
    [learned, test]: [Vec<Sentence>; 2],
    word_dropout: f64,
    options: &Options,
    mut report: Report,
) -> Result<ExitCode> {
    let order = shuffle::shuffled(&(0..learned.len()).collect::<Vec<_>>(), shuffle::rng(options.seed, u64::MAX));
    let (held, kept) = order.split_at(learned.len() / HELD);
    let [held, kept] = [held, kept].map(|places| places.iter().map(|&at| learned[at].clone()).collect::<Vec<_>>());
    let name = options.name("a language");
    let tags = learned.iter().chain(&test).flat_map(|sentence| &sentence.tags);
    let lexicon = Lexicon::new(&kept, tags).with_context(|| name.clone())?;
    let [kept, held, test] = [kept, held, test].map(|part| Part::new(part, &lexicon));
    let (kept, held, test) = (kept?, held?, test?);
    options.prepare(&[])?;
    let device = device::open(&options.device, &report)?;
    report.line(&format!(
        "{name}: {} tags; {} words in {} sentences to learn, {} to tell when to stop, {} words in {} to test",
        lexicon.tags().len(),
        kept.words(),
        kept.sentences.len(),
        held.sentences.len(),
        test.words(),
        test.sentences.len()
    ))?;

    // As many numbers a word as both directions together have, so that it is no smaller.
    let wide = Options { hidden: options.hidden.saturating_mul(2), ..options.clone() };
    let plan = |name, lexicon, directions, options| Plan { name, lexicon, directions, options };
    let networks = [
        plan("both ways", lexicon.clone(), Directions::Bidirectional, options),
        plan("without letters", lexicon.clone().without_letters(), Directions::Bidirectional, options),
        plan("forward only", lexicon.clone(), Directions::Forward, &wide),
    ];
    let lesson = Lesson { kept: &kept, held: &held, word_dropout };
    let prepared = lexicon.prepared();
    let words: Vec<&[String]> = test.pairs().map(|(words, _)| words).collect();
    let (mut taggers, mut histories) = (Vec::new(), Vec::new());
    for (at, plan) in networks.iter().enumerate() {
        // The first is the tagger, the others are what it is compared with.
        let notes = (at == 0).then(|| options::notes("tagging", &prepared)).transpose()?;
        let (model, history) = tagger::learn(&device, &lesson, plan, &mut report, notes)?;
        if let Some(code) = history.stopped {
            return Ok(fit::interrupted(code, options));
        }
        let judged = tagger::judged(&device, &model, &plan.lexicon, &words)?;
        let said = judged.iter().map(|words| words.iter().map(|(class, _)| *class).collect()).collect();
        taggers.push((plan.name, said));
        histories.push(history);
    }
    let guess = Guess::new(&kept.sentences, &kept.classes);
    let guessed = words.iter().map(|words| words.iter().map(|word| guess.tag(word)).collect()).collect();
    taggers.push(("most frequent tag", guessed));
    let score = |(name, said): &(_, Vec<Vec<usize>>)| (*name, Score::new(&test.sentences, &test.classes, said, &guess));
    // The simplest first.
    let scores: Vec<(&str, Score)> = taggers.iter().rev().map(score).collect();
    let (said, history) = (&taggers[0].1, &histories[0]);
    let pairs = test.classes.iter().flatten().copied().zip(said.iter().flatten().copied());
    let confusion = classes::confusion(lexicon.tags(), pairs)?;
    svg::write(&options.plot, (1180, 900), &format!("tagging: {name}"), |area| {
        drawing::draw(area, history, &confusion, &scores, &test.sentences, &drawing::names(said, lexicon.tags()))
    })?;
    tell(&scores, &confusion, history, options, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// Says how the test ended, of every tagger; the last is that which is kept.
fn tell(
    scores: &[(&str, Score)],
    confusion: &ConfusionMatrix,
    history: &History,
    options: &Options,
    report: &Report,
) -> Result<()> {
    report.line(&format!("\n{confusion}\n"))?;
    let Some(((_, kept), baselines)) = scores.split_last() else { return Ok(()) };
    let counts = kept.counts();
    let heads = GROUPS.iter().zip(counts).map(|((group, _), count)| format!("{:>22}", format!("{count} {group}")));
    report.line(&format!("{:<18}{}", "told rightly", heads.collect::<String>()))?;
    for (name, score) in scores {
        let share =
            |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", share * 100.0));
        let shares: String = score.shares().map(|one| format!("{:>22}", share(one))).concat();
        report.line(&format!("{name:<18}{shares}"))?;
    }
    for (name, score) in baselines {
        let mut event = score.members();
        event.extend([("event".to_owned(), "baseline".into()), ("name".to_owned(), (*name).into())]);
        report.event(&event)?;
    }
    let (checkpoint, plot) = (options.checkpoint.display(), options.plot.display());
    report.line(&format!("\nafter {:.0} s of training; saved in {checkpoint}, drawn in {plot}", history.seconds))?;
    let mut event = kept.members();
    event.extend([("event".to_owned(), "test".into()), ("seconds".to_owned(), history.seconds.into())]);
    report.event(&event)
}

/// Tags sentences, each with the line where it stands, by a trained network.
fn predict(sentences: &[(usize, Vec<String>)], options: &Options, report: &Report) -> Result<()> {
    ensure!(sentences.iter().all(|(_, words)| !words.is_empty()), "the sentence of --tag has no words");
    let (model, prepared) = options.load("tagging")?;
    let lexicon = Lexicon::of(prepared, &model)?;
    let device = device::open(&options.device, report)?;
    let read: Vec<&[String]> = sentences.iter().map(|(_, words)| &words[..]).collect();
    for ((line, words), judged) in sentences.iter().zip(tagger::judged(&device, &model, &lexicon, &read)?) {
        let tags: Vec<&str> = judged.iter().map(|(class, _)| lexicon.tags()[*class].as_str()).collect();
        let probabilities: Vec<f64> = judged.iter().map(|(_, probability)| *probability).collect();
        let pairs: Vec<String> = words.iter().zip(&tags).map(|(word, tag)| format!("{word}/{tag}")).collect();
        report.line(&pairs.join(" "))?;
        report.event(&json!({
            "event": "prediction", "line": line, "words": words, "tags": tags, "probabilities": probabilities,
        }))?;
    }
    Ok(())
}
