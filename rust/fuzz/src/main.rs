//! The entry point that libFuzzer calls: one binary, whose target is named by the variable `FUZZ_TARGET`.
//! A panic that the product catches itself is an answer like any other, so the crate's own hook, which
//! aborts at once, is taken off, and only a panic that leaves a target ends the process.
#![no_main]

mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::OnceLock;

use targets::{TARGETS, Target};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        drop(take_hook());
        // The default hook, but silent where the panic will be caught by the product: there it would be
        // written thousands of times a second.
        set_hook(Box::new(|_| {}));
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|target| target.name == name);
        let _ = TARGET.set(found.unwrap_or_else(|| panic!("FUZZ_TARGET={name} is no target")));
    },
    |data: &[u8]| {
        let target = TARGET.get().expect("set at the start");
        if data.len() > target.len_max {
            return;
        }
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (target.run)(data))) {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            eprintln!("{} panicked: {}", target.name, text.unwrap_or("(no text)"));
            std::process::abort();
        }
    }
);
