//! Faults that a program can make for itself: files cut and flipped anywhere (F10), steps that fail or
//! panic (F13), logits that are no numbers (F14). What is measured is printed under `--nocapture`. The
//! faults that need a process to die, or its memory or clock, are in `tests/python/faults`.
#![allow(clippy::print_stdout, reason = "what was measured, under --nocapture")]

#[path = "../../rust/formats/tests/files/make.rs"]
#[allow(dead_code, reason = "another crate's tests use the rest")]
mod make;

use std::path::Path;
use std::time::Duration;

use tokenmill::{FinishReason, HasKind, Kind, Prompt, Request, SamplingParams};
use tokenmill_engine::{Door, Engine, Handle, Received, assemble, simulated};
use tokenmill_formats::Checkpoint;
use tokenmill_sched::SchedConfig;
use tokenmill_sim::{SimBackend, Triggers, Violations};

const VOCAB: usize = 64;
const ERROR_TOKEN: u32 = 63;
const PANIC_TOKEN: u32 = 62;
const NAN_TOKEN: u32 = 61;

/// The finaliser of SplitMix64.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Name, shape and bytes.
type Tensor = (String, Vec<usize>, Vec<u8>);

/// Every tensor of a file, or why it was refused.
fn content(path: &Path, bytes: &[u8]) -> Result<Vec<Tensor>, Kind> {
    std::fs::write(path, bytes).expect("room");
    let checkpoint = Checkpoint::open(path).map_err(|error| error.kind())?;
    let mut tensors = Vec::new();
    for info in checkpoint.tensors() {
        let mut bytes = Vec::new();
        checkpoint
            .read(&info.name, &mut bytes)
            .map_err(|error| error.kind())?;
        tensors.push((info.name.clone(), info.shape.clone(), bytes));
    }
    Ok(tensors)
}

/// Both kinds of file: name, bytes, length of the header.
fn files() -> [(&'static str, Vec<u8>, usize); 2] {
    let gguf = make::Gguf::small().bytes();
    let safetensors = make::small_safetensors();
    let (gguf_header, header) = (gguf.len() - 76, safetensors.len() - 22);
    [
        ("model.gguf", gguf, gguf_header),
        ("model.safetensors", safetensors, header),
    ]
}

#[test]
fn f10_a_file_cut_anywhere_is_corrupt() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.json"), "{}").expect("room");
    for (name, bytes, _) in files() {
        let path = folder.path().join(name);
        assert!(content(&path, &bytes).is_ok());
        for len in 0..bytes.len() {
            let kind = content(&path, &bytes[..len]).expect_err("a file that is not whole");
            assert_eq!(kind, Kind::Corrupt, "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn f10_every_bit_of_a_header_flipped_is_corrupt_or_reads_within_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.json"), "{}").expect("room");
    for (name, bytes, header_len) in files() {
        let path = folder.path().join(name);
        let whole = content(&path, &bytes).expect("a good file");
        let (mut refused, mut equal, mut other) = (0, 0, 0);
        for bit in 0..header_len * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match content(&path, &flipped) {
                Err(kind) => {
                    assert!(
                        matches!(kind, Kind::Corrupt | Kind::Unsupported),
                        "bit {bit}"
                    );
                    refused += 1;
                }
                Ok(tensors) if tensors == whole => equal += 1,
                // A name or a type of the same size: no format of weights carries a checksum.
                Ok(tensors) => {
                    let bytes: usize = tensors.iter().map(|(_, _, bytes)| bytes.len()).sum();
                    assert!(bytes <= flipped.len(), "bit {bit} reads outside the file");
                    other += 1;
                }
            }
        }
        println!("{name}: {refused} flips refused, {equal} without effect, {other} undetected");
        assert!(refused > other, "{name}: {refused} refused, {other} not");
    }
}

#[test]
fn f10_a_thousand_flips_of_data_change_that_tensor_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.json"), "{}").expect("room");
    for (name, bytes, header_len) in files() {
        let path = folder.path().join(name);
        let whole = content(&path, &bytes).expect("a good file");
        for turn in 0..1_000 {
            let mut flipped = bytes.clone();
            let at = header_len + (mix(turn) % (bytes.len() - header_len) as u64) as usize;
            flipped[at] ^= 1 << (mix(turn + 5_000) % 8);
            let tensors = content(&path, &flipped).expect("the header is whole");
            let changed = whole.iter().zip(&tensors).filter(|(a, b)| a != b).count();
            assert!(
                changed <= 1,
                "byte {at} of {name} changed {changed} tensors"
            );
        }
    }
}

fn engine(triggers: Triggers) -> (Engine, Door) {
    let sched = SchedConfig {
        blocks: 64,
        block_size: 4,
        context_len: 48,
        running_max: 8,
        ..SchedConfig::default()
    };
    let backend = SimBackend::new(triggers, Violations::default());
    let parts = simulated(sched, backend, VOCAB, vec![0]).expect("parts");
    assemble(parts).expect("an engine")
}

fn request(index: u64, bad: Option<u32>) -> Request {
    let len = 1 + mix(index) % 6;
    let mut prompt: Vec<u32> = (0..len)
        .map(|at| (mix(index ^ at << 20) % 50) as u32)
        .collect();
    prompt.extend(bad);
    let params = SamplingParams {
        max_tokens: Some(1 + (mix(index + 7) % 6) as u32),
        seed: Some(index as i64),
        ignore_eos: true,
        // Tokens that fail on purpose are only ever given, never generated.
        logit_bias: [ERROR_TOKEN, PANIC_TOKEN, NAN_TOKEN]
            .map(|token| (token, -100.0))
            .to_vec(),
        ..SamplingParams::default()
    };
    Request::new(Prompt::Tokens(prompt), params)
}

/// What each of `count` requests said, sixteen at a time; `bad` chooses the token that a request brings.
fn outcomes(
    triggers: Triggers,
    count: u64,
    bad: impl Fn(u64) -> Option<u32>,
) -> Vec<(Vec<u32>, FinishReason, Option<Kind>)> {
    let (mut engine, door) = engine(triggers);
    let mut all: Vec<_> = (0..count)
        .map(|_| (Vec::new(), FinishReason::Abort, None))
        .collect();
    let mut open: Vec<(u64, Handle)> = Vec::new();
    let mut next = 0;
    while next < count || !open.is_empty() {
        while next < count && open.len() < 16 {
            open.push((next, door.submit(request(next, bad(next))).expect("room")));
            next += 1;
        }
        engine.step();
        engine.check();
        open.retain(|(index, handle)| {
            let said = &mut all[*index as usize];
            while let Received::Event(event) = handle.receive(Some(Duration::ZERO)) {
                said.0.extend(event.tokens);
                if let Some(finish) = event.finish {
                    said.1 = finish.reason;
                    said.2 = finish.error.map(|error| error.kind);
                }
            }
            handle.is_open()
        });
    }
    for (name, figure) in door.stats().snapshot() {
        let is_held = [
            "requests_live",
            "handles_open",
            "logprob_bytes",
            "list_bytes",
        ]
        .contains(&name);
        assert!(!is_held || figure == 0, "{name} is {figure} when idle");
    }
    all
}

fn triggers() -> Triggers {
    Triggers {
        error_token: Some(ERROR_TOKEN),
        panic_token: Some(PANIC_TOKEN),
        nan_token: Some(NAN_TOKEN),
        ..Triggers::default()
    }
}

/// Requests that bring `token`, one in a thousand, end alone with `kind`; all others say what they always
/// say.
fn ends_alone(token: u32, kind: Kind) {
    const COUNT: u64 = 10_000;
    let is_hit = |index: u64| mix(index).is_multiple_of(1_000);
    let clean = outcomes(Triggers::default(), COUNT, |_| None);
    let faulty = outcomes(triggers(), COUNT, |index| is_hit(index).then_some(token));
    let mut hits = 0;
    for (index, (clean, faulty)) in clean.iter().zip(&faulty).enumerate() {
        if is_hit(index as u64) {
            hits += 1;
            assert_eq!(faulty, &(Vec::new(), FinishReason::Error, Some(kind)));
        } else {
            assert_eq!(clean, faulty, "request {index}");
        }
    }
    assert!(hits >= 3, "{hits} hits");
    println!("{hits} of {COUNT} requests hit");
}

#[test]
fn f13_a_row_that_fails_ends_its_request_alone() {
    ends_alone(ERROR_TOKEN, Kind::Internal);
}

#[test]
fn f13_a_row_that_panics_ends_its_request_alone() {
    ends_alone(PANIC_TOKEN, Kind::Internal);
}

#[test]
fn f14_logits_that_are_no_numbers_end_their_request_alone() {
    ends_alone(NAN_TOKEN, Kind::Corrupt);
}

/// A step that fails for the machine's reason is run again: nobody notices.
#[test]
fn f13_one_step_in_a_thousand_that_fails_or_panics_changes_no_token() {
    const COUNT: u64 = 4_000;
    let clean = outcomes(Triggers::default(), COUNT, |_| None);
    let runs = |shift: u64| (0..20_000).filter(move |run| mix(run + shift).is_multiple_of(1_000));
    let triggers = Triggers {
        error_runs: runs(0).collect(),
        panic_runs: runs(1 << 40).collect(),
        ..Triggers::default()
    };
    assert_eq!(clean, outcomes(triggers, COUNT, |_| None));
}
