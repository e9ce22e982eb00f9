//! One suite for every backend: the contract of `Backend`, group by group, against the reference; the
//! reference itself against a brute-force evaluation in float64; and for each group a backend that breaks
//! it, which the group must find. A new backend is one more subject.

mod company;
mod driver;
mod groups;
mod hidden;
mod liar;
mod naive;
mod pen;
mod programs;
mod random;
mod sketch;
mod subject;

use tokenmill_cpu::{CpuBackend, Level};
use tokenmill_formats::Encoding;
use tokenmill_model::{Activations, ComputeDtype, KvFormat, Weights};
use tokenmill_reference::ReferenceBackend;

use company::{company, company_sketches};
use groups::GROUPS;
use liar::{Liar, Lie};
use programs::{all_operations, weight_formats};
use random::Random;
use sketch::{Sketch, VOCAB};
use subject::{Outcome, Subject, truth};

fn reference() -> Subject {
    Subject {
        tolerance: 5e-6,
        bf16_tolerance: 5e-6,
        ..Subject::exact("reference", || Box::new(ReferenceBackend::new()))
    }
}

/// The cpu backend at a level, in float32 throughout.
fn cpu(level: Level) -> Subject {
    let name = format!("cpu {}", level.name());
    Subject::exact(&name, move || Box::new(CpuBackend::with_level(level)))
}

/// The subject's groups, those it refuses included.
fn check(subject: &Subject) {
    let mut failures = Vec::new();
    for (name, group) in GROUPS {
        let outcome = group(subject);
        let is_refusal = outcome
            .as_ref()
            .is_err_and(|text| text.contains("is not supported by"));
        match outcome {
            Err(_) if is_refusal && subject.refuses.contains(&name) => {}
            Ok(()) if subject.refuses.contains(&name) => {
                failures.push(format!("{name}: is said to be refused, but passes"));
            }
            Ok(()) => {}
            Err(failure) => failures.push(format!("{name}: {failure}")),
        }
    }
    assert!(
        failures.is_empty(),
        "{}:\n{}",
        subject.name,
        failures.join("\n")
    );
}

fn check_company(subject: &Subject) {
    for sketch in company_sketches() {
        for kv_format in [KvFormat::F32, KvFormat::Bf16] {
            let outcome = company(subject, &sketch, kv_format)
                .and_then(|()| hidden::company(subject, &sketch, kv_format));
            let encoding = sketch.encoding;
            assert_eq!(
                outcome,
                Ok(()),
                "{}, {encoding}, {kv_format:?}",
                subject.name
            );
        }
    }
}

#[test]
fn the_reference_equals_a_brute_force_evaluation_in_float64() {
    let tokens = Random::new(20).tokens(30, VOCAB);
    for (index, tiny) in all_operations().iter().enumerate() {
        let weights = Weights::new(&tiny.program, &tiny.checkpoint).expect("its own weights");
        let naive = naive::logits(&weights, &tokens);
        let reference = truth(tiny, &tokens, KvFormat::F32);
        for (position, (naive, reference)) in naive.iter().zip(&reference).enumerate() {
            let naive: Vec<f32> = naive.iter().map(|&x| x as f32).collect();
            let distance = driver::distance(&naive, reference);
            assert!(
                distance < 5e-6,
                "program {index}, position {position}: {distance:e}"
            );
        }
    }
}

#[test]
fn the_references_hidden_states_and_early_logits_equal_float64() {
    assert_eq!(hidden::reference_equals_float64(), Ok(()));
}

#[test]
fn the_reference_passes_every_group() {
    check(&reference());
}

#[test]
fn the_reference_gives_a_row_the_same_bits_in_any_company() {
    check_company(&reference());
}

#[test]
fn the_cpu_backend_passes_every_group_at_every_level() {
    Level::available().for_each(|level| check(&cpu(level)));
}

#[test]
fn the_cpu_backend_gives_a_row_the_same_bits_in_any_company() {
    for level in Level::available() {
        check_company(&cpu(level));
        check_company(&Subject {
            activations: Activations::Int8,
            ..cpu(level)
        });
        check_company(&Subject {
            dtype: ComputeDtype::Bfloat16,
            activations: Activations::Auto,
            ..cpu(level)
        });
    }
}

#[test]
fn rounded_arithmetic_of_the_cpu_backend_stays_near_the_reference() {
    for level in Level::available() {
        for (dtype, activations) in [
            (ComputeDtype::Float32, Activations::Int8),
            (ComputeDtype::Bfloat16, Activations::Auto),
        ] {
            let rounded = Subject {
                dtype,
                activations,
                tolerance: 0.1,
                ..cpu(level)
            };
            let outcome = weight_formats(&rounded);
            assert_eq!(
                outcome,
                Ok(()),
                "{}, {dtype:?}, {activations:?}",
                rounded.name
            );
        }
    }
}

#[test]
fn case_90_weights_that_are_not_finite_are_refused_at_load_naming_the_tensor() {
    let level = Level::available().last().expect("a level");
    for subject in [reference(), cpu(level)] {
        for encoding in [
            Encoding::F32,
            Encoding::F16,
            Encoding::Bf16,
            Encoding::Q8_0,
            Encoding::Q4K,
        ] {
            let sketch = Sketch {
                encoding,
                hidden: 256,
                heads: 4,
                head_dim: 64,
                inner: 256,
                layers: 1,
                ..Sketch::default()
            };
            let count = sketch.draw().program.weights.len();
            for bad in 0..count {
                // Not a number in every encoding: blocks begin with their scale.
                let poison = |index: usize, bytes: &mut [u8]| {
                    if index == bad {
                        let last = bytes.len() - 4;
                        let at = if encoding.is_quantised() { 0 } else { last };
                        bytes[at..at + 4].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0x7F]);
                    }
                };
                let outcome = subject.load(&sketch.draw_with(poison), 1);
                let error = outcome.err().expect("refused");
                assert_eq!(error, format!("w{bad} holds numbers that are not finite"));
            }
        }
    }
}

#[test]
fn every_group_finds_the_backend_that_breaks_it() {
    let lies = [
        ("prefill", Lie::RepeatsToken),
        ("chunked prefill", Lie::LosesFirstBlock),
        ("decode", Lie::ForgetsDecoded),
        ("mixed batch", Lie::SharesTables),
        ("forked tables", Lie::ForgetsCopies),
        ("moved slots", Lie::KeepsOffsets),
        ("read-only rows", Lie::WritesReadOnly),
        ("windows", Lie::WidensWindow),
        ("soft caps", Lie::DropsCaps),
        ("norms", Lie::SimplifiesNorms),
        ("layouts of layers", Lie::SimplifiesLayers),
        ("experts", Lie::UsesOneExpert),
        ("weight formats", Lie::SwapsGateAndUp),
        ("bf16 cache", Lie::SharpensAttention),
        ("hidden states", Lie::GivesOtherStates),
        ("early layers", Lie::LeavesLate),
    ];
    assert_eq!(lies.map(|(name, _)| name), GROUPS.map(|(name, _)| name));
    for ((name, group), (_, lie)) in GROUPS.iter().zip(lies) {
        let outcome = group(&liar(lie));
        assert!(outcome.is_err(), "{name} does not find {lie:?}");
    }
    for company in [company, hidden::company] {
        let outcome: Outcome = company(&liar(Lie::MindsCompany), &Sketch::default(), KvFormat::F32);
        let lie = Lie::MindsCompany;
        assert!(outcome.is_err(), "company does not find {lie:?}");
    }
}

fn liar(lie: Lie) -> Subject {
    Subject::exact("liar", move || Box::new(Liar::new(lie)))
}
