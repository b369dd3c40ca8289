//! Gathers the text that the example `text` learns where none is given, the source of the library, and lets the tests
//! that need a GPU be listed as ignored where there is none, as `../build.rs` does.
//!
//! The contract: every file of `../src` and `../shaders` is in the text under its path, in the order of the paths.

use std::{env, error::Error, fs, path::Path};

/// The folders of the library that are learned.
const FOLDERS: [&str; 2] = ["shaders", "src"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RECURRENT_ADAPTER");
    println!("cargo::rustc-check-cfg=cfg(no_adapter)");
    if env::var_os("RECURRENT_ADAPTER").is_some_and(|value| value == "none") {
        println!("cargo::rustc-cfg=no_adapter");
    }
    let mut files = Vec::new();
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed=../{folder}");
        gather(folder, &mut files)?;
    }
    files.sort();
    let mut text = String::new();
    for path in files {
        let file = fs::read_to_string(Path::new("..").join(&path)).map_err(|error| format!("{path}: {error}"))?;
        text += &format!("// {path}\n\n{file}\n");
    }
    let folder = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&folder).join("source.txt"), text)?;
    Ok(())
}

/// Adds the files of a folder and of those in it, by their paths from the root with `/` between the parts.
fn gather(folder: &str, files: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(Path::new("..").join(folder))? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| format!("{folder}/{name:?} is not Unicode"))?;
        let path = format!("{folder}/{name}");
        // What editors leave beside a file while they have it open is not of the source.
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() { gather(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
