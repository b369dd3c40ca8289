//! Where `cargo test` has built an example.
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
