//! The ways to choose that need more than a row of one sequence: beams, second rows, contrastive search; on some
//! requests of a trace, as wide as the scheduler's budgets and pool have room for.

use tokenmill_core::{
    Adaptive, Beams, Contrastive, ContrastiveMode, Divergence, DolaLayers, EarlyStopping, Limits,
    Mirostat, SamplingParams,
};
use tokenmill_sched::SchedConfig;
use tokenmill_sim::EXITS;

use crate::random::Random;

/// The request with another strategy, where there is room for it and it means something beside the rest.
pub fn strategy(
    random: &mut Random,
    sched: &SchedConfig,
    prompt: &[u32],
    params: SamplingParams,
) -> SamplingParams {
    let rows = sched
        .running_max
        .min(sched.tokens_per_step)
        .min(sched.logits_rows_max);
    let mut all = params.clone();
    if random.chance(10) {
        all = search(random, rows, all);
    } else {
        if random.chance(15) {
            all = beams(random, rows, all);
        }
        if random.chance(25) {
            second_row(random, prompt, &mut all);
        }
    }
    if all == params {
        return params;
    }
    // What is refused beside them is refused here too.
    if fits(sched, rows, prompt, &all) && all.validate(&Limits::default()).is_ok() {
        all
    } else {
        params
    }
}

fn beams(random: &mut Random, rows: usize, params: SamplingParams) -> SamplingParams {
    let width = random.range(1, 5).min(rows);
    let groups = if width.is_multiple_of(2) && random.chance(30) {
        2
    } else {
        1
    };
    let early_stopping = *random.pick(&[
        EarlyStopping::False,
        EarlyStopping::True,
        EarlyStopping::Never,
    ]);
    let beams = Beams {
        width: Some(width as u32),
        length_penalty: *random.pick(&[-1.0, 0.0, 0.7, 1.0]),
        early_stopping,
        num_return_sequences: random.chance(30).then(|| random.range(1, width) as u32),
        num_beam_groups: groups,
        diversity_penalty: if groups > 1 { 0.5 } else { 0.0 },
        ..Beams::default()
    };
    SamplingParams {
        n: 1,
        mirostat: Mirostat::default(),
        adaptive: Adaptive::default(),
        repetition_detection: None,
        beams,
        ..params
    }
}

fn second_row(random: &mut Random, prompt: &[u32], params: &mut SamplingParams) {
    match random.range(0, 2) {
        0 => {
            params.guidance.scale = *random.pick(&[0.0, 1.5, 3.0]);
            // The last token, something short, or more than the prompt.
            let len = *random.pick(&[0, 1, 5, prompt.len() + 3]);
            let own = prompt.iter().rev().chain(prompt).chain(&[7, 8, 9]);
            let negative: Vec<u32> = own.copied().take(len).collect();
            params.guidance.negative_prompt_token_ids =
                Some(negative).filter(|tokens| !tokens.is_empty());
        }
        1 => {
            params.dola.layers = Some(match random.range(0, 3) {
                0 => DolaLayers::Low,
                1 => DolaLayers::High,
                2 => DolaLayers::Listed(vec![1, EXITS]),
                _ => DolaLayers::Listed(vec![0, 2, 3]),
            });
            params.dola.divergence = *random.pick(&[Divergence::Jsd, Divergence::Reference]);
        }
        _ => {
            params.contrastive = Some(Contrastive {
                mode: *random.pick(&[ContrastiveMode::Difference, ContrastiveMode::Scaled]),
                // Low, so that what is plausible and what is allowed often have a token in common.
                alpha: *random.pick(&[0.001, 0.02, 0.3]),
                ..Contrastive::default()
            });
        }
    }
}

fn search(random: &mut Random, rows: usize, params: SamplingParams) -> SamplingParams {
    let bare = SamplingParams::default();
    SamplingParams {
        n: 1,
        temperature: 0.0,
        penalty_alpha: *random.pick(&[0.1, 0.6, 1.0]),
        top_k: random.range(1, 5).min(rows) as u32,
        top_p: 1.0,
        typical_p: bare.typical_p,
        epsilon_cutoff: bare.epsilon_cutoff,
        eta_cutoff: bare.eta_cutoff,
        top_h: bare.top_h,
        top_n_sigma: bare.top_n_sigma,
        xtc: bare.xtc,
        dynatemp_range: bare.dynatemp_range,
        mirostat: bare.mirostat,
        adaptive: bare.adaptive,
        ..params
    }
}

/// Whether the engine would take it: all its sequences fit into one step and into the pool.
fn fits(sched: &SchedConfig, rows: usize, prompt: &[u32], params: &SamplingParams) -> bool {
    let second = negative(prompt, params).map(<[u32]>::len);
    let branches = params.branches() as usize;
    let longest = prompt.len().max(second.unwrap_or(0));
    let blocks = sched.blocks - sched.block_reserve;
    let context_len = sched.context_len.min(blocks * sched.block_size);
    let new = params
        .max_tokens
        .map_or(context_len.saturating_sub(longest), |new| new as usize);
    let of = |len: usize| (len + new).div_ceil(sched.block_size);
    branches * (1 + usize::from(second.is_some())) <= rows
        && longest + new.max(1) <= context_len
        && branches * (of(prompt.len()) + second.map_or(0, of)) <= blocks
}

/// The other prompt of a guided request.
pub fn negative<'a>(prompt: &'a [u32], params: &'a SamplingParams) -> Option<&'a [u32]> {
    let last = || &prompt[prompt.len() - 1..];
    let given = params.guidance.negative_prompt_token_ids.as_deref();
    (params.guidance.scale != 1.0).then(|| given.unwrap_or_else(last))
}
