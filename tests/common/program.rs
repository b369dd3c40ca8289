//! Where `cargo test` has built an example, and whether it says what it should on any system.
//!
//! The contract: an example that is not there fails the test with the command that builds it.

use std::path::{Path, PathBuf};

/// The executable of that example, of the profile that the test itself was built in.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} is missing: cargo build --example {name}", program.display());
    program
}

/// Whether a message holds these words. Paths in it may be parted by `/` or, on Windows, by `\`, or by some of each.
pub fn says(message: &str, words: &str) -> bool {
    let [message, words] = [message, words].map(|text| text.replace('\\', "/"));
    message.contains(&words)
}
