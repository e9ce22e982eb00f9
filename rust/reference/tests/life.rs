//! The life of the reference backend: what it refuses at load, in a step, in a copy and after its end. What
//! it computes is held by the conformance suite.

use tokenmill_core::{BlockId, HasKind, Kind};
use tokenmill_formats::{Checkpoint, Config, Encoding};
use tokenmill_model::{
    Activations, Affine, Backend, BlockCopy, ComputeDtype, Embed, Error, KvFormat, Logits,
    MemoryPlan, ModelShape, Op, Program, Reg, RowOrder, Span, StepBatch, Ticket, WeightId,
    WeightSpec, Weights,
};
use tokenmill_reference::ReferenceBackend;

/// A model without layers: the logits of a token are the products of its embedding with all others.
fn program() -> Program {
    Program {
        architecture: "test",
        shape: ModelShape {
            vocab_len: 3,
            hidden: 2,
            context_len: 16,
            kv: Vec::new(),
        },
        regs: vec![2],
        weights: vec![WeightSpec {
            name: "w".to_owned(),
            shape: vec![3, 2],
            rows: None,
            order: RowOrder::Plain,
            is_transposed: false,
        }],
        ropes: Vec::new(),
        ops: vec![
            Op::Embed(Embed {
                table: WeightId(0),
                positions: None,
                position_offset: 0,
                scale: 1.0,
                out: Reg(0),
            }),
            Op::Logits(Logits {
                head: Affine {
                    weight: WeightId(0),
                    bias: None,
                },
                scale: 1.0,
                soft_cap: None,
                input: Reg(0),
            }),
        ],
    }
}

fn checkpoint(elements: [f32; 6]) -> Checkpoint {
    let config = Config::Json {
        config: serde_json::Map::new(),
        generation: None,
    };
    let bytes = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensor = ("w".to_owned(), Encoding::F32, vec![3, 2], bytes);
    Checkpoint::from_memory(config, vec![tensor]).expect("headers agree")
}

fn plan() -> MemoryPlan {
    MemoryPlan {
        blocks: 2,
        block_size: 8,
        rows_max: 4,
        logits_rows_max: 4,
        exit_rows_max: 8,
        context_len: 16,
        kv_format: KvFormat::F32,
        dtype: ComputeDtype::Auto,
        activations: Activations::Auto,
        threads: 1,
        op_times: None,
    }
}

fn load(elements: [f32; 6], plan: &MemoryPlan) -> Result<ReferenceBackend, Error> {
    let (program, checkpoint) = (program(), checkpoint(elements));
    let weights = Weights::new(&program, &checkpoint).expect("all there");
    let mut backend = ReferenceBackend::new();
    backend.load(&program, &weights, plan).map(|()| backend)
}

fn batch(token: u32) -> StepBatch {
    StepBatch {
        tokens: vec![token],
        positions: vec![0],
        slots: vec![0],
        spans: vec![Span {
            row: 0,
            rows: 1,
            table: 0,
            table_len: 1,
            scope: 0,
        }],
        tables: vec![BlockId(0)],
        logits_rows: vec![0],
        ..StepBatch::default()
    }
}

const ELEMENTS: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

#[test]
fn logits_are_those_of_the_last_step_only() {
    let mut backend = load(ELEMENTS, &plan()).expect("loads");
    let first = backend.run(&batch(0)).expect("runs");
    assert_eq!(
        backend.logits(first, 0).expect("is there"),
        [5.0, 11.0, 17.0]
    );
    assert!(backend.logits(first, 1).is_err());
    let second = backend.run(&batch(1)).expect("runs");
    assert_eq!(
        backend.logits(second, 0).expect("is there"),
        [11.0, 25.0, 39.0]
    );
    assert!(backend.logits(first, 0).is_err());
}

#[test]
fn arithmetic_that_it_does_not_do_is_refused_at_load() {
    let bf16 = MemoryPlan {
        dtype: ComputeDtype::Bfloat16,
        ..plan()
    };
    let int8 = MemoryPlan {
        activations: Activations::Int8,
        ..plan()
    };
    for (plan, words) in [(bf16, "dtype bfloat16"), (int8, "activations int8")] {
        let error = load(ELEMENTS, &plan).expect_err(words);
        assert_eq!(error.kind(), Kind::Unsupported);
        assert_eq!(
            error.to_string(),
            format!("{words} is not supported by reference")
        );
    }
}

#[test]
fn logits_that_are_not_numbers_are_an_error() {
    let mut backend = load([f32::MAX; 6], &plan()).expect("loads");
    let ticket = backend.run(&batch(0)).expect("runs");
    assert!(matches!(backend.logits(ticket, 0), Err(Error::NotFinite)));
}

#[test]
fn case_90_weights_that_are_not_numbers_are_refused_at_load() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut elements = ELEMENTS;
        elements[5] = bad;
        let error = load(elements, &plan()).expect_err("not finite");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("not finite"), "{error}");
    }
}

#[test]
fn a_batch_or_a_copy_out_of_range_is_an_error_and_nothing_else() {
    let mut backend = load(ELEMENTS, &plan()).expect("loads");
    assert_eq!(
        backend.run(&batch(3)).expect_err("no such token").kind(),
        Kind::Internal
    );
    let copy = |to: u32, to_slot: u32| BlockCopy {
        from: BlockId(0),
        to: BlockId(to),
        from_slot: 0,
        to_slot,
        len: 8,
    };
    for copy in [copy(2, 0), copy(1, 1), copy(1, u32::MAX)] {
        assert_eq!(
            backend.copy_blocks(&[copy]).expect_err("leaves").kind(),
            Kind::Internal
        );
    }
    backend.copy_blocks(&[copy(1, 0)]).expect("inside");
    backend.run(&batch(0)).expect("still runs");
}

#[test]
fn before_load_after_close_and_twice_are_errors() {
    let mut backend = ReferenceBackend::new();
    assert!(backend.run(&batch(0)).is_err());
    assert!(backend.logits(Ticket(0), 0).is_err());
    let mut backend = load(ELEMENTS, &plan()).expect("loads");
    let (program, checkpoint) = (program(), checkpoint(ELEMENTS));
    let weights = Weights::new(&program, &checkpoint).expect("all there");
    assert!(backend.load(&program, &weights, &plan()).is_err());
    backend.close();
    assert!(backend.run(&batch(0)).is_err());
    assert!(backend.copy_blocks(&[]).is_err());
}
