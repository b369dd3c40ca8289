//! Lets the tests that need a GPU be listed as ignored where there is none: `RECURRENT_ADAPTER=none cargo test`.
//!
//! libtest has no skipping at run time, and a test that returns early would pass silently.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RECURRENT_ADAPTER");
    println!("cargo::rustc-check-cfg=cfg(no_adapter)");
    if std::env::var_os("RECURRENT_ADAPTER").is_some_and(|adapter| adapter == "none") {
        println!("cargo::rustc-cfg=no_adapter");
    }
}
