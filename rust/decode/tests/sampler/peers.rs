//! The samplers of four engines, each written out from its published order in float64: whole vocabularies, no
//! shared list of steps, no code of ours. They say what a pipeline of that name must leave, or nothing where
//! rounding would decide.

mod steps;

use tokenmill_core::SamplingParams;

use crate::rows::Prefix;

/// How near to a threshold f32 may fall on its other side.
const MARGIN: f64 = 3e-6;

/// The row of one engine on its way.
pub struct Peer<'a> {
    prefix: &'a Prefix,
    params: &'a SamplingParams,
    scores: Vec<f64>,
    is_clear: bool,
}

impl<'a> Peer<'a> {
    fn new(prefix: &'a Prefix, params: &'a SamplingParams, row: &[f32]) -> Self {
        Self {
            prefix,
            params,
            scores: row.iter().map(|&logit| f64::from(logit)).collect(),
            is_clear: true,
        }
    }

    fn both(&self) -> Vec<u32> {
        [&self.prefix.prompt[..], &self.prefix.output].concat()
    }

    fn ban(&mut self, token: u32) {
        self.scores[token as usize] = f64::NEG_INFINITY;
    }

    fn add_bias(&mut self) {
        for &(token, bias) in &self.params.logit_bias {
            self.scores[token as usize] += f64::from(bias);
        }
    }

    fn scale_repeated(&mut self, among: &[u32]) {
        let theta = f64::from(self.params.repetition_penalty);
        for (token, score) in self.scores.iter_mut().enumerate() {
            if among.contains(&(token as u32)) {
                *score = if *score > 0.0 {
                    *score / theta
                } else {
                    *score * theta
                };
            }
        }
    }

    fn subtract(&mut self, among: &[u32]) {
        let frequency = f64::from(self.params.frequency_penalty);
        let presence = f64::from(self.params.presence_penalty);
        for (token, score) in self.scores.iter_mut().enumerate() {
            let count = among.iter().filter(|&&other| other == token as u32).count();
            *score -= frequency * count as f64 + if count > 0 { presence } else { 0.0 };
        }
    }

    fn ban_ends(&mut self, until: usize, ends: &[u32]) {
        if self.prefix.output.len() < until {
            for &token in ends {
                self.ban(token);
            }
        }
    }

    fn ban_words(&mut self, context: &[u32]) {
        for word in &self.params.bad_word_tokens {
            let (&last, before) = word.split_last().expect("a word");
            if context.ends_with(before) {
                self.ban(last);
            }
        }
    }

    fn all_ends(&self) -> Vec<u32> {
        [&self.prefix.eos[..], &self.params.stop_token_ids].concat()
    }

    fn divide(&mut self) {
        let temperature = f64::from(self.params.temperature);
        self.scores
            .iter_mut()
            .for_each(|score| *score /= temperature);
    }

    /// Ids by score, equal ones by id, without the banned.
    fn ranked(&self) -> Vec<usize> {
        let mut ids: Vec<usize> = (0..self.scores.len())
            .filter(|&id| self.scores[id].is_finite())
            .collect();
        ids.sort_by(|&a, &b| self.scores[b].total_cmp(&self.scores[a]).then(a.cmp(&b)));
        ids
    }

    fn probabilities(&self) -> Vec<f64> {
        let max = self
            .scores
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let terms: Vec<f64> = self
            .scores
            .iter()
            .map(|score| (score - max).exp())
            .collect();
        let sum: f64 = terms.iter().sum();
        terms.iter().map(|term| term / sum).collect()
    }

    fn keep_first(&mut self, ids: &[usize], count: usize) {
        if count < ids.len() {
            let gap = self.scores[ids[count - 1]] - self.scores[ids[count]];
            // Equal values go by id, in f32 as here.
            self.is_clear &= gap == 0.0 || gap > MARGIN;
            ids[count..].iter().for_each(|&id| self.ban(id as u32));
        }
    }

    fn top_k(&mut self) {
        let ids = self.ranked();
        if self.params.top_k > 0 {
            self.keep_first(&ids, self.params.top_k as usize);
        }
    }

    /// The shortest prefix that has the share.
    fn top_p(&mut self) {
        if self.params.top_p < 1.0 {
            let p = self.probabilities();
            let ids = self.ranked();
            let count = self.reaching(&p, &ids);
            self.keep_first(&ids, count);
        }
    }

    /// Tokens until the mass is no less than the share.
    fn reaching(&mut self, p: &[f64], ids: &[usize]) -> usize {
        let share = f64::from(self.params.top_p);
        let mut mass = 0.0;
        for (index, &id) in ids.iter().enumerate() {
            self.is_clear &= (mass - share).abs() > MARGIN;
            mass += p[id];
            self.is_clear &= (mass - share).abs() > MARGIN;
            if mass >= share {
                return index + 1;
            }
        }
        ids.len()
    }

    /// Tokens before which the mass has not passed the share.
    fn not_past(&mut self, p: &[f64], ids: &[usize]) -> usize {
        let share = f64::from(self.params.top_p);
        let mut before = 0.0;
        for (index, &id) in ids.iter().enumerate() {
            self.is_clear &= index == 0 || (before - share).abs() > MARGIN;
            if before > share {
                return index;
            }
            before += p[id];
        }
        ids.len()
    }

    fn min_p(&mut self) {
        if self.params.min_p > 0.0 {
            let p = self.probabilities();
            let bound = f64::from(self.params.min_p) * p.iter().copied().fold(0.0, f64::max);
            for (id, &own) in p.iter().enumerate() {
                self.is_clear &= own == 0.0 || (own / bound - 1.0).abs() > MARGIN;
                if own < bound {
                    self.ban(id as u32);
                }
            }
        }
    }

    /// Log-probs of what is left, unless rounding decided.
    fn done(self) -> Option<Vec<f64>> {
        let p = self.probabilities();
        self.is_clear.then(|| p.iter().map(|p| p.ln()).collect())
    }
}

/// transformers: `_get_logits_processor`.
pub fn hf(prefix: &Prefix, params: &SamplingParams, row: &[f32]) -> Option<Vec<f64>> {
    let mut peer = Peer::new(prefix, params, row);
    let (both, eos) = (peer.both(), prefix.eos.clone());
    peer.scale_repeated(&both);
    // A word that is an end alone is no word there.
    let mut words = params.clone();
    let is_end = |word: &Vec<u32>| matches!(word[..], [token] if eos.contains(&token));
    words.bad_word_tokens.retain(|word| !is_end(word));
    peer.params = &words;
    peer.ban_words(&both);
    peer.params = params;
    peer.ban_ends(
        (params.min_length as usize).saturating_sub(prefix.prompt.len()),
        &eos,
    );
    peer.ban_ends(params.min_tokens as usize, &eos);
    for &token in &params.suppress_tokens {
        peer.ban(token);
    }
    if prefix.output.is_empty() {
        for &token in &params.begin_suppress_tokens {
            peer.ban(token);
        }
    }
    peer.divide();
    peer.top_k();
    peer.top_p();
    peer.min_p();
    peer.done()
}

/// vLLM's sampler, V1.
pub fn vllm(prefix: &Prefix, params: &SamplingParams, row: &[f32]) -> Option<Vec<f64>> {
    let mut peer = Peer::new(prefix, params, row);
    if let Some(allowed) = &params.allowed_token_ids {
        for token in (0..row.len() as u32).filter(|token| !allowed.contains(token)) {
            peer.ban(token);
        }
    }
    peer.ban_words(&prefix.output);
    let ends = peer.all_ends();
    peer.ban_ends(params.min_tokens as usize, &ends);
    peer.add_bias();
    let both = peer.both();
    peer.scale_repeated(&both);
    peer.subtract(&prefix.output);
    peer.divide();
    peer.min_p();
    peer.top_k();
    peer.top_p();
    peer.done()
}

/// `SGLang`: penalties that add before the one that scales; the cuts by count and by mass both of one
/// distribution, unless `min_p` makes it take them in turn.
pub fn sglang(prefix: &Prefix, params: &SamplingParams, row: &[f32]) -> Option<Vec<f64>> {
    let mut peer = Peer::new(prefix, params, row);
    peer.subtract(&prefix.output);
    let ends = peer.all_ends();
    peer.ban_ends(params.min_tokens as usize, &ends);
    peer.scale_repeated(&prefix.output);
    peer.add_bias();
    peer.divide();
    let in_turn = params.min_p > 0.0;
    let mut p = peer.probabilities();
    let mut ids = peer.ranked();
    let by_count = match params.top_k as usize {
        0 => ids.len(),
        k => k.min(ids.len()),
    };
    if in_turn {
        peer.keep_first(&ids, by_count);
        (p, ids) = (peer.probabilities(), peer.ranked());
    }
    let by_mass = if params.top_p < 1.0 {
        peer.not_past(&p, &ids)
    } else {
        ids.len()
    };
    peer.keep_first(&ids, by_mass.min(by_count));
    peer.min_p();
    peer.done()
}

/// llama.cpp: its chain of samplers, the cuts before the temperature, penalties of the last 64 tokens.
pub fn llamacpp(prefix: &Prefix, params: &SamplingParams, row: &[f32]) -> Option<Vec<f64>> {
    let mut peer = Peer::new(prefix, params, row);
    peer.add_bias();
    let both = peer.both();
    let last = match params.penalty_last_n {
        Some(-1) => both.len(),
        Some(last) => last as usize,
        None => 64,
    };
    let last = &both[both.len().saturating_sub(last)..];
    peer.scale_repeated(last);
    if params.mirostat.version > 0 {
        // Nothing but the bias and the temperature runs beside it.
        let mut peer = Peer::new(prefix, params, row);
        peer.add_bias();
        peer.divide();
        peer.mirostat();
        return peer.done();
    }
    peer.subtract(last);
    peer.dry();
    peer.top_n_sigma();
    peer.top_k();
    peer.typical_p();
    peer.top_p();
    peer.min_p();
    peer.xtc();
    if params.dynatemp_range > 0.0 {
        peer.divide_dynamically();
    } else {
        peer.divide();
    }
    peer.done()
}
