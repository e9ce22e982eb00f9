//! The programs of known architectures against transformers: the logits of every position and the greedy
//! continuation of random tiny checkpoints, and of the default model. `tests/models/make_tiny.py` makes the
//! checkpoints; without `TOKENMILL_TINY_DIR` or `TOKENMILL_TEST_GGUF` a test says that it ran nothing.

use std::path::{Path, PathBuf};

use tokenmill_core::TokenId;
use tokenmill_core::option::{ActivationsChoice, DtypeChoice, EngineOptions};
use tokenmill_cpu::CpuBackend;
use tokenmill_engine::{inspect, load};
use tokenmill_formats::Checkpoint;
use tokenmill_model::{Backend, Weights, build};
use tokenmill_reference::ReferenceBackend;

#[path = "conformance/driver.rs"]
mod driver;

use driver::{Piece, Rig, blocks, distance, exact_plan};

/// Share of a row's range by which logits may differ from transformers'.
const TOLERANCE: f32 = 1e-4;
const BLOCK_SIZE: usize = 16;

type Make = fn() -> Box<dyn Backend>;

fn reference() -> Box<dyn Backend> {
    Box::new(ReferenceBackend::new())
}

fn cpu() -> Box<dyn Backend> {
    Box::new(CpuBackend::new().expect("a level that exists"))
}

/// Index of the largest logit; of equals, the first.
fn greedy(logits: &[f32]) -> TokenId {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best as TokenId
}

/// What an environment variable names, or a word about its absence; in CI it must be there.
fn path_of(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set");
        say(&format!("ran nothing: {variable} is not set"));
    }
    path
}

#[allow(clippy::print_stderr)] // the only way for a test to say that it had nothing to do
fn say(text: &str) {
    eprintln!("{text}");
}

struct Expected {
    tokens: Vec<TokenId>,
    logits: Vec<Vec<f32>>,
    greedy: Vec<TokenId>,
}

fn expected(case: &Path) -> Vec<Expected> {
    let text = std::fs::read_to_string(case.join("expected.json")).expect("make_tiny.py wrote it");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    fn numbers(value: &serde_json::Value) -> impl Iterator<Item = f64> {
        value
            .as_array()
            .expect("a list")
            .iter()
            .map(|item| item.as_f64().expect("a number"))
    }
    rows.iter()
        .map(|row| Expected {
            tokens: numbers(&row["tokens"])
                .map(|token| token as TokenId)
                .collect(),
            logits: row["logits"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|logits| numbers(logits).map(|logit| logit as f32).collect())
                .collect(),
            greedy: numbers(&row["greedy"])
                .map(|token| token as TokenId)
                .collect(),
        })
        .collect()
}

/// The file's logits and greedy tokens, for whole prefill, chunks of 3 and decode.
fn check_file(make: Make, file: &Path, rows: &[Expected]) -> Result<f32, String> {
    let name = file.display();
    let checkpoint = Checkpoint::open(file).map_err(|error| format!("{name}: {error}"))?;
    let mut program = build(&checkpoint).map_err(|error| format!("{name}: {error}"))?;
    program.serve_context(program.shape.context_len);
    let weights =
        Weights::new(&program, &checkpoint).map_err(|error| format!("{name}: {error}"))?;
    let table = blocks(0, 5);
    let mut rig = Rig::load(make(), &weights, exact_plan(&program, 5, BLOCK_SIZE))
        .map_err(|error| format!("{name}: {error}"))?;
    let mut worst = 0.0_f32;
    for row in rows {
        for chunk in [row.tokens.len(), 3, 1] {
            let got = rig
                .run_alone(&row.tokens, &table, chunk)
                .map_err(|error| error.to_string())?;
            for (position, (expected, got)) in row.logits.iter().zip(&got).enumerate() {
                let distance = distance(expected, got);
                worst = worst.max(distance);
                if distance.is_nan() || distance > TOLERANCE {
                    return Err(format!(
                        "{name}: chunk {chunk}, position {position}: {distance:e}"
                    ));
                }
            }
        }
        let mut known = row.tokens.clone();
        let mut last = row.logits.last().expect("a prompt").clone();
        for &expected in &row.greedy {
            let token = greedy(&last);
            if token != expected {
                return Err(format!(
                    "{name}: greedy {token} at {}, not {expected}",
                    known.len()
                ));
            }
            known.push(token);
            let piece = Piece {
                tokens: &known,
                table: &table,
                from: known.len() - 1,
                to: known.len(),
                is_read_only: false,
            };
            last = rig
                .step(&[piece])
                .map_err(|error| error.to_string())?
                .remove(0)
                .remove(0);
        }
    }
    Ok(worst)
}

fn check_all(name: &str, make: Make) {
    let Some(folder) = path_of("TOKENMILL_TINY_DIR") else {
        return;
    };
    let mut failures = Vec::new();
    let mut files = 0;
    let mut worst = 0.0_f32;
    for case in std::fs::read_dir(&folder).expect("a folder") {
        let case = case.expect("an entry").path();
        let rows = expected(&case);
        for file in [case.join("model"), case.join("model.gguf")] {
            if file.exists() {
                files += 1;
                match check_file(make, &file, &rows) {
                    Ok(distance) => worst = worst.max(distance),
                    Err(failure) => failures.push(failure),
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        files >= 16,
        "{} holds {files} checkpoints",
        folder.display()
    );
    say(&format!(
        "{name}: {files} checkpoints, largest distance {worst:e}"
    ));
}

#[test]
fn reference_gives_the_logits_and_tokens_of_transformers() {
    check_all("reference", reference);
}

#[test]
fn cpu_gives_the_logits_and_tokens_of_transformers() {
    check_all("cpu", cpu);
}

/// The chat prompt "What is the capital of France?" of the default model, its template's system message
/// included.
const FRANCE: [TokenId; 37] = [
    1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407,
    19712, 8182, 2, 198, 1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531,
    198,
];
/// Greedy continuation and largest logits of the last prompt row, from transformers in float32.
const FRANCE_GREEDY: [TokenId; 8] = [504, 3575, 282, 4649, 314, 7042, 30, 2];
const FRANCE_LOGITS: [(usize, f32); 3] = [(504, 25.325), (60, 25.243), (15319, 24.942)];

/// Where a load and a look beforehand differ, of what both can know.
fn foretold_wrongly(file: &Path, options: &EngineOptions) -> Result<(), String> {
    let told = inspect(file, options).map_err(|error| format!("info: {error}"));
    let held = load(file, options).map_err(|error| format!("info: {error}"));
    let (told, held) = match (told, held) {
        (Err(told), Err(held)) if told == held => return Ok(()),
        (told, held) => (told?, held?.1),
    };
    let held = held.entries();
    for (name, value) in told.entries() {
        let found = held.iter().find(|(held, _)| held == name);
        // The chat template may add its own notes.
        if *name != "notes" && found.map(|(_, value)| value) != Some(value) {
            return Err(format!("{name}: told {value}, held {found:?}"));
        }
    }
    Ok(())
}

#[test]
fn info_tells_before_a_load_what_the_load_then_holds() {
    let Some(folder) = path_of("TOKENMILL_TINY_DIR") else {
        return;
    };
    let cases = std::fs::read_dir(&folder).expect("a folder");
    let files: Vec<PathBuf> = cases
        .flat_map(|case| {
            ["model", "model.gguf"].map(|file| case.as_ref().expect("a case").path().join(file))
        })
        .filter(|file| file.exists())
        .collect();
    assert!(files.len() >= 16, "{files:?}");
    let float32 = EngineOptions {
        dtype: DtypeChoice::Float32,
        activations: ActivationsChoice::Exact,
        kv_cache_memory_bytes: Some(1 << 22),
        ..EngineOptions::default()
    };
    let auto = EngineOptions {
        dtype: DtypeChoice::Auto,
        activations: ActivationsChoice::Auto,
        ..float32.clone()
    };
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|file| [(file, &auto), (file, &float32)])
        .filter_map(|(file, options)| {
            let problem = foretold_wrongly(file, options).err()?;
            Some(format!("{}: {problem}", file.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check_default_model(make: Make) {
    let Some(file) = path_of("TOKENMILL_TEST_GGUF") else {
        return;
    };
    let checkpoint = Checkpoint::open(&file).expect("the default model");
    let program = build(&checkpoint).expect("a llama");
    let weights = Weights::new(&program, &checkpoint).expect("all of its weights");
    let mut rig = Rig::load(make(), &weights, exact_plan(&program, 4, BLOCK_SIZE)).expect("loads");
    let table = blocks(0, 4);
    let mut known = FRANCE.to_vec();
    let mut last = rig
        .run_alone(&known, &table, 64)
        .expect("runs")
        .pop()
        .expect("a row");
    for (token, logit) in FRANCE_LOGITS {
        let got = last[token];
        assert!(
            (got - logit).abs() < 1e-3,
            "token {token}: {got}, expected {logit}"
        );
    }
    for expected in FRANCE_GREEDY {
        let token = greedy(&last);
        assert_eq!(token, expected, "after {known:?}");
        known.push(token);
        let chunk = known.len() - 1;
        let piece = Piece {
            tokens: &known,
            table: &table,
            from: chunk,
            to: known.len(),
            is_read_only: false,
        };
        last = rig.step(&[piece]).expect("runs").remove(0).remove(0);
    }
}

#[test]
fn reference_answers_the_france_prompt_as_transformers_does() {
    check_default_model(reference);
}

#[test]
fn cpu_answers_the_france_prompt_as_transformers_does() {
    check_default_model(cpu);
}
