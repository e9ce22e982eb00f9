//! The strategies that are more than one row of one sequence, on some of the mixed requests.

use tokenmill_core::{
    Adaptive, Beams, EarlyStopping, Limits, Mirostat, Prompt, Request, SamplingParams, Step, Xtc,
};

use crate::schedule::Schedule;

/// Every seventh request or so searches with beams, searches contrastively, or is guided.
pub fn strategy(index: usize, plain: SamplingParams) -> SamplingParams {
    let strategies = [
        beams(index, plain.clone(), 0),
        search(index, plain.clone()),
        guided(index, plain.clone()),
        guided(index, beams(index % 2, plain.clone(), 0)),
        beams(index, plain.clone(), 2),
        drawn(beams(index, plain.clone(), 0)),
    ];
    let chosen = strategies.into_iter().nth(index % 11);
    let chosen = chosen.filter(|params| params.validate(&Limits::default()).is_ok());
    chosen.unwrap_or(plain)
}

/// Without what means nothing beside a choice that is not one draw.
fn bare(plain: SamplingParams) -> SamplingParams {
    let neutral = SamplingParams::default();
    SamplingParams {
        n: 1,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        typical_p: neutral.typical_p,
        eta_cutoff: 0.0,
        top_h: None,
        top_n_sigma: neutral.top_n_sigma,
        xtc: Xtc::default(),
        dynatemp_range: 0.0,
        mirostat: Mirostat::default(),
        adaptive: Adaptive::default(),
        ..plain
    }
}

fn beams(index: usize, plain: SamplingParams, groups: u32) -> SamplingParams {
    let width = 2 + (index % 4) as u32;
    let rules = [
        EarlyStopping::False,
        EarlyStopping::True,
        EarlyStopping::Never,
    ];
    SamplingParams {
        beams: Beams {
            width: Some(if groups > 0 { 4 } else { width }),
            num_beam_groups: groups.max(1),
            diversity_penalty: if groups > 0 { 0.7 } else { 0.0 },
            early_stopping: rules[index / 11 % 3],
            ..Beams::default()
        },
        ..bare(plain)
    }
}

fn drawn(beams: SamplingParams) -> SamplingParams {
    SamplingParams {
        temperature: 1.1,
        ..beams
    }
}

fn guided(index: usize, mut plain: SamplingParams) -> SamplingParams {
    plain.contrastive = None;
    plain.dola.layers = None;
    plain.guidance.scale = [0.5, 1.5, 3.0][index % 3];
    let negative = (0..index as u32 % 40).map(|at| 1 + at * 7 % 190).collect();
    plain.guidance.negative_prompt_token_ids =
        Some(negative).filter(|tokens: &Vec<u32>| !tokens.is_empty());
    plain
}

fn search(index: usize, mut plain: SamplingParams) -> SamplingParams {
    plain.contrastive = None;
    plain.dola.layers = None;
    SamplingParams {
        top_k: 2 + (index % 3) as u32,
        penalty_alpha: [0.2, 0.6][index % 2],
        ..bare(plain)
    }
}

/// Whether all sequences of a request run in one step of a schedule, and its pool can hold them.
pub fn fits(request: &Request, schedule: &Schedule) -> bool {
    let Prompt::Tokens(prompt) = &request.prompt else {
        return false;
    };
    let params = &request.params;
    let given = params.guidance.negative_prompt_token_ids.as_ref();
    let second = (params.source() == Some(Step::Guidance)).then(|| given.map_or(1, Vec::len));
    let new = params.max_tokens.map_or(0, |new| new as usize);
    let blocks = |len: usize| (len + new).div_ceil(schedule.block_size);
    let branches = params.branches() as usize;
    let needed = branches * (blocks(prompt.len()) + second.map_or(0, blocks));
    let sequences = branches * (1 + usize::from(second.is_some()));
    // A block or two may be held back.
    sequences <= schedule.tokens_per_step && needed + 2 <= schedule.pool / schedule.block_size
}

/// Panics if a strategy is missing: a mixture without it would prove less than it says.
pub fn check_all_are_asked_for(requests: &[Request]) {
    type Is = fn(&SamplingParams) -> bool;
    let kinds: [(&str, Is); 5] = [
        ("beams", |params| params.beams.is_on()),
        ("beams in groups", |params| params.beams.num_beam_groups > 1),
        ("drawn beams", |params| {
            params.beams.is_on() && !params.is_greedy()
        }),
        ("guided beams", |params| {
            params.beams.is_on() && params.source() == Some(Step::Guidance)
        }),
        ("contrastive search", SamplingParams::is_contrastive_search),
    ];
    for (kind, is_asked) in kinds {
        let asked = requests.iter().filter(|request| is_asked(&request.params));
        assert!(asked.count() > 0, "nobody asks for {kind}");
    }
}
