//! What choosing a token costs, beside one plain pass over the same row. One row in cache, one thread; the
//! engine samples rows one after another. Rows are normal with a spread of 2.5: like a model's, but with a
//! fatter tail, so that more noise must be looked at than on most real rows.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tokenmill_core::noise::{Noise, Purpose};
use tokenmill_core::{Beams, SamplingParams};
use tokenmill_decode::{BeamSearch, Sampler, Scratch, Vocabulary};

mod rows;

use rows::{VOCAB_LENS, plain_pass, row};

fn cases() -> Vec<(&'static str, SamplingParams)> {
    let params = SamplingParams::default;
    vec![
        (
            "greedy",
            SamplingParams {
                temperature: 0.0,
                ..params()
            },
        ),
        (
            "temperature",
            SamplingParams {
                temperature: 0.8,
                ..params()
            },
        ),
        (
            "top_k+top_p",
            SamplingParams {
                temperature: 0.8,
                top_k: 50,
                top_p: 0.95,
                ..params()
            },
        ),
        (
            "top_p",
            SamplingParams {
                temperature: 0.8,
                top_p: 0.95,
                ..params()
            },
        ),
        (
            "min_p",
            SamplingParams {
                temperature: 0.8,
                min_p: 0.05,
                ..params()
            },
        ),
        (
            "penalties",
            SamplingParams {
                temperature: 0.0,
                repetition_penalty: 1.1,
                frequency_penalty: 0.2,
                presence_penalty: 0.1,
                no_repeat_ngram_size: 4,
                ..params()
            },
        ),
        (
            "logprobs",
            SamplingParams {
                temperature: 0.0,
                logprobs: Some(5),
                ..params()
            },
        ),
    ]
}

fn sampler(criterion: &mut Criterion) {
    for len in VOCAB_LENS {
        let row = row(len);
        // A conversation of 1,000 tokens, about 700 of them distinct.
        let noise = Noise::new(2, 0, 0, Purpose::Private);
        let prefix: Vec<u32> = (0..1_000)
            .map(|index| (noise.word(index) % 1_200) * 37)
            .collect();
        let vocabulary = Vocabulary::new(len, vec![2]).expect("a vocabulary");
        let mut group = criterion.benchmark_group("sampler");
        group.bench_function(BenchmarkId::new("plain pass", len), |bench| {
            bench.iter(|| plain_pass(black_box(&row)));
        });
        for (name, params) in cases() {
            let (prompt, output) = prefix.split_at(500);
            let mut sampler = Sampler::new(
                &std::sync::Arc::new(params.clone()),
                7,
                0,
                &vocabulary,
                prompt,
            )
            .expect("a sampler");
            for &token in output {
                sampler.advance(token);
            }
            let mut scratch = Scratch::new();
            group.bench_function(BenchmarkId::new(name, len), |bench| {
                bench.iter(|| {
                    sampler
                        .sample(black_box(&row), &mut scratch)
                        .expect("a token")
                });
            });
        }
        group.finish();
    }
}

/// What a step of four beams costs, drawn and not: their rows, the candidates, the choice among them. A search is
/// copied for every step, since a step changes it; that is part of the figure.
fn beams(criterion: &mut Criterion) {
    for len in VOCAB_LENS {
        let row = row(len);
        let rows: Vec<Vec<f32>> = (0..4)
            .map(|beam| row[beam..].iter().chain(&row[..beam]).copied().collect())
            .collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let vocabulary = Vocabulary::new(len, vec![2]).expect("a vocabulary");
        let mut group = criterion.benchmark_group("beams");
        for (name, temperature, repetition_penalty) in [
            ("4 beams", 0.0, 1.0),
            ("4 beams, penalty", 0.0, 1.1),
            ("4 beams, drawn", 0.8, 1.0),
        ] {
            let params = std::sync::Arc::new(SamplingParams {
                temperature,
                repetition_penalty,
                beams: Beams {
                    width: Some(4),
                    ..Beams::default()
                },
                ..SamplingParams::default()
            });
            let prompt: Vec<u32> = (0..500).map(|index| index * 37).collect();
            let mut search =
                BeamSearch::new(&params, 7, &vocabulary, &prompt, 1_000).expect("a search");
            let mut scratch = Scratch::new();
            let step = |search: &mut BeamSearch, rows: &[&[f32]], scratch: &mut Scratch| {
                let candidates = search.candidates(rows, scratch).expect("candidates");
                let stopped = vec![false; candidates.len()];
                search.select(&stopped).expect("one group")
            };
            step(&mut search, &rows[..1], &mut scratch);
            group.bench_function(BenchmarkId::new(name, len), |bench| {
                bench.iter(|| step(&mut search.clone(), black_box(&rows), &mut scratch));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, sampler, beams);
criterion_main!(benches);
