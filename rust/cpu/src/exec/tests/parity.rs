//! Against the oracle: every option of every operation, in exact arithmetic, at every level, in one chunk and
//! token by token.

use tokenmill_formats::Encoding;
use tokenmill_model::{Activations, ComputeDtype, KvFormat, Program};

use super::oracle;
use super::programs::{Recipe, Source};
use super::runner::{Schedule, sequences};
use crate::isa::Level;

/// Largest error, as a share of the range of its row.
fn error(program: &Program, source: &Source, schedule: &Schedule, len: usize) -> f64 {
    let tokens = sequences(program.shape.vocab_len, &[len]);
    let expected = oracle::logits(program, source, &tokens[0]);
    let got = &schedule.run(program, source, &tokens)[0];
    let row_error = |(got, want): (&Vec<f32>, &Vec<f64>)| {
        let range = want.iter().copied().fold(f64::MIN, f64::max)
            - want.iter().copied().fold(f64::MAX, f64::min);
        let worst = got
            .iter()
            .zip(want)
            .map(|(got, want)| (f64::from(*got) - want).abs())
            .fold(0.0, f64::max);
        if got.iter().any(|x| x.is_nan()) {
            f64::NAN
        } else {
            worst / range
        }
    };
    got.iter()
        .zip(&expected)
        .map(row_error)
        .fold(0.0, |a, b| if a > b { a } else { b })
}

#[test]
fn every_option_of_every_operation_equals_the_oracle_at_every_level() {
    for (name, recipe) in Recipe::all() {
        let (program, source) = recipe.build();
        for level in Level::available() {
            for chunk in [1, 1_000] {
                let error = error(
                    &program,
                    &source,
                    &Schedule {
                        level,
                        chunk,
                        ..Schedule::exact()
                    },
                    37,
                );
                assert!(
                    error < 1e-5,
                    "{name} at {level}, chunks of {chunk}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn long_contexts_cross_splits_without_loss() {
    for window in [None, Some(270)] {
        let (program, source) = Recipe {
            window,
            ..Recipe::llama()
        }
        .build();
        let error = error(
            &program,
            &source,
            &Schedule {
                threads: 2,
                chunk: 3,
                ..Schedule::exact()
            },
            600,
        );
        assert!(error < 1e-5, "window {window:?}: {error:e}");
    }
}

#[test]
fn experts_with_more_rows_than_a_unit_holds_lose_nothing() {
    for experts in [(2, 1, true), (3, 3, false)] {
        let (program, source) = Recipe {
            experts: Some(experts),
            layers: 1,
            ..Recipe::llama()
        }
        .build();
        for threads in [1, 3] {
            let schedule = Schedule {
                threads,
                ..Schedule::exact()
            };
            let error = error(&program, &source, &schedule, 500);
            assert!(error < 1e-5, "{experts:?}, {threads} threads: {error:e}");
        }
    }
}

#[test]
fn the_inexact_modes_stay_near() {
    let cases = [
        (
            "bf16 cache",
            Encoding::F32,
            KvFormat::Bf16,
            ComputeDtype::Float32,
            Activations::Exact,
            2e-2,
        ),
        (
            "bf16 weights",
            Encoding::Bf16,
            KvFormat::F32,
            ComputeDtype::Bfloat16,
            Activations::Auto,
            3e-2,
        ),
        (
            "rounded to bf16",
            Encoding::F32,
            KvFormat::F32,
            ComputeDtype::Bfloat16,
            Activations::Auto,
            4e-2,
        ),
        (
            "8-bit",
            Encoding::Q8_0,
            KvFormat::F32,
            ComputeDtype::Auto,
            Activations::Auto,
            6e-2,
        ),
        (
            "4-bit with minima",
            Encoding::Q4_1,
            KvFormat::Bf16,
            ComputeDtype::Auto,
            Activations::Int8,
            6e-2,
        ),
    ];
    for (name, encoding, kv_format, dtype, activations, bound) in cases {
        let (program, source) = Recipe {
            encoding,
            other_encoding: encoding,
            ..Recipe::llama()
        }
        .build();
        for level in Level::available() {
            let schedule = Schedule {
                level,
                kv_format,
                dtype,
                activations,
                ..Schedule::exact()
            };
            let error = error(&program, &source, &schedule, 37);
            assert!(error < bound, "{name} at {level}: {error:e}");
            assert!(
                error > 1e-6,
                "{name} at {level} is suspiciously exact: {error:e}"
            );
        }
    }
}
