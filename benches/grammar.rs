//! What a structured output costs: compiling what was asked, once a request; the mask and the step behind a token, for
//! every token; and choosing from a masked row. One thread, a made-up vocabulary as large as SmolLM2's.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokenmill_core::{Limits, OutputConstraint, SamplingParams, StructuredOutputs};
use tokenmill_decode::source::Mixed;
use tokenmill_decode::{Sampler, Scratch, Vocabulary};
use tokenmill_text::{GgufVocabulary, Grammars, Tokenizer};

const VOCAB_LEN: usize = 49_152;
const EOS: u32 = 0;

/// A document of the schema below.
const DOCUMENT: &str =
    r#"{"name": "Ada Lovelace", "age": 36, "tags": ["poet", "analyst"], "ok": true}"#;

const SCHEMA: &str = r#"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"},
    "tags": {"type": "array", "items": {"type": "string"}}, "ok": {"type": "boolean"}},
    "required": ["name", "age", "tags", "ok"], "additionalProperties": false}"#;

/// The end, every printable character, marks of JSON together, then words of two to four letters with a blank or not.
fn tokens() -> Vec<String> {
    let mut tokens = vec!["<|end|>".to_owned()];
    tokens.extend(('!'..='~').map(String::from));
    tokens.push("Ġ".into());
    let marks = [
        "{\"", "\":", "\",", "[\"", "\"]", "},", "\"}", "Ġ\"", "Ġ{", "Ġ[", "],", "ĠĠ",
    ];
    tokens.extend(marks.map(String::from));
    let letters = || ('a'..='z').map(String::from);
    let mut words: Vec<String> = letters().collect();
    while tokens.len() < VOCAB_LEN {
        words = words
            .iter()
            .flat_map(|word| letters().map(move |letter| format!("{word}{letter}")))
            .collect();
        let both = words
            .iter()
            .flat_map(|word| [word.clone(), format!("Ġ{word}")]);
        tokens.extend(both);
    }
    tokens.truncate(VOCAB_LEN);
    tokens
}

fn grammars(cache_len_max: usize) -> (Grammars, Vec<String>) {
    let tokens = tokens();
    let mut token_types = vec![1; VOCAB_LEN];
    token_types[EOS as usize] = 3;
    let tokenizer = Tokenizer::from_gguf(GgufVocabulary {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens: tokens.clone(),
        token_types,
        eos: Some(EOS),
        ..GgufVocabulary::default()
    });
    let limits = Limits {
        grammar_cache_len_max: cache_len_max,
        grammar_compile_max_ms: 60_000,
        ..Limits::default()
    };
    let tokenizer = Arc::new(tokenizer.expect("a tokenizer"));
    let grammars = Grammars::new(tokenizer, VOCAB_LEN, vec![EOS], &limits);
    (grammars, tokens)
}

fn asked() -> [(&'static str, StructuredOutputs, &'static str); 3] {
    let json = |text: &str| StructuredOutputs::from(OutputConstraint::Json(text.into()));
    let regex = OutputConstraint::Regex("[a-zA-Z ,.]{20,80}".into());
    [
        ("schema", json(SCHEMA), DOCUMENT),
        ("any json", json("{}"), DOCUMENT),
        (
            "regex",
            regex.into(),
            "the sea is wide, and the wind is in the water",
        ),
    ]
}

/// The longest tokens that spell a text, one after another.
fn spelled(tokens: &[String], text: &str) -> Vec<u32> {
    let text = text.replace(' ', "Ġ");
    let mut ids = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let fits = tokens.iter().enumerate().skip(1);
        let fits = fits.filter(|(_, token)| rest.starts_with(token.as_str()));
        let (id, token) = fits.max_by_key(|(_, token)| token.len()).expect("a token");
        ids.push(id as u32);
        rest = &rest[token.len()..];
    }
    ids
}

fn compiling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("grammar: compile");
    for (name, asked, _) in asked() {
        // Nothing is kept, so that each call compiles.
        let (grammars, _) = grammars(0);
        grammars.compile(&asked).expect("it compiles");
        group.bench_function(name, |bencher| {
            bencher.iter(|| grammars.compile(black_box(&asked)).expect("it compiles"));
        });
    }
    group.finish();
}

fn masks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("grammar: mask and step, a token");
    let (grammars, tokens) = grammars(64);
    for (name, asked, text) in asked() {
        let grammar = grammars.compile(&asked).expect("it compiles");
        let ids = spelled(&tokens, text);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                let mut left = count;
                while left > 0 {
                    let mut matcher = grammar.matcher();
                    let begun = Instant::now();
                    for &id in ids.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                        black_box(matcher.mask().expect("a mask"));
                        matcher.advance(id);
                        left -= 1;
                    }
                    spent += begun.elapsed();
                }
                spent
            });
        });
    }
    group.bench_function("a new matcher", |bencher| {
        let [(_, asked, _), ..] = asked();
        let grammar = grammars.compile(&asked).expect("it compiles");
        bencher.iter_batched(|| (), |()| grammar.matcher(), BatchSize::SmallInput);
    });
    group.finish();
}

fn choosing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("grammar: choose from a row");
    let row: Vec<f32> = (0..VOCAB_LEN)
        .map(|token| ((token * 7919) % 1000) as f32 / 100.0 - 5.0)
        .collect();
    let vocabulary = Vocabulary::new(VOCAB_LEN, vec![EOS]).expect("a vocabulary");
    let sampler = |params: SamplingParams| {
        Sampler::new(&Arc::new(params), 1, 0, &vocabulary, &[1]).expect("a sampler")
    };
    let plain = sampler(SamplingParams::default());
    let mut scratch = Scratch::new();
    group.bench_function("free", |bencher| {
        bencher.iter(|| {
            plain
                .sample(black_box(&row), &mut scratch)
                .expect("a token")
        });
    });
    let masked = sampler(SamplingParams {
        structured_outputs: Some(OutputConstraint::JsonObject.into()),
        ..SamplingParams::default()
    });
    let words = VOCAB_LEN.div_ceil(32);
    for (name, mask) in [
        (
            "a few tokens",
            vec![1 << 7; 1]
                .into_iter()
                .chain(vec![0; words - 1])
                .collect(),
        ),
        ("every other token", vec![0x5555_5555_u32; words]),
        (
            "all but one",
            [vec![u32::MAX - 1], vec![u32::MAX; words - 1]].concat(),
        ),
    ] {
        let mask: Vec<u32> = mask;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                masked
                    .sample_mixed(
                        Mixed::plain(black_box(&row)).within(Some(&mask)),
                        &mut scratch,
                    )
                    .expect("a token")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, compiling, masks, choosing);
criterion_main!(benches);
