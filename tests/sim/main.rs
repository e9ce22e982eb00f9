//! The simulator: real engine and scheduler, simulated model, seeded traces. `TOKENMILL_SIM_SEED=N` replays
//! one seed; `TOKENMILL_SIM_SEEDS=FROM..TO` sweeps others. The planted bugs prove that it can see.

mod drive;
mod oracle;
mod planted;
mod random;
mod rows;
mod steering;
mod strategy;
mod trace;

use drive::{Report, drive};
use trace::trace;

/// Steps during which requests arrive.
const STEPS: usize = 2000;
const SEEDS: std::ops::Range<u64> = 0..200;

fn seeds() -> std::ops::Range<u64> {
    if let Ok(seed) = std::env::var("TOKENMILL_SIM_SEED") {
        let seed = seed.parse().expect("TOKENMILL_SIM_SEED must be a number");
        return seed..seed + 1;
    }
    let Ok(range) = std::env::var("TOKENMILL_SIM_SEEDS") else {
        return SEEDS;
    };
    let ends = range
        .split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let (from, to) = ends.expect("TOKENMILL_SIM_SEEDS must be FROM..TO");
    from..to
}

thread_local! {
    static IS_DRIVING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `drive` without the messages of panics: they are part of the traces, and a real one is reported.
pub fn quietly<T>(drive: impl FnOnce() -> T) -> T {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_DRIVING.get() {
                loud(info);
            }
        }));
    });
    IS_DRIVING.set(true);
    let result = drive();
    IS_DRIVING.set(false);
    result
}

#[test]
fn every_seed_ends_every_request_once_with_the_oracle_s_tokens() {
    let mut total = Report::default();
    let mut failures = Vec::new();
    for seed in seeds() {
        match quietly(|| drive(&trace(seed, STEPS), STEPS, |_| {})) {
            Ok(report) => {
                total.steps += report.steps;
                total.requests += report.requests;
                total.refused += report.refused;
                total.tokens += report.tokens;
                total.beams += report.beams;
                total.searches += report.searches;
                for (total, more) in total.second_rows.iter_mut().zip(report.second_rows) {
                    *total += more;
                }
                total.preemptions += report.preemptions;
                total.cached_tokens += report.cached_tokens;
                total.isolated += report.isolated;
            }
            Err(what) => failures.push(format!("seed {seed}: {what}")),
        }
    }
    assert!(
        failures.is_empty(),
        "{} seeds failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(total.steps >= STEPS * seeds().count(), "{total:?}");
    // A sweep that never preempts, hits the cache or fails a step would prove nothing.
    if seeds().count() >= 100 {
        assert!(
            total.preemptions > 1000
                && total.cached_tokens > 10_000
                && total.isolated > 50
                && total.beams > 1000
                && total.searches > 500
                && total.second_rows.iter().all(|count| *count > 500),
            "{total:?}"
        );
    }
}
