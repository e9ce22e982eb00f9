//! What a plan is made of: the number of phases decides how often workers wait for each other, and sharing
//! decides what is read twice.

use tokenmill_formats::Encoding;
use tokenmill_model::{Activations, ComputeDtype, Error, Op};

use super::programs::Recipe;
use crate::isa::Level;
use crate::plan::{Arithmetic, Phase, Plan, RowOp, plan};

const ARITHMETIC: Arithmetic = Arithmetic {
    dtype: ComputeDtype::Auto,
    activations: Activations::Auto,
    level: Level::Scalar,
};

fn planned(recipe: &Recipe) -> Plan {
    let (program, source) = recipe.build();
    plan(&program, &source, ARITHMETIC).unwrap()
}

fn letters(plan: &Plan) -> String {
    let letter = |phase: &Phase| match phase {
        Phase::Rows(_) => 'r',
        Phase::Project(_) => 'q',
        Phase::Products(_) => 'p',
        Phase::Finish(_) => 'f',
        Phase::Attend(_) => 'a',
        Phase::Gate(_) => 'g',
        Phase::Sort(_) => 's',
        Phase::ExpertGates(_) => 'G',
        Phase::ExpertProducts(_) => 'P',
        Phase::Head(_) => 'h',
    };
    plan.phases.iter().map(letter).collect()
}

fn prepares(plan: &Plan) -> usize {
    let ops = plan.phases.iter().flat_map(|phase| match phase {
        Phase::Rows(ops) => &ops[..],
        _ => &[],
    });
    ops.filter(|op| matches!(op, RowOp::Prepare { .. })).count()
}

#[test]
fn a_llama_layer_is_five_phases_and_two_of_row_work() {
    let plan = planned(&Recipe::llama());
    assert_eq!(letters(&plan), "rqaprgprqaprgprh");
    // Embedding and head share one matrix; a layer has q-k-v, output, gate-up and down.
    assert_eq!(plan.matrices.len(), 1 + 2 * 4);
    // Attention and the gated product make their outputs ready themselves; the two norms are left.
    assert_eq!(prepares(&plan), 2 * 2);
}

#[test]
fn encodings_that_do_not_stack_are_multiplied_apart_but_in_one_phase() {
    let mixed = Recipe {
        encoding: Encoding::Q8_0,
        other_encoding: Encoding::Q4_1,
        ..Recipe::llama()
    };
    let plan = planned(&mixed);
    assert_eq!(letters(&plan), "rqaprprprqaprprprh");
    // q, k, v, output, gate, up, down.
    assert_eq!(plan.matrices.len(), 1 + 2 * 7);
    // Q8_0 and Q4_1 are different layouts, for each of which an input is made ready: twice before q-k-v and gate-up.
    assert_eq!(prepares(&plan), 2 * (2 + 2 + 1));
}

#[test]
fn heads_that_are_no_whole_blocks_go_through_registers() {
    let odd = Recipe {
        head_dim: 13,
        rope: Some((6, 1.0)),
        layers: 1,
        ..Recipe::llama()
    };
    assert_eq!(letters(&planned(&odd)), "rpfaprgprh");
    let whole_norm = Recipe {
        head_norm: Some(true),
        layers: 1,
        ..Recipe::llama()
    };
    assert_eq!(letters(&planned(&whole_norm)), "rpfaprgprh");
}

#[test]
fn a_parallel_residual_prepares_its_input_once() {
    let parallel = Recipe {
        is_parallel: true,
        layers: 1,
        ..Recipe::llama()
    };
    let plan = planned(&parallel);
    assert_eq!(letters(&plan), "rqapgprh");
    // The norm's output, for q-k-v and gate-up.
    assert_eq!(prepares(&plan), 1);
}

#[test]
fn what_this_backend_does_not_do_is_refused_by_name() {
    let (mut program, source) = Recipe::llama().build();
    let last = program.ops.last().cloned().unwrap();
    program.ops.push(last);
    let error = plan(&program, &source, ARITHMETIC).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");

    let (mut program, source) = Recipe {
        experts: Some((2, 1, true)),
        encoding: Encoding::Q8_0,
        other_encoding: Encoding::Q4_1,
        ..Recipe::llama()
    }
    .build();
    // The second expert's matrices change their encodings.
    let Some(Op::Moe(moe)) = program.ops.iter_mut().find(|op| matches!(op, Op::Moe(_))) else {
        panic!("there are experts");
    };
    let up = moe.experts[1].up;
    moe.experts[1].up = moe.experts[1].gate.replace(up).unwrap();
    let error = plan(&program, &source, ARITHMETIC).unwrap_err();
    assert_eq!(
        error.to_string(),
        "experts of one layer in several encodings is not supported by cpu"
    );
}

#[test]
fn experts_whose_gate_and_up_do_not_stack_are_multiplied_apart() {
    let plan = planned(&Recipe {
        experts: Some((3, 2, true)),
        encoding: Encoding::Q8_0,
        other_encoding: Encoding::Q4_1,
        layers: 1,
        ..Recipe::llama()
    });
    assert!(letters(&plan).ends_with("rsrPrPrPrh"), "{}", letters(&plan));
}

#[test]
fn a_mixture_has_as_many_phases_for_any_number_of_experts() {
    for experts in [2, 11] {
        let plan = planned(&Recipe {
            experts: Some((experts, 2, true)),
            layers: 1,
            ..Recipe::llama()
        });
        assert_eq!(letters(&plan), "rqaprprsrGPrh");
        // The norms' outputs: for q-k-v, and once for the router and all experts.
        assert_eq!(prepares(&plan), 2);
    }
}
