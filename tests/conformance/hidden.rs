//! What rows give beside their logits: hidden states behind the final norm, for rows with and without logits, and the
//! logits of early layers. Held against the reference, which is held against a brute-force evaluation; and the bits
//! of both must not depend on company.

use tokenmill_core::TokenId;
use tokenmill_model::{ExitRow, Hidden, KvFormat, MemoryPlan, Weights};
use tokenmill_reference::ReferenceBackend;

use crate::driver::{Piece, Rig, blocks, exact_plan};
use crate::groups::{piece, tokens};
use crate::naive;
use crate::programs::all_operations;
use crate::sketch::{Sketch, Tiny};
use crate::subject::{Outcome, Subject, compare, text};

/// Of each row of a step: its state, and its logits after each number of layers.
struct Beside {
    states: Vec<Vec<f32>>,
    /// By layer, then row.
    exits: Vec<Vec<Vec<f32>>>,
}

/// Runs pieces without any logits and asks everything of every row of the last one; of the others, what a company may
/// ask: all exits of their first row.
fn step(rig: &mut Rig, layers: usize, pieces: &[Piece<'_>]) -> Result<Beside, String> {
    let mut batch = rig.batch(pieces);
    batch.logits_rows.clear();
    let own = *batch.spans.last().expect("a piece");
    let rows = own.row..own.row + own.rows;
    for span in &batch.spans {
        batch.hidden_rows.extend(span.row..span.row + span.rows);
        let is_own = span.row == own.row;
        let rows = span.row..if is_own { rows.end } else { span.row + 1 };
        for row in rows {
            let exit = |layer: usize| ExitRow {
                row,
                layer: layer as u32,
            };
            batch.exit_rows.extend((0..layers).map(exit));
        }
    }
    let ticket = rig.backend.run(&batch).map_err(text)?;
    let mut beside = Beside {
        states: Vec::new(),
        exits: vec![Vec::new(); layers],
    };
    for row in rows.clone() {
        let state = rig.backend.hidden(ticket, Hidden::State(row as usize));
        beside.states.push(state.map_err(text)?.to_vec());
    }
    for (index, exit) in batch.exit_rows.iter().enumerate() {
        if rows.contains(&exit.row) {
            let early = rig.backend.hidden(ticket, Hidden::Exit(index));
            beside.exits[exit.layer as usize].push(early.map_err(text)?.to_vec());
        }
    }
    let count = batch.exit_rows.len();
    for what in [Hidden::State(batch.hidden_rows.len()), Hidden::Exit(count)] {
        if rig.backend.hidden(ticket, what).is_ok() {
            return Err(format!("{what:?} was not asked for and is answered"));
        }
    }
    Ok(beside)
}

/// Everything of every token, in chunks, alone or after the rows of another sequence.
fn run(
    rig: &mut Rig,
    layers: usize,
    known: &[TokenId],
    (chunk, has_mate): (usize, bool),
) -> Result<Beside, String> {
    let count = known.len().div_ceil(rig.plan.block_size) as u32;
    let mate = tokens(31, known.len());
    let (table, mate_table) = (blocks(0, count), blocks(count, count));
    let mut all = Beside {
        states: Vec::new(),
        exits: vec![Vec::new(); layers],
    };
    for from in (0..known.len()).step_by(chunk) {
        let to = (from + chunk).min(known.len());
        let own = piece(known, &table, from, to);
        let beside = piece(&mate, &mate_table, from, to);
        let pieces = if has_mate {
            vec![beside, own]
        } else {
            vec![own]
        };
        let got = step(rig, layers, &pieces)?;
        all.states.extend(got.states);
        for (all, got) in all.exits.iter_mut().zip(got.exits) {
            all.extend(got);
        }
    }
    Ok(all)
}

/// The reference, one row after another.
fn truth(tiny: &Tiny, known: &[TokenId]) -> Beside {
    let weights = Weights::new(&tiny.program, &tiny.checkpoint).expect("a sketch's own weights");
    let plan = exact_plan(&tiny.program, known.len().div_ceil(16), 16);
    let backend = Box::new(ReferenceBackend::new());
    let mut rig = Rig::load(backend, &weights, plan).expect("the reference loads all");
    let exits = tiny.program.exits();
    run(&mut rig, exits, known, (1, false)).expect("the reference gives all")
}

fn sketches() -> [Sketch; 4] {
    [
        Sketch {
            layers: 3,
            ..Sketch::default()
        },
        Sketch {
            logits_scale: 0.25,
            logits_cap: Some(2.0),
            has_post_norms: true,
            is_tied: false,
            ..Sketch::default()
        },
        Sketch {
            is_parallel: true,
            has_biases: true,
            is_tied: false,
            embed_scale: 3.0,
            ..Sketch::default()
        },
        Sketch {
            encoding: tokenmill_formats::Encoding::Q8_0,
            hidden: 64,
            head_dim: 16,
            inner: 96,
            residual_scale: 0.5,
            ..Sketch::default()
        },
    ]
}

fn check(subject: &Subject, judge: impl Fn(&str, &Beside, &Beside) -> Outcome) -> Outcome {
    for (index, sketch) in sketches().iter().enumerate() {
        let tiny = sketch.draw();
        let known = tokens(40 + index as u64, 45);
        let truth = truth(&tiny, &known);
        for chunk in [45, 7, 1] {
            let mut rig = subject.load(&tiny, 8)?;
            let got = run(&mut rig, tiny.program.exits(), &known, (chunk, true))?;
            judge(&format!("sketch {index}, chunk {chunk}"), &truth, &got)?;
        }
    }
    Ok(())
}

/// The state of every row behind the final norm, though none has logits.
pub fn hidden_states(subject: &Subject) -> Outcome {
    check(subject, |what, truth, got| {
        subject.compare(what, 0, &truth.states, &got.states)
    })
}

/// The output head on the residual stream after every number of layers.
pub fn early_layers(subject: &Subject) -> Outcome {
    check(subject, |what, truth, got| {
        for (layer, (truth, got)) in truth.exits.iter().zip(&got.exits).enumerate() {
            subject.compare(&format!("{what}, layer {layer}"), 0, truth, got)?;
        }
        Ok(())
    })
}

/// States and early logits depend on the prefix alone: the bits stay, whatever the chunks, mates and threads.
pub fn company(subject: &Subject, sketch: &Sketch, kv_format: KvFormat) -> Outcome {
    let tiny = sketch.draw();
    let known = tokens(51, 40);
    let exits = tiny.program.exits();
    let mut first: Option<Beside> = None;
    for (threads, schedule) in [
        (1, (40, false)),
        (2, (40, true)),
        (1, (1, true)),
        (2, (7, false)),
    ] {
        let plan = MemoryPlan {
            threads,
            kv_format,
            ..subject.plan(&tiny, 8, 16)
        };
        let mut rig = subject.load_with(&tiny, plan)?;
        let got = run(&mut rig, exits, &known, schedule)?;
        if let Some(first) = &first
            && (first.states != got.states || first.exits != got.exits)
        {
            return Err(format!("{threads} threads, {schedule:?}: other bits"));
        }
        first.get_or_insert(got);
    }
    Ok(())
}

/// The reference against float64, on programs of every operation.
pub fn reference_equals_float64() -> Outcome {
    let known = tokens(20, 30);
    for (index, tiny) in all_operations().iter().enumerate() {
        let weights = Weights::new(&tiny.program, &tiny.checkpoint).expect("its own weights");
        let exact = naive::beside(&weights, &known);
        let got = truth(tiny, &known);
        let narrow = |rows: &Vec<Vec<f64>>| -> Vec<Vec<f32>> {
            let narrow = |row: &Vec<f64>| row.iter().map(|&x| x as f32).collect();
            rows.iter().map(narrow).collect()
        };
        let what = format!("program {index}");
        compare(5e-6, &what, 0, &narrow(&exact.states), &got.states)?;
        for (layer, (exact, got)) in exact.exits.iter().zip(&got.exits).enumerate() {
            compare(
                5e-6,
                &format!("{what}, layer {layer}"),
                0,
                &narrow(exact),
                got,
            )?;
        }
    }
    Ok(())
}
