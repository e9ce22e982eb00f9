//! The groups that are about what programs may say: windows, caps, norms, layouts of layers, experts and
//! encodings of weights. Each sketch runs whole, in chunks and row by row.

use std::sync::LazyLock;

use tokenmill_core::TokenId;
use tokenmill_formats::Encoding;
use tokenmill_model::{Activation, KvFormat, NormKind};

use crate::driver::blocks;
use crate::groups::tokens;
use crate::sketch::{Feed, QkNorm, Sketch, Tiny};
use crate::subject::{Outcome, Subject, text, truth};

/// Windows smaller and larger than a block, whose ends cross the borders of blocks and of splits.
pub fn windows(subject: &Subject) -> Outcome {
    for (window, len) in [(1, 40), (5, 40), (16, 70), (33, 300), (300, 620)] {
        let sketch = Sketch {
            window: Some(window),
            layers: 1,
            ..Sketch::default()
        };
        let tiny = sketch.draw();
        let known = tokens(window as u64, len);
        let truth = truth(&tiny, &known, KvFormat::F32);
        let count = len.div_ceil(16) as u32;
        for chunk in [64, 1] {
            let mut rig = subject.load(&tiny, count as usize)?;
            let got = rig
                .run_alone(&known, &blocks(0, count), chunk)
                .map_err(text)?;
            subject.compare(&format!("window {window}, chunk {chunk}"), 0, &truth, &got)?;
        }
    }
    Ok(())
}

/// Whole prompt, chunks and decode of one sketch.
fn run_sketch(subject: &Subject, what: &str, sketch: &Sketch) -> Outcome {
    run_chunks(subject, what, &Known::new(sketch, 40), &[40, 7, 1])
}

/// A drawn sketch, a sequence, and its logits by the reference.
struct Known {
    tiny: Tiny,
    tokens: Vec<TokenId>,
    truth: Vec<Vec<f32>>,
}

impl Known {
    fn new(sketch: &Sketch, len: usize) -> Self {
        let (tiny, tokens) = (sketch.draw(), tokens(12, len));
        let truth = truth(&tiny, &tokens, KvFormat::F32);
        Self {
            tiny,
            tokens,
            truth,
        }
    }
}

/// The sequence in chunks of each size.
fn run_chunks(subject: &Subject, what: &str, known: &Known, chunks: &[usize]) -> Outcome {
    let count = known.tokens.len().div_ceil(16) as u32;
    for &chunk in chunks {
        let mut rig = subject.load(&known.tiny, count as usize)?;
        let got = rig
            .run_alone(&known.tokens, &blocks(0, count), chunk)
            .map_err(text)?;
        subject.compare(&format!("{what}, chunk {chunk}"), 0, &known.truth, &got)?;
    }
    Ok(())
}

fn run_sketches(subject: &Subject, sketches: &[(&str, Sketch)]) -> Outcome {
    sketches
        .iter()
        .try_for_each(|(what, sketch)| run_sketch(subject, what, sketch))
}

/// `tanh` on scores, on logits, on both.
pub fn soft_caps(subject: &Subject) -> Outcome {
    let plain = Sketch::default;
    run_sketches(
        subject,
        &[
            (
                "attention cap",
                Sketch {
                    attention_cap: Some(0.7),
                    ..plain()
                },
            ),
            (
                "logits cap",
                Sketch {
                    logits_cap: Some(1.5),
                    ..plain()
                },
            ),
            (
                "both caps",
                Sketch {
                    attention_cap: Some(0.7),
                    logits_cap: Some(2.0),
                    window: Some(9),
                    ..plain()
                },
            ),
        ],
    )
}

/// Norms of rows, of heads and of whole vectors.
pub fn norms(subject: &Subject) -> Outcome {
    let plain = Sketch::default;
    run_sketches(
        subject,
        &[
            (
                "layer norm",
                Sketch {
                    norm: NormKind::Layer,
                    ..plain()
                },
            ),
            (
                "offset 1",
                Sketch {
                    norm_offset: 1.0,
                    ..plain()
                },
            ),
            (
                "head norms",
                Sketch {
                    qk_norm: QkNorm::Heads,
                    ..plain()
                },
            ),
            (
                "head norms with offset",
                Sketch {
                    qk_norm: QkNorm::Heads,
                    norm_offset: 1.0,
                    ..plain()
                },
            ),
            (
                "norm of whole q and k",
                Sketch {
                    qk_norm: QkNorm::Whole,
                    ..plain()
                },
            ),
            (
                "post norms",
                Sketch {
                    has_post_norms: true,
                    ..plain()
                },
            ),
        ],
    )
}

/// What the layers of other architectures are made of.
pub fn layouts(subject: &Subject) -> Outcome {
    let plain = Sketch::default;
    let gpt2 = Sketch {
        norm: NormKind::Layer,
        has_biases: true,
        has_rope: false,
        positions: Some(0),
        kv_heads: 4,
        feed: Feed::Plain(Activation::GeluTanh),
        ..plain()
    };
    run_sketches(
        subject,
        &[
            ("gpt2", gpt2.clone()),
            (
                "opt",
                Sketch {
                    positions: Some(2),
                    feed: Feed::Plain(Activation::Relu),
                    ..gpt2.clone()
                },
            ),
            (
                "exact gelu",
                Sketch {
                    feed: Feed::Gated(Activation::Gelu),
                    ..plain()
                },
            ),
            (
                "gelu by tanh",
                Sketch {
                    feed: Feed::Gated(Activation::GeluTanh),
                    ..plain()
                },
            ),
            (
                "parallel residual",
                Sketch {
                    is_parallel: true,
                    ..plain()
                },
            ),
            (
                "clip behind norms",
                Sketch {
                    clip: Some(0.8),
                    qk_norm: QkNorm::Whole,
                    ..plain()
                },
            ),
            (
                "clip and own head",
                Sketch {
                    clip: Some(0.8),
                    is_tied: false,
                    has_biases: true,
                    ..plain()
                },
            ),
            (
                "scales",
                Sketch {
                    embed_scale: 5.7,
                    residual_scale: 0.4,
                    logits_scale: 0.3,
                    ..plain()
                },
            ),
            (
                "one kv head",
                Sketch {
                    kv_heads: 1,
                    ..plain()
                },
            ),
            (
                "odd sizes",
                Sketch {
                    hidden: 40,
                    heads: 5,
                    kv_heads: 5,
                    head_dim: 6,
                    inner: 37,
                    ..plain()
                },
            ),
            (
                "pruned to one head",
                Sketch {
                    hidden: 24,
                    heads: 1,
                    kv_heads: 1,
                    head_dim: 10,
                    inner: 3,
                    ..plain()
                },
            ),
        ],
    )
}

/// Mixtures of experts, and the order of their sums.
pub fn experts(subject: &Subject) -> Outcome {
    let feed = |experts, active, is_renormalised| Sketch {
        feed: Feed::Experts {
            experts,
            active,
            is_renormalised,
        },
        ..Sketch::default()
    };
    run_sketches(
        subject,
        &[
            ("2 of 5 experts", feed(5, 2, true)),
            ("3 of 4 experts, weights of all", feed(4, 3, false)),
            ("the only expert", feed(1, 1, true)),
        ],
    )
}

/// Every encoding that a weight may have, in one step of more rows than any unit holds, in steps of about
/// half that, and in small ones: the last of 3 is a single row.
pub fn weight_formats(subject: &Subject) -> Outcome {
    static MODELS: LazyLock<Vec<(Encoding, Known)>> = LazyLock::new(|| {
        let encodings = Encoding::ALL
            .into_iter()
            .filter(|encoding| is_weight(*encoding));
        encodings
            .map(|encoding| (encoding, Known::new(&all_of(encoding), 130)))
            .collect()
    });
    MODELS.iter().try_for_each(|(encoding, known)| {
        run_chunks(subject, encoding.name(), known, &[130, 65, 7, 3])
    })
}

fn is_weight(encoding: Encoding) -> bool {
    match encoding {
        Encoding::F32 | Encoding::F16 | Encoding::Bf16 => true,
        // Its tensor has a scale of its own beside it, which is not read yet.
        Encoding::Nvfp4 => false,
        other => other.is_quantised(),
    }
}

/// A layer whose matrices are all of one encoding; rows are whole blocks of any.
fn all_of(encoding: Encoding) -> Sketch {
    Sketch {
        encoding,
        layers: 1,
        hidden: 256,
        heads: 4,
        head_dim: 64,
        inner: 256,
        is_tied: encoding != Encoding::Q4K,
        ..Sketch::default()
    }
}

/// The tiny models of sketches that every operation appears in.
pub fn all_operations() -> Vec<Tiny> {
    let feed = Feed::Experts {
        experts: 4,
        active: 2,
        is_renormalised: false,
    };
    let sketches = [
        Sketch::default(),
        Sketch {
            window: Some(9),
            attention_cap: Some(0.7),
            logits_cap: Some(2.0),
            ..Sketch::default()
        },
        Sketch {
            norm: NormKind::Layer,
            has_biases: true,
            has_rope: false,
            positions: Some(2),
            feed: Feed::Plain(Activation::Relu),
            ..Sketch::default()
        },
        Sketch {
            norm_offset: 1.0,
            qk_norm: QkNorm::Heads,
            has_post_norms: true,
            embed_scale: 5.7,
            feed: Feed::Gated(Activation::GeluTanh),
            ..Sketch::default()
        },
        Sketch {
            qk_norm: QkNorm::Whole,
            is_parallel: true,
            clip: Some(0.8),
            is_tied: false,
            feed: Feed::Gated(Activation::Gelu),
            ..Sketch::default()
        },
        Sketch {
            feed,
            residual_scale: 0.4,
            logits_scale: 0.3,
            ..Sketch::default()
        },
        Sketch {
            feed: Feed::Experts {
                experts: 5,
                active: 2,
                is_renormalised: true,
            },
            ..Sketch::default()
        },
    ];
    sketches.iter().map(Sketch::draw).collect()
}
