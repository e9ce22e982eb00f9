//! Guidance over a tiny checkpoint equals a loop that asks for the rows of both prompts one by one and mixes them by
//! the formula.

use tokenmill_core::{LogprobsMode, Prompt, Request, SamplingParams};

use crate::schedule::{Schedule, first_row, run};
use crate::subject::{Form, tiny};

const NEW: usize = 12;
const SCALE: f32 = 1.7;

fn asked(tokens: &[u32], max_tokens: usize) -> Request {
    let params = SamplingParams {
        temperature: 0.0,
        max_tokens: Some(max_tokens as u32),
        ignore_eos: true,
        logprobs: None,
        logprobs_mode: LogprobsMode::RawLogits,
        ..SamplingParams::default()
    };
    Request::new(Prompt::Tokens(tokens.to_vec()), params)
}

fn ln_p(row: &[f32]) -> Vec<f64> {
    let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
    row.iter().map(|&z| f64::from(z) - sum.ln()).collect()
}

#[test]
fn guidance_equals_a_loop_over_the_rows_of_both_prompts() {
    let form = Form::Reference;
    let checkpoint = tiny(form);
    let plain = Schedule::plain(1);
    let prompts: [(&[u32], &[u32]); 3] = [
        (&[5, 6, 7], &[9]),
        (&[11], &[90, 91, 92, 93, 94, 95, 96]),
        (&[30, 31, 32, 33], &[33]),
    ];
    for (prompt, negative) in prompts {
        let mut output = Vec::new();
        for _ in 0..NEW {
            let row = |prompt: &[u32]| {
                let tokens = [prompt, &output].concat();
                first_row(&checkpoint, form, &asked(&tokens, 1))
            };
            let (with, without) = (ln_p(&row(prompt)), ln_p(&row(negative)));
            let mixed = with.iter().zip(&without);
            let scores: Vec<f32> = mixed
                .map(|(c, u)| (u + f64::from(SCALE) * (c - u)) as f32)
                .collect();
            let best = (0..scores.len())
                .rev()
                .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
                .expect("a token");
            output.push(best as u32);
        }
        let mut request = asked(prompt, NEW);
        request.params.guidance.scale = SCALE;
        request.params.guidance.negative_prompt_token_ids = Some(negative.to_vec());
        let guided = run(&checkpoint, form, &[request], &plain);
        assert_eq!(guided.tokens[0][0], output, "{prompt:?}");
    }
}
