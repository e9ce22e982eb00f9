//! The fuzz targets as ordinary tests: over the committed corpora, then over seeded mutations of them.
//! It measures no coverage and finds less than `make fuzz`; what that once found stays found. The canary
//! shows that a mutation reaches a bug next to an input of the corpus.

#[path = "../../rust/fuzz/src/targets/mod.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use targets::{TARGETS, Target};

/// Mutations of one target, as long as the time lasts: a slow machine does less, and never waits.
const MUTATIONS: u64 = 4_000;
const TIME_MAX: Duration = Duration::from_secs(12);

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> = std::fs::read_dir(folder.join(target.name))
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let inputs: Vec<_> = paths
        .iter()
        .map(|path| std::fs::read(path).expect("an input"))
        .collect();
    assert!(!inputs.is_empty(), "{}: an empty corpus", target.name);
    inputs
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One to four changes: a byte, a word, a piece doubled, dropped or taken from another input.
fn mutate(random: &mut Random, inputs: &[Vec<u8>], len_max: usize) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(7) {
            0 | 1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 if at + 8 <= bytes.len() => {
                let words = [0, u64::MAX, 1 << 63, 1 << 32, random.next()];
                bytes[at..at + 8].copy_from_slice(&words[random.below(5)].to_le_bytes());
            }
            4 if at < end => {
                bytes.drain(at..end);
            }
            5 if at < end => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece.repeat(1 + random.below(8)));
            }
            _ => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes.truncate(len_max);
    bytes
}

/// What a target says of one input.
fn finding(target: &Target, input: &[u8]) -> Option<String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    outcome.err().map(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without text").to_owned()
    })
}

/// The first finding among the corpus and the mutations.
fn first_finding(target: &Target) -> Option<(Vec<u8>, String)> {
    let started = Instant::now();
    let inputs = corpus(target);
    for input in &inputs {
        if let Some(text) = finding(target, input) {
            return Some((input.clone(), text));
        }
    }
    for seed in 0..MUTATIONS {
        if started.elapsed() > TIME_MAX {
            break;
        }
        let input = mutate(&mut Random(seed), &inputs, target.len_max);
        if let Some(text) = finding(target, &input) {
            return Some((input, text));
        }
    }
    None
}

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    if let Some((input, text)) = first_finding(target.expect("a target")) {
        panic!("{name}: {text}\non {:?}", input.escape_ascii().to_string());
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*, "canary"];
            assert_eq!(TARGETS.each_ref().map(|target| target.name), replayed);
        }
    };
}

replays!(safetensors_header gguf_header config_json tokenizer_json chat_template grammar detokenise sched_trace);

#[test]
fn the_planted_canary_is_found() {
    let canary = TARGETS.iter().find(|target| target.name == "canary");
    let canary = canary.expect("a canary");
    let (input, _) = first_finding(canary).expect("the canary lives");
    assert!(!corpus(canary).contains(&input), "found without a mutation");
}
