//! The planted bugs: each must be found within the fixed seeds, or the simulator is not trusted.

use tokenmill_engine::Engine;

use crate::drive::drive;
use crate::trace::trace;
use crate::{SEEDS, quietly};

/// Shorter than the sweep: a bug that needs more is not worth finding late.
const STEPS: usize = 400;

/// A seed that fails without a bug finds none.
#[test]
fn no_seed_fails_without_a_bug() {
    for seed in SEEDS {
        let result = quietly(|| drive(&trace(seed, STEPS), STEPS, |_| {}));
        assert!(result.is_ok(), "seed {seed}: {result:?}");
    }
}

fn finds(name: &str, run: impl Fn(u64) -> Result<crate::Report, String>) {
    let found = SEEDS
        .map(|seed| (seed, quietly(|| run(seed))))
        .find_map(|(seed, result)| result.err().map(|what| (seed, what)));
    let (seed, what) = found.unwrap_or_else(|| panic!("no seed finds {name}"));
    // Shown with --nocapture: how soon, and how.
    let line = format!(
        "{name}: seed {seed}: {}",
        what.chars().take(160).collect::<String>()
    );
    std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes())
        .expect("stderr");
}

#[test]
fn every_bug_planted_in_the_scheduler_is_found() {
    for bug in tokenmill_sched::Planted::ALL {
        finds(&format!("{bug:?}"), |seed| {
            let mut trace = trace(seed, STEPS);
            trace.sched.planted = Some(bug);
            drive(&trace, STEPS, |_| {})
        });
    }
}

#[test]
fn every_bug_planted_in_the_engine_is_found() {
    for bug in tokenmill_engine::Planted::ALL {
        finds(&format!("{bug:?}"), |seed| {
            drive(&trace(seed, STEPS), STEPS, |engine: &mut Engine| {
                engine.plant(bug);
            })
        });
    }
}
