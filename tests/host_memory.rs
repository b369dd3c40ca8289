//! Memory of the host: where there is none for a network or a file, that is an error and never the end of the process;
//! and no file takes more than a few times its size. An allocator of this test's own counts, and refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Debug;

use recurrent::checkpoint::Training;
use recurrent::formats::Names;
use recurrent::internals::plan::parameter_flags;
use recurrent::recipe::DecayScope;
use recurrent::{Checkpoint, Config, Error, Init, InputKind, Loss, Model, Recipe, Result, State};
use tempfile::TempDir;

/// What is refused is as large; the rest is small, however large the network.
const LARGE: usize = 1 << 20;

thread_local! {
    static ALIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// How many large allocations succeed before one is refused; below 0 none is any more.
    static LEFT: Cell<i64> = const { Cell::new(i64::MAX) };
}

/// The system's allocator, counting the bytes of each thread.
struct Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call goes to the system's allocator unchanged, or to none with the answer that there is no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE {
            LEFT.set(LEFT.get() - 1);
            if LEFT.get() == -1 {
                return std::ptr::null_mut();
            }
        }
        ALIVE.set(ALIVE.get() + layout.size());
        PEAK.set(PEAK.get().max(ALIVE.get()));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // What another thread allocated is not counted here.
        ALIVE.set(ALIVE.get().saturating_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Refuses one large allocation after the other, and returns how many there are.
fn refuse_each<T>(what: &str, work: impl Fn() -> Result<T>) -> i64 {
    for before in 0.. {
        LEFT.set(before);
        let result = work();
        let reached = LEFT.replace(i64::MAX) < 0;
        match result {
            Ok(_) if !reached => return before,
            Err(Error::OutOfMemory(doing)) if reached => assert!(doing.contains('('), "{what}: {doing}"),
            Ok(_) => panic!("{what}: large allocation {before} was refused, and nobody noticed"),
            Err(error) => panic!("{what}: {error}"),
        }
    }
    unreachable!("a call that allocates for ever")
}

/// 600 hidden units: `weight_hh_l0` alone is larger than [`LARGE`].
fn config() -> Config {
    Config::elman(InputKind::Dense(3), 600, 2)
}

/// What an error says, with what its sources say.
fn said(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn a_network_without_memory_for_it_is_an_error() {
    assert_eq!(refuse_each("new", || Model::new(config())), 1);
    // The matrix in f64.
    assert_eq!(refuse_each("orthogonal", || Model::new(config().with_init(Init::Orthogonal))), 2);
    let model = Model::new(config()).unwrap();
    assert_eq!(refuse_each("from_tensors", || Model::from_tensors(config(), model.tensors())), 1);
    let (rows, square, row, out) = ([0.1; 3 * 600], vec![0.1; 600 * 600], [0.1; 600], [0.1; 1200]);
    let keras = || {
        let arrays: [(&[usize], &[f32]); 4] =
            [(&[3, 600], &rows), (&[600, 600], &square), (&[600], &row), (&[600, 2], &out)];
        Model::from_keras(config(), arrays)
    };
    assert_eq!(refuse_each("from_keras", keras), 1);
    assert_eq!(refuse_each("parameter_flags", || parameter_flags(DecayScope::Weights, model.layout(), &[])), 1);
}

#[test]
fn a_file_without_memory_for_it_is_an_error_and_writing_one_needs_none() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    let model = Model::new(config()).unwrap();
    let (names, recipe) = (Names::new(), Recipe::new(Loss::CrossEntropy));
    assert_eq!(refuse_each("export", || model.export(&path, &names)), 0);
    assert_eq!(refuse_each("export_bytes", || model.export_bytes(&names)), 1);
    // The file and the parameters.
    assert_eq!(refuse_each("import", || Model::import(&path, config(), &names)), 2);

    assert_eq!(refuse_each("save", || model.save(&path)), 0);
    assert_eq!(refuse_each("load", || Model::load(&path)), 2);
    let state = State::new(model.config(), 500, vec![0.5; 500 * 600]).unwrap();
    let moments = vec![model.values().to_vec(); recipe.optimizer.moment_count()];
    let mut training = Training::new(recipe);
    (training.moments, training.state) = (moments, Some(state));
    let mut checkpoint = Checkpoint::from(model);
    checkpoint.training = Some(training);
    assert_eq!(refuse_each("save", || checkpoint.save(&path)), 0);
    let bytes = checkpoint.to_bytes().unwrap();
    assert_eq!(refuse_each("to_bytes", || checkpoint.to_bytes()), 1);
    // The parameters, two moments, the state; of a file its bytes too.
    assert_eq!(refuse_each("from_bytes", || Checkpoint::from_bytes(&bytes)), 4);
    assert_eq!(refuse_each("load", || Checkpoint::load(&path)), 5);
}

/// The most bytes that the call held at once.
fn peak<T: Debug>(work: impl FnOnce() -> Result<T>) -> (usize, Error) {
    let before = ALIVE.get();
    PEAK.set(before);
    let error = work().unwrap_err();
    (PEAK.get() - before, error)
}

/// A safetensors file of this header and no data.
fn file(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

#[test]
fn a_hostile_header_takes_a_few_times_its_size() {
    let zeros = |count: usize| vec!["0"; count].join(",");
    let shape = |count| format!(r#"{{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,0]}}}}"#, zeros(count));
    let each = |count: usize, entry: &dyn Fn(usize) -> String| (0..count).map(entry).collect::<Vec<_>>().join(",");
    let tensors = |count| {
        let entry = |k| format!(r#""{k:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
        format!("{{{}}}", each(count, &entry))
    };
    let metadata = |count| format!(r#"{{"__metadata__":{{{}}}}}"#, each(count, &|k| format!(r#""{k:x}":"""#)));
    let own = |json: &str| format!(r#"{{"__metadata__":{{"recurrent":"{}"}}}}"#, json.replace('"', r#"\""#));
    for (what, header, words) in [
        // Refused by its length alone.
        ("a long shape", shape(10_000_000), "a header of 20000051 bytes, expected at most 16777216"),
        ("a shape", shape(8_000_000), "more than 131072 entries"),
        ("the longest shape", shape(131_072), "lacks the tensors"),
        ("tensors", tensors(200_000), "more than 131072 entries"),
        ("as many tensors as may be", tensors(131_072), "lacks the tensors"),
        ("metadata", metadata(1_000_000), "more than 131072 entries"),
        ("a value", own(&format!("[{}]", zeros(8_000_000))), "more than 131072 entries"),
        ("notes", own(&format!(r#"{{"format":2,"x":[{}]}}"#, zeros(131_072))), "unknown field `x`"),
        ("depth", format!(r#"{{"a":{}"#, "[".repeat(8_000_000)), "recursion"),
    ] {
        let bytes = file(&header);
        for (way, (peak, error)) in [
            ("load", peak(|| Checkpoint::from_bytes(&bytes))),
            ("import", peak(|| Model::import_bytes(&bytes, config(), &Names::new().ignore_others()))),
        ] {
            let bound = 8 * bytes.len().min(16 << 20);
            println!("{way} {what}: {peak} bytes of {}, {:.1}", bytes.len(), peak as f64 / bytes.len() as f64);
            assert!(peak <= bound, "{way} {what}: {peak} bytes, expected at most {bound}");
            assert!(matches!(error, Error::Checkpoint { .. }), "{way} {what}: {error}");
            let text = said(&error);
            let is_said = text.contains(words) || (way == "import" && text.contains("lacks the tensors"));
            assert!(is_said || text.contains("without the metadata"), "{way} {what}: {text:.300}");
        }
    }
}
