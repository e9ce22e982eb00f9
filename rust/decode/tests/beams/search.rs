//! The loop that an engine has, over a model that is a function of the prefix.

use std::sync::Arc;

use tokenmill_core::{Beams, SamplingParams, TokenId};
use tokenmill_decode::{BeamSearch, Candidate, Hypothesis, Scratch, Vocabulary};

/// Logits behind a prefix.
pub type Model<'a> = &'a dyn Fn(&[TokenId]) -> Vec<f32>;

/// What is searched, and how.
pub struct Setting<'a> {
    pub model: Model<'a>,
    pub vocab_len: usize,
    pub eos: Vec<TokenId>,
    pub prompt: Vec<TokenId>,
    pub output_len_max: usize,
    pub seed: i64,
    /// Whether an output that is this ends by what it spells.
    pub is_stopped: &'a dyn Fn(&[TokenId]) -> bool,
}

impl<'a> Setting<'a> {
    pub fn new(model: Model<'a>, vocab_len: usize, eos: &[TokenId], output_len_max: usize) -> Self {
        Self {
            model,
            vocab_len,
            eos: eos.to_vec(),
            prompt: vec![0],
            output_len_max,
            seed: 0,
            is_stopped: &|_| false,
        }
    }

    pub fn search(&self, params: &SamplingParams) -> BeamSearch {
        let vocabulary = Vocabulary::new(self.vocab_len, self.eos.clone()).unwrap();
        let params = Arc::new(params.clone());
        BeamSearch::new(
            &params,
            self.seed,
            &vocabulary,
            &self.prompt,
            self.output_len_max,
        )
        .unwrap()
    }

    pub fn run(&self, params: &SamplingParams) -> Found {
        self.watch(params, |_, _, _| {})
    }

    /// The same; `watch` sees the state after every step, the live outputs, and the candidates of the step.
    pub fn watch(
        &self,
        params: &SamplingParams,
        mut watch: impl FnMut(&BeamSearch, &[Vec<TokenId>], &[Candidate]),
    ) -> Found {
        let mut search = self.search(params);
        let mut scratch = Scratch::new();
        let mut outputs = vec![Vec::new()];
        let mut steps = 0;
        while search.live() > 0 {
            let rows: Vec<Vec<f32>> = outputs.iter().map(|output| self.row(output)).collect();
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let mut seen = Vec::new();
            let selection = loop {
                let candidates = search.candidates(&rows, &mut scratch).unwrap().to_vec();
                let is_stopped = |candidate: &Candidate| {
                    let mut output = outputs[candidate.parent as usize].clone();
                    output.push(candidate.token);
                    (self.is_stopped)(&output)
                };
                let stopped: Vec<bool> = candidates.iter().map(is_stopped).collect();
                seen.extend(candidates);
                if let Some(selection) = search.select(&stopped) {
                    break selection;
                }
            };
            let child = |&(parent, token): &(u32, TokenId)| {
                let mut output = outputs[parent as usize].clone();
                output.push(token);
                output
            };
            outputs = selection.children.iter().map(child).collect();
            steps += 1;
            assert_eq!(selection.is_done, search.is_done());
            watch(&search, &outputs, &seen);
        }
        let settled = search.settled().to_vec();
        Found {
            hypotheses: search.finish(),
            steps,
            settled,
        }
    }

    fn row(&self, output: &[TokenId]) -> Vec<f32> {
        let prefix: Vec<TokenId> = self.prompt.iter().chain(output).copied().collect();
        (self.model)(&prefix)
    }
}

/// What a search found.
pub struct Found {
    pub hypotheses: Vec<Hypothesis>,
    pub steps: usize,
    pub settled: Vec<TokenId>,
}

impl Found {
    pub fn tokens(&self) -> Vec<Vec<TokenId>> {
        let tokens = self.hypotheses.iter().map(|found| found.tokens.clone());
        tokens.collect()
    }
}

/// Greedy inside, with these beams.
pub fn params(beams: Beams) -> SamplingParams {
    SamplingParams {
        temperature: 0.0,
        beams,
        ..SamplingParams::default()
    }
}

pub fn beams(width: u32, length_penalty: f64) -> Beams {
    Beams {
        width: Some(width),
        length_penalty,
        ..Beams::default()
    }
}
