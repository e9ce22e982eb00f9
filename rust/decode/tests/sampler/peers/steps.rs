//! The steps that llama.cpp has beside the common ones, in float64 and by their definitions.

use tokenmill_core::noise::{Noise, Purpose, uniform};

use super::{MARGIN, Peer};

impl Peer<'_> {
    /// Every pair of places is compared.
    pub(super) fn dry(&mut self) {
        let dry = &self.params.dry;
        if dry.multiplier == 0.0 || dry.last_n == 0 {
            return;
        }
        let all = self.both();
        let len = usize::try_from(dry.last_n).map_or(all.len(), |last| last.min(all.len()));
        let window = &all[all.len() - len..];
        let breaks = |end: &usize| {
            let mut breakers = dry.breaker_tokens.iter();
            breakers.any(|breaker| window[..*end].ends_with(breaker))
        };
        let unbroken = len - (1..=len).rev().find(breaks).unwrap_or(0);
        for token in 0..self.scores.len() as u32 {
            let followed = (1..len).filter(|&at| window[at] == token);
            let common = |at: usize| {
                let pairs = window[..at].iter().rev().zip(window.iter().rev());
                pairs.take_while(|(a, b)| a == b).count()
            };
            let longest = followed.map(common).max().unwrap_or(0).min(unbroken);
            let over = longest.checked_sub(dry.allowed_length as usize);
            let is_breaker = dry.breaker_tokens.contains(&vec![token]);
            if let Some(over) = over.filter(|_| !is_breaker) {
                let cost = f64::from(dry.multiplier) * f64::from(dry.base).powf(over as f64);
                self.scores[token as usize] -= cost;
            }
        }
    }

    pub(super) fn top_n_sigma(&mut self) {
        let deviations = f64::from(self.params.top_n_sigma);
        if deviations <= 0.0 {
            return;
        }
        let ids = self.ranked();
        let count = ids.len() as f64;
        let mean = ids.iter().map(|&id| self.scores[id]).sum::<f64>() / count;
        let square = |&id: &usize| (self.scores[id] - mean).powi(2);
        let spread = (ids.iter().map(square).sum::<f64>() / count).sqrt();
        let bound = self.scores[ids[0]] - deviations * spread;
        self.ban_below(&ids, bound);
    }

    fn ban_below(&mut self, ids: &[usize], bound: f64) {
        for &id in &ids[1..] {
            self.is_clear &= (self.scores[id] - bound).abs() > MARGIN;
            if self.scores[id] < bound {
                self.ban(id as u32);
            }
        }
    }

    fn entropy(&self) -> f64 {
        let terms = self.probabilities().into_iter().filter(|&p| p > 0.0);
        -terms.map(|p| p * p.ln()).sum::<f64>()
    }

    /// Until the mass is more than the share.
    pub(super) fn typical_p(&mut self) {
        let share = f64::from(self.params.typical_p);
        if share >= 1.0 {
            return;
        }
        let (p, entropy) = (self.probabilities(), self.entropy());
        let distance = |id: usize| (-p[id].ln() - entropy).abs();
        let mut ids = self.ranked();
        ids.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
        let (mut mass, mut count) = (0.0, 0);
        while count < ids.len() && mass <= share {
            mass += p[ids[count]];
            count += 1;
            self.is_clear &= (mass - share).abs() > MARGIN;
        }
        for pair in ids.windows(2) {
            let is_tied = self.scores[pair[0]] == self.scores[pair[1]];
            self.is_clear &= is_tied || distance(pair[1]) - distance(pair[0]) > MARGIN;
        }
        ids[count..].iter().for_each(|&id| self.ban(id as u32));
    }

    pub(super) fn xtc(&mut self) {
        let xtc = self.params.xtc;
        let position = self.prefix.position();
        let noise = Noise::new(
            self.prefix.seed,
            position,
            self.prefix.sample_index,
            Purpose::Coin,
        );
        let is_on = xtc.probability > 0.0 && xtc.threshold <= 0.5;
        if !is_on || uniform(noise.word(0)) > f64::from(xtc.probability) {
            return;
        }
        let p = self.probabilities();
        let threshold = f64::from(xtc.threshold);
        self.is_clear &= p.iter().all(|p| (p / threshold - 1.0).abs() > MARGIN);
        let mut likely = self.ranked();
        likely.retain(|&id| p[id] >= threshold);
        if likely.len() >= 2 {
            likely.pop();
            for &id in &likely {
                self.ban(id as u32);
            }
        }
    }

    pub(super) fn divide_dynamically(&mut self) {
        let count = self.ranked().len() as f64;
        let (middle, range) = (
            f64::from(self.params.temperature),
            f64::from(self.params.dynatemp_range),
        );
        let low = (middle - range).max(0.0);
        if count > 1.0 {
            let share =
                (self.entropy() / count.ln()).powf(f64::from(self.params.dynatemp_exponent));
            let temperature = low + (middle + range - low) * share;
            // Far below one, what was small becomes large and so does its rounding.
            self.is_clear &= temperature > 0.05;
            self.scores
                .iter_mut()
                .for_each(|score| *score /= temperature);
        }
    }

    /// The second version, before its first draw.
    pub(super) fn mirostat(&mut self) {
        let mu = 2.0 * f64::from(self.params.mirostat.tau);
        let p = self.probabilities();
        let ids = self.ranked();
        for &id in &ids[1..] {
            self.is_clear &= (-p[id].log2() - mu).abs() > MARGIN;
            if -p[id].log2() > mu {
                self.ban(id as u32);
            }
        }
    }
}
