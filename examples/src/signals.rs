//! Signals that end a training: it stops between two steps and keeps what it has learned.
//!
//! The contract: SIGINT, SIGTERM and SIGHUP all stop it, and the exit code is 128 plus the signal's number, as in a
//! shell. A second SIGINT ends the process at once, as somebody is waiting for it. A SIGHUP that was ignored when the
//! process started, as under nohup, stays ignored.

use anyhow::Result;

/// Handles the signals from now on; a second call changes nothing.
pub fn watch() -> Result<()> {
    system::watch()
}

/// Returns the exit code, once a signal has come.
pub fn stopped() -> Option<u8> {
    system::signal().map(|signal| 128 + signal)
}

#[cfg(unix)]
mod system {
    use std::{
        fs,
        os::raw::c_int,
        sync::{
            Arc, OnceLock,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
    };

    use anyhow::Result;
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        flag,
    };

    /// The last signal that came, 0 before.
    static CAME: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

    pub fn watch() -> Result<()> {
        let came = Arc::new(AtomicUsize::new(0));
        if CAME.set(came.clone()).is_err() {
            return Ok(());
        }
        // A closed terminal may send SIGHUP twice, from the kernel and from the shell; only a second Ctrl-C is
        // impatience.
        let interrupted = Arc::new(AtomicBool::new(false));
        flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, interrupted.clone())?;
        flag::register(SIGINT, interrupted)?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal != SIGHUP || !is_ignored(signal) {
                flag::register_usize(signal, came.clone(), signal as usize)?;
            }
        }
        Ok(())
    }

    pub fn signal() -> Option<u8> {
        let came = CAME.get()?.load(Ordering::Relaxed);
        u8::try_from(came).ok().filter(|signal| *signal > 0)
    }

    /// Returns whether the process was started with a signal ignored; false where the system does not say.
    fn is_ignored(signal: c_int) -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        mask >> (signal - 1) & 1 == 1
    }
}

#[cfg(not(unix))]
mod system {
    use std::{
        process,
        sync::atomic::{AtomicBool, Ordering},
    };

    use anyhow::Result;

    /// As SIGINT has it.
    const INTERRUPT: u8 = 2;

    /// Set by Ctrl-C, and by a window that is closed.
    static CAME: AtomicBool = AtomicBool::new(false);
    static IS_WATCHED: AtomicBool = AtomicBool::new(false);

    pub fn watch() -> Result<()> {
        if !IS_WATCHED.swap(true, Ordering::Relaxed) {
            ctrlc::set_handler(|| {
                if CAME.swap(true, Ordering::Relaxed) {
                    process::exit(128 + i32::from(INTERRUPT));
                }
            })?;
        }
        Ok(())
    }

    pub fn signal() -> Option<u8> {
        CAME.load(Ordering::Relaxed).then_some(INTERRUPT)
    }
}
