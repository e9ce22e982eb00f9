//! The sampler written out: whole rows, full sorts, every token's noise. It shares with the real one the
//! noise, the exponential and the fixed-point sum, which have references of their own; the kept sets are
//! also compared with float64 here.

use tokenmill_core::SamplingParams;
use tokenmill_core::noise::{Noise, Purpose, exp, gumbel};
use tokenmill_decode::Step;

use crate::rows::Prefix;

/// Scores after the processors, from the definitions.
pub fn process(prefix: &Prefix, params: &SamplingParams, row: &[f32]) -> Vec<f32> {
    let mut scores = row.to_vec();
    for &(token, bias) in &params.logit_bias {
        scores[token as usize] = if bias == -100.0 {
            f32::NEG_INFINITY
        } else {
            scores[token as usize] + bias
        };
    }
    for (token, score) in scores.iter_mut().enumerate() {
        let token = token as u32;
        let count = prefix
            .output
            .iter()
            .filter(|&&other| other == token)
            .count() as f32;
        if prefix.prompt.contains(&token) || count > 0.0 {
            let theta = params.repetition_penalty;
            *score = if *score < 0.0 {
                *score * theta
            } else {
                *score / theta
            };
        }
        if count > 0.0 {
            *score -= params.frequency_penalty * count;
            *score -= params.presence_penalty;
        }
    }
    let n = params.no_repeat_ngram_size as usize;
    let tokens: Vec<u32> = prefix
        .prompt
        .iter()
        .chain(&prefix.output)
        .copied()
        .collect();
    if n > 0 && tokens.len() + 1 >= n {
        let suffix = &tokens[tokens.len() + 1 - n..];
        for window in tokens
            .windows(n)
            .filter(|window| &window[..n - 1] == suffix)
        {
            scores[window[n - 1] as usize] = f32::NEG_INFINITY;
        }
    }
    if prefix.output.len() < params.min_tokens as usize {
        for &token in prefix.eos.iter().chain(&params.stop_token_ids) {
            scores[token as usize] = f32::NEG_INFINITY;
        }
    }
    scores
}

/// Token ids in the total order.
pub fn order(scores: &[f32]) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..scores.len()).collect();
    // Stable, so equal values stay in the order of their ids.
    ids.sort_by(|&a, &b| {
        scores[b]
            .partial_cmp(&scores[a])
            .expect("scores are numbers")
    });
    ids
}

fn mass(score: f32) -> u64 {
    (f64::from(exp(score)) * f64::from(1_u32 << 20) * f64::from(1_u32 << 20)).round_ties_even()
        as u64
}

/// z after warpers in the given order, -inf for what was dropped.
pub fn warp(params: &SamplingParams, steps: &[Step], logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut scores: Vec<f32> = logits.iter().map(|logit| logit - max).collect();
    for step in steps.iter().filter(|step| step.is_active(params)) {
        let ids = order(&scores);
        let kept = match step {
            Step::Temperature => {
                for score in &mut scores {
                    *score /= params.temperature;
                }
                continue;
            }
            Step::TopK => params.top_k as usize,
            Step::TopP => {
                let total: u64 = scores.iter().map(|&score| mass(score)).sum();
                let target = f64::from(params.top_p) * total as f64;
                let mut sum = 0;
                1 + ids
                    .iter()
                    .position(|&id| {
                        sum += mass(scores[id]);
                        sum as f64 >= target
                    })
                    .expect("the whole has enough mass")
            }
            Step::MinP => {
                let bound = params.min_p.ln();
                ids.iter().filter(|&&id| scores[id] >= bound).count()
            }
            _ => continue,
        };
        for &id in ids.iter().skip(kept) {
            scores[id] = f32::NEG_INFINITY;
        }
    }
    scores
}

/// The draw over every token that is left.
pub fn draw(prefix: &Prefix, scores: &[f32]) -> u32 {
    let noise = Noise::new(
        prefix.seed,
        prefix.position(),
        prefix.sample_index,
        Purpose::Draw,
    );
    let mut best = None;
    for (token, &score) in scores
        .iter()
        .enumerate()
        .filter(|(_, score)| score.is_finite())
    {
        let value = score + gumbel(noise.word(token as u32));
        if best.is_none_or(|(best_value, _)| value > best_value) {
            best = Some((value, token as u32));
        }
    }
    best.expect("a token is left").1
}

/// The token that the default pipeline chooses.
pub fn choose(prefix: &Prefix, params: &SamplingParams, row: &[f32]) -> u32 {
    let logits = process(prefix, params, row);
    if params.is_greedy() {
        return order(&logits)[0] as u32;
    }
    draw(prefix, &warp(params, &Step::ALL, &logits))
}

/// Kept tokens in float64, from the definitions, and whether every threshold was cleared by a margin: where
/// it was not, rounding decides and the sets are not compared.
pub fn kept_f64(params: &SamplingParams, logits: &[f32]) -> (Vec<usize>, bool) {
    const MARGIN: f64 = 2e-6;
    let t = f64::from(params.temperature);
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scores: Vec<f64> = logits
        .iter()
        .map(|&logit| (f64::from(logit) - f64::from(max)) / t)
        .collect();
    let mut ids = order(logits);
    let mut is_clear = true;
    if params.top_k > 0 {
        let k = params.top_k as usize;
        if k < ids.len() {
            is_clear &= scores[ids[k - 1]] - scores[ids[k]] > MARGIN * scores[ids[k]].abs();
        }
        ids.truncate(k);
    }
    if params.top_p < 1.0 {
        let total: f64 = ids.iter().map(|&id| scores[id].exp()).sum();
        let target = f64::from(params.top_p) * total;
        let mut sum = 0.0;
        let mut kept = 0;
        while sum < target {
            sum += scores[ids[kept]].exp();
            kept += 1;
        }
        let before = sum - scores[ids[kept - 1]].exp();
        is_clear &= (sum - target).min(target - before) > MARGIN * total;
        if kept < ids.len() {
            is_clear &= scores[ids[kept - 1]] - scores[ids[kept]] > MARGIN;
        }
        ids.truncate(kept);
    }
    if params.min_p > 0.0 {
        let bound = f64::from(params.min_p).ln();
        is_clear &= ids.iter().all(|&id| (scores[id] - bound).abs() > MARGIN);
        ids.retain(|&id| scores[id] >= bound);
    }
    ids.sort_unstable();
    (ids, is_clear)
}
