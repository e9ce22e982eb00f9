//! What a model file holds and what an engine makes of it: the data behind `tokenmill info`. Names and
//! numbers only; how they are shown is the caller's business.

use std::collections::BTreeMap;
use std::path::Path;

use tokenmill_core::option::{EngineOptions, Value};
use tokenmill_formats::Checkpoint;
use tokenmill_model::cost::{SpanShape, StepShape, WeightBytes, step_cost};
use tokenmill_model::{KvFormat, Program, Weights};

use crate::error::Result;
use crate::load::amateur::Amateur;
use crate::load::choice::{Prospect, backend};
use crate::load::ledger::Ledger;
use crate::load::priced;
use crate::load::voice::Voice;

/// A tree of named values.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    entries: Vec<(&'static str, Value)>,
}

/// Reads a model's headers, checks them against its architecture and prices the memory of an engine under
/// `options`, without loading weights.
pub fn inspect(path: &Path, options: &EngineOptions) -> Result<Info> {
    let checkpoint = Checkpoint::open(path)?;
    let program = tokenmill_model::build(&checkpoint)?;
    let weights = Weights::new(&program, &checkpoint)?;
    let amateur = Amateur::open(options, program.shape.context_len)?;
    let (ledger, prospect) = priced(
        &*backend(options)?,
        &checkpoint,
        &weights,
        amateur.as_ref(),
        options,
    )?;
    let mut info = Info::new(&checkpoint, &program)?;
    info.add_plan(&ledger, &prospect);
    Ok(info)
}

impl Info {
    pub(crate) fn new(checkpoint: &Checkpoint, program: &Program) -> Result<Self> {
        let weights = Weights::new(program, checkpoint)?;
        let bytes = WeightBytes::of(&weights)?;
        let shape = &program.shape;
        let kv_width: usize = shape.kv.iter().map(|kv| 2 * kv.heads * kv.head_dim).sum();
        let step = decode_step(program, &bytes);
        let parameters: usize = checkpoint
            .tensors()
            .map(|tensor| tensor.shape.iter().product::<usize>())
            .sum();
        let entries = vec![
            ("architecture", text(program.architecture)),
            ("parameters", int(parameters)),
            ("vocab_len", int(shape.vocab_len)),
            ("hidden", int(shape.hidden)),
            ("layers", int(shape.kv.len())),
            ("context_len", int(shape.context_len)),
            ("encodings", encodings(checkpoint)),
            ("weight_bytes", int(checkpoint.weight_bytes() as usize)),
            (
                "kv_bytes_per_token_bf16",
                int(kv_width * KvFormat::Bf16.element_bytes()),
            ),
            (
                "kv_bytes_per_token_f32",
                int(kv_width * KvFormat::F32.element_bytes()),
            ),
            ("decode_weight_bytes", int(step.0 as usize)),
            ("decode_flops", int(step.1 as usize)),
        ];
        Ok(Self { entries })
    }

    /// What was planned before anything was allocated.
    pub(crate) fn add_plan(&mut self, ledger: &Ledger, prospect: &Prospect) {
        let plan = &ledger.plan;
        let lines = ledger
            .lines
            .iter()
            .map(|line| (text(line.what), int(line.bytes as usize)))
            .collect();
        let notes = ledger.notes.iter().map(|note| text(note)).collect();
        let arithmetic = prospect.arithmetic.iter();
        let arithmetic = arithmetic
            .map(|(encoding, words)| (text(encoding), text(words)))
            .collect();
        self.entries.extend([
            ("backend", text(prospect.caps.name)),
            ("level", text(&prospect.caps.level)),
            ("arithmetic", Value::Map(arithmetic)),
            ("threads", int(plan.threads)),
            ("dtype", text(&format!("{:?}", plan.dtype).to_lowercase())),
            (
                "activations",
                text(&format!("{:?}", plan.activations).to_lowercase()),
            ),
            (
                "kv_cache_dtype",
                text(if plan.kv_format == KvFormat::F32 {
                    "float32"
                } else {
                    "bfloat16"
                }),
            ),
            ("max_model_len", int(plan.context_len)),
            ("block_size", int(plan.block_size)),
            ("blocks", int(plan.blocks)),
            ("max_num_batched_tokens", int(plan.rows_max)),
            ("max_num_seqs", int(ledger.sequences_max)),
            ("max_num_queued_reqs", int(ledger.requests_max)),
            ("memory_plan", Value::Map(lines)),
            ("memory_total_bytes", int(ledger.total_bytes() as usize)),
            ("notes", Value::List(notes)),
        ]);
    }

    /// What only a loaded model knows; its notes join those of the plan.
    pub(crate) fn add_loaded(&mut self, voice: &Voice) {
        let eos = voice.eos.iter().map(|&token| int(token as usize)).collect();
        let defaults = voice
            .defaults
            .iter()
            .map(|(name, value)| (text(name), value.clone()))
            .collect();
        for (name, value) in &mut self.entries {
            if let ("notes", Value::List(notes)) = (*name, value) {
                notes.extend(voice.notes.iter().map(|note| text(note)));
            }
        }
        self.entries.extend([
            ("eos_token_ids", Value::List(eos)),
            ("has_tokenizer", Value::Bool(voice.lexicon.has_tokenizer())),
            ("has_chat_template", Value::Bool(voice.has_template())),
            ("sampling_defaults", Value::Map(defaults)),
        ]);
    }

    /// The entries in order.
    pub fn entries(&self) -> &[(&'static str, Value)] {
        &self.entries
    }

    /// The entries as one map.
    pub fn to_value(&self) -> Value {
        Value::Map(
            self.entries
                .iter()
                .map(|(name, value)| (text(name), value.clone()))
                .collect(),
        )
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Weight bytes and FLOPs of one decode row after a short context.
fn decode_step(program: &Program, bytes: &WeightBytes) -> (u64, u64) {
    let shape = StepShape {
        spans: vec![SpanShape { rows: 1, offset: 0 }],
        logits_rows: 1,
        exit_rows: 0,
        kv_element_bytes: 2,
        activation_bytes: 4,
        is_square: false,
    };
    step_cost(program, bytes, &shape)
        .iter()
        .fold((0, 0), |sum, cost| {
            (sum.0 + cost.weight_bytes, sum.1 + cost.flops)
        })
}

/// Tensors and elements by encoding.
fn encodings(checkpoint: &Checkpoint) -> Value {
    let mut counts: BTreeMap<&'static str, (usize, usize)> = BTreeMap::new();
    for tensor in checkpoint.tensors() {
        let entry = counts.entry(tensor.encoding.name()).or_default();
        entry.0 += 1;
        entry.1 += tensor.shape.iter().product::<usize>();
    }
    let entry = |(name, (tensors, elements)): (&str, (usize, usize))| {
        let counts = vec![
            (text("tensors"), int(tensors)),
            (text("elements"), int(elements)),
        ];
        (text(name), Value::Map(counts))
    };
    Value::Map(counts.into_iter().map(entry).collect())
}
