//! A row's logits are the same bits whatever runs beside it and however the sequence is cut: chunk, block
//! size, threads, company; and in exact arithmetic also at every level.

use tokenmill_formats::Encoding;
use tokenmill_model::{Activations, ComputeDtype, KvFormat, Program};

use super::programs::{Recipe, Source};
use super::runner::{Schedule, sequences};
use crate::isa::Level;

fn assert_same(one: &[Vec<Vec<f32>>], other: &[Vec<Vec<f32>>], what: &str) {
    for (sequence, (one, other)) in one.iter().zip(other).enumerate() {
        assert_eq!(one.len(), other.len());
        for (row, (one, other)) in one.iter().zip(other).enumerate() {
            let is_same = one
                .iter()
                .zip(other)
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(is_same, "{what}: row {row} of sequence {sequence}");
        }
    }
}

/// Every schedule of interest around `base`, against one chunk on one thread, alone.
fn check(name: &str, program: &Program, source: &Source, base: &Schedule, lengths: &[usize]) {
    let tokens = sequences(program.shape.vocab_len, lengths);
    let alone = base.run(program, source, &tokens);
    let schedules = [
        // threads, block size, chunk, together
        (1, 16, 1, false),
        (2, 32, 1, true),
        (3, 64, 2, true),
        (2, 16, 4, false),
        (2, 32, 5, true),
        (3, 16, 7, false),
        (1, 64, 16, true),
        (2, 16, 17, true),
        (2, 64, 1_000, true),
    ];
    for (threads, block_size, chunk, is_together) in schedules {
        let schedule = Schedule {
            threads,
            block_size,
            chunk,
            is_together,
            ..base.clone()
        };
        let got = schedule.run(program, source, &tokens);
        assert_same(&alone, &got, &format!("{name}, {schedule:?}"));
    }
}

#[test]
fn rows_depend_on_their_prefix_alone_in_exact_arithmetic() {
    for (name, recipe) in Recipe::all() {
        let (program, source) = recipe.build();
        check(name, &program, &source, &Schedule::exact(), &[41, 18, 33]);
    }
}

#[test]
fn rows_depend_on_their_prefix_alone_in_every_format_at_every_level() {
    for encoding in [
        Encoding::F32,
        Encoding::Bf16,
        Encoding::Q8_0,
        Encoding::Q4_0,
        Encoding::Q4_1,
    ] {
        for (level, experts) in
            Level::available().flat_map(|level| [(level, None), (level, Some((5, 2, true)))])
        {
            let (program, source) = Recipe {
                encoding,
                other_encoding: encoding,
                experts,
                ..Recipe::llama()
            }
            .build();
            let kv_format = if level > Level::Avx2 {
                KvFormat::Bf16
            } else {
                KvFormat::F32
            };
            let (dtype, activations) = (ComputeDtype::Auto, Activations::Auto);
            let base = Schedule {
                level,
                kv_format,
                dtype,
                activations,
                ..Schedule::exact()
            };
            check(
                &format!("{encoding} at {level}, experts {experts:?}"),
                &program,
                &source,
                &base,
                &[41, 18],
            );
        }
    }
}

#[test]
fn experts_of_many_rows_give_the_same_bits_as_of_few() {
    for (encoding, activations) in [
        (Encoding::F32, Activations::Exact),
        (Encoding::Q8_0, Activations::Int8),
    ] {
        let (program, source) = Recipe {
            experts: Some((3, 2, true)),
            encoding,
            other_encoding: encoding,
            layers: 1,
            ..Recipe::llama()
        }
        .build();
        let base = Schedule {
            activations,
            ..Schedule::exact()
        };
        check("many rows", &program, &source, &base, &[390]);
    }
}

#[test]
fn every_chunk_length_up_to_a_block_and_one_gives_the_same_bits() {
    let (program, source) = Recipe::llama().build();
    let tokens = sequences(program.shape.vocab_len, &[37]);
    let alone = Schedule::exact().run(&program, &source, &tokens);
    for chunk in 1..=17 {
        let got = Schedule {
            chunk,
            ..Schedule::exact()
        }
        .run(&program, &source, &tokens);
        assert_same(&alone, &got, &format!("chunks of {chunk}"));
    }
}

#[test]
fn long_contexts_are_the_same_in_parts_and_whole() {
    for kv_format in [KvFormat::F32, KvFormat::Bf16] {
        let (program, source) = Recipe {
            window: Some(300),
            ..Recipe::llama()
        }
        .build();
        let base = Schedule {
            kv_format,
            ..Schedule::exact()
        };
        let tokens = sequences(program.shape.vocab_len, &[620, 530]);
        let alone = base.run(&program, &source, &tokens);
        for (threads, chunk, is_together) in [
            (1, 1, false),
            (2, 1, false),
            (3, 3, true),
            (2, 250, true),
            (2, 17, false),
        ] {
            let schedule = Schedule {
                threads,
                chunk,
                is_together,
                block_size: 32,
                ..base.clone()
            };
            assert_same(
                &alone,
                &schedule.run(&program, &source, &tokens),
                &format!("{schedule:?}"),
            );
        }
    }
}
