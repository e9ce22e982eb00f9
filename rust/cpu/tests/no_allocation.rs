//! A step allocates nothing, on any of its threads: counted by the allocator of this process, through the public
//! door. The harness's own thread, which allocates when it likes, is not counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokenmill_core::BlockId;
use tokenmill_cpu::CpuBackend;
use tokenmill_formats::gguf::Metadata;
use tokenmill_formats::{Checkpoint, Config, Encoding};
use tokenmill_model::*;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
/// Whether a thread that allocates for the first time is one of ours.
static IS_OURS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is counted; decided at its first allocation.
    static IS_COUNTED: Cell<Option<bool>> = const { Cell::new(None) };
}

fn count() {
    let is_counted = IS_COUNTED.get().unwrap_or_else(|| {
        let is_ours = IS_OURS.load(Ordering::Relaxed);
        IS_COUNTED.set(Some(is_ours));
        is_ours
    });
    if is_counted {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HIDDEN: usize = 64;
const VOCAB: usize = 96;
const CONTEXT: usize = 1_024;

/// Shapes of the weights of one layer of two heads, in order of id.
const SHAPES: [&[usize]; 14] = [
    &[VOCAB, HIDDEN],
    &[HIDDEN],
    &[HIDDEN, HIDDEN],
    &[32, HIDDEN],
    &[32, HIDDEN],
    &[HIDDEN, HIDDEN],
    &[128, HIDDEN],
    &[128, HIDDEN],
    &[HIDDEN, 128],
    &[VOCAB],
    &[2, HIDDEN],
    &[128, HIDDEN],
    &[128, HIDDEN],
    &[HIDDEN, 128],
];

fn affine(weight: u32) -> Affine {
    Affine {
        weight: WeightId(weight),
        bias: None,
    }
}

fn norm() -> Op {
    Op::Norm(Norm {
        kind: NormKind::Rms,
        weight: WeightId(1),
        bias: None,
        weight_offset: 0.0,
        eps: 1e-5,
        input: Reg(0),
        out: Reg(1),
    })
}

fn mlp([gate, up, down]: [u32; 3]) -> Mlp {
    Mlp {
        gate: Some(affine(gate)),
        up: affine(up),
        down: affine(down),
        activation: Activation::Silu,
        input: Reg(1),
        out: Reg(4),
    }
}

fn ops() -> Vec<Op> {
    let add = |from| {
        Op::Add(Add {
            from,
            to: Reg(0),
            scale: 1.0,
        })
    };
    vec![
        Op::Embed(Embed {
            table: WeightId(0),
            positions: None,
            position_offset: 0,
            scale: 1.0,
            out: Reg(0),
        }),
        Op::Exit(Exit {
            layer: 0,
            input: Reg(0),
        }),
        norm(),
        Op::Qkv(Qkv {
            layer: 0,
            input: Reg(1),
            q: affine(2),
            k: affine(3),
            v: affine(4),
            clip: None,
            q_norm: None,
            k_norm: None,
            rope: Some(0),
            heads: 2,
            out: Reg(2),
        }),
        Op::Attention(Attention {
            layer: 0,
            input: Reg(2),
            heads: 2,
            scale: 0.2,
            soft_cap: None,
            window: None,
            out: Reg(3),
        }),
        Op::Linear(Linear {
            affine: affine(5),
            input: Reg(3),
            out: Reg(4),
        }),
        add(Reg(4)),
        norm(),
        Op::Mlp(mlp([6, 7, 8])),
        add(Reg(4)),
        norm(),
        Op::Moe(Moe {
            router: WeightId(10),
            experts: vec![mlp([6, 7, 8]), mlp([11, 12, 13])],
            active: 1,
            is_renormalised: false,
            input: Reg(1),
            out: Reg(4),
        }),
        add(Reg(4)),
        norm(),
        Op::Logits(Logits {
            head: Affine {
                weight: WeightId(0),
                bias: Some(WeightId(9)),
            },
            scale: 1.0,
            soft_cap: None,
            input: Reg(1),
        }),
    ]
}

fn program() -> Program {
    let spec = |(i, shape): (usize, &&[usize])| WeightSpec {
        name: format!("w{i}"),
        shape: shape.to_vec(),
        rows: None,
        order: RowOrder::Plain,
        is_transposed: false,
    };
    Program {
        architecture: "tiny",
        shape: ModelShape {
            vocab_len: VOCAB,
            hidden: HIDDEN,
            context_len: CONTEXT,
            kv: vec![KvShape {
                heads: 1,
                head_dim: 32,
            }],
        },
        regs: vec![HIDDEN; 5],
        weights: SHAPES.iter().enumerate().map(spec).collect(),
        ropes: vec![Rope {
            inv_freq: vec![0.3; 16],
            attention_factor: 1.0,
            long: None,
        }],
        ops: ops(),
    }
}

/// Matrices in 8-bit blocks, vectors in f32.
fn checkpoint(program: &Program) -> Checkpoint {
    let tensor = |spec: &WeightSpec| {
        let encoding = if spec.shape.len() == 1 {
            Encoding::F32
        } else {
            Encoding::Q8_0
        };
        let len = encoding.tensor_bytes(&spec.shape).unwrap();
        let bytes = match encoding {
            Encoding::F32 => 0.5f32.to_le_bytes().repeat(len / 4),
            // Scale 2^-10 (f16 0x1400), codes around zero.
            _ => (0..len)
                .map(|i| {
                    [0x00, 0x14]
                        .get(i % 34)
                        .copied()
                        .unwrap_or((i * 37 % 255) as u8)
                })
                .collect(),
        };
        (spec.name.clone(), encoding, spec.shape.clone(), bytes)
    };
    let tensors = program.weights.iter().map(tensor).collect();
    Checkpoint::from_memory(Config::Gguf(Metadata::new("memory", 3)), tensors).unwrap()
}

/// The next `rows` rows of a sequence whose blocks lie in order.
fn batch(start: usize, rows: usize) -> StepBatch {
    let positions = start as u32..(start + rows) as u32;
    let blocks = (start + rows).div_ceil(16) as u32;
    StepBatch {
        tokens: positions.clone().map(|p| p * 7 % VOCAB as u32).collect(),
        slots: positions.clone().collect(),
        positions: positions.collect(),
        spans: vec![Span {
            row: 0,
            rows: rows as u32,
            table: 0,
            table_len: blocks,
            scope: 0,
        }],
        tables: (0..blocks).map(BlockId).collect(),
        logits_rows: vec![rows as u32 - 1],
        hidden_rows: vec![0],
        exit_rows: vec![ExitRow {
            row: rows as u32 - 1,
            layer: 0,
        }],
    }
}

#[test]
fn a_step_allocates_nothing() {
    IS_COUNTED.set(Some(true));
    IS_OURS.store(true, Ordering::Relaxed);
    let program = program();
    let checkpoint = checkpoint(&program);
    let weights = Weights::new(&program, &checkpoint).unwrap();
    assert!(
        ALLOCATIONS.load(Ordering::Relaxed) > 0,
        "the counter counts"
    );
    for threads in [1, 2, 3] {
        let mut backend = CpuBackend::new().unwrap();
        let plan = MemoryPlan {
            blocks: CONTEXT / 16,
            block_size: 16,
            rows_max: 512,
            logits_rows_max: 4,
            exit_rows_max: 8,
            context_len: CONTEXT,
            kv_format: KvFormat::Bf16,
            dtype: ComputeDtype::Auto,
            activations: Activations::Auto,
            threads,
            op_times: None,
        };
        backend.load(&program, &weights, &plan).unwrap();
        let mut start = 0;
        // Chunks, single rows over one split and over several.
        for rows in [3, 1, 200, 1, 500, 1, 2, 1] {
            let batch = batch(start, rows);
            start += rows;
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let ticket = backend.run(&batch).unwrap();
            let is_finite = backend
                .logits(ticket, 0)
                .unwrap()
                .iter()
                .all(|x| x.is_finite());
            for what in [Hidden::State(0), Hidden::Exit(0)] {
                assert!(backend.hidden(ticket, what).unwrap()[0].is_finite());
            }
            assert_eq!(
                ALLOCATIONS.load(Ordering::Relaxed) - before,
                0,
                "{rows} rows, {threads} threads"
            );
            assert!(is_finite);
        }
    }
}
