//! Lets the tests that need a GPU be listed as ignored where there is none, `RECURRENT_ADAPTER=none cargo test`, and
//! those that need 16-bit floats on a GPU that lacks them, `RECURRENT_F16=none cargo test`.
//!
//! libtest has no skipping at run time, and a test that returns early would pass silently.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RECURRENT_ADAPTER");
    println!("cargo::rerun-if-env-changed=RECURRENT_F16");
    println!("cargo::rustc-check-cfg=cfg(no_adapter)");
    println!("cargo::rustc-check-cfg=cfg(no_f16)");
    let is_none = |name: &str| std::env::var_os(name).is_some_and(|value| value == "none");
    // Without the feature there is no GPU at all.
    let no_adapter = is_none("RECURRENT_ADAPTER") || std::env::var_os("CARGO_FEATURE_GPU").is_none();
    if no_adapter {
        println!("cargo::rustc-cfg=no_adapter");
    }
    if no_adapter || is_none("RECURRENT_F16") {
        println!("cargo::rustc-cfg=no_f16");
    }
}
