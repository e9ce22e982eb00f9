//! One row of scores, read in chunks: the model's own values, overlaid chunk by chunk where a processor
//! wrote, so that a few edits cost a few chunks and never a pass. Owns the check for NaN and +inf and the
//! maximum of every chunk. Invariant after `settle`: every maximum is that of the chunk as it reads now.

use tokenmill_core::TokenId;

/// Tokens per chunk: sixteen noise counters of four tokens.
pub(crate) const CHUNK: usize = 64;

/// NaN or +inf where scores were expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAScore;

/// Memory of a row, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct RowBuffers {
    overlay: Vec<f32>,
    is_touched: Vec<bool>,
    maxima: Vec<f32>,
    /// Values that survive while a row is banned.
    spared: Vec<f32>,
}

/// A row with its edits.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// What edits start from: the model's own values, or those that a second row was mixed into.
    model: &'a [f32],
    /// The model's own values.
    own: &'a [f32],
    buffers: &'a mut RowBuffers,
    is_edited: bool,
    is_broken: bool,
}

impl<'a> Row<'a> {
    /// Takes the model's logits: one pass, for the maxima and the check.
    pub(crate) fn new(model: &'a [f32], buffers: &'a mut RowBuffers) -> Result<Self, NotAScore> {
        let row = Self::unchecked(model, buffers);
        if row.is_broken {
            return Err(NotAScore);
        }
        Ok(row)
    }

    /// The same for a request that replaces NaN and +inf itself before the row settles.
    pub(crate) fn unchecked(model: &'a [f32], buffers: &'a mut RowBuffers) -> Self {
        let chunks = model.len().div_ceil(CHUNK);
        let is_broken = scan(model, &mut buffers.maxima).is_err();
        buffers.is_touched.clear();
        buffers.is_touched.resize(chunks, false);
        if buffers.overlay.len() < model.len() {
            buffers.overlay.resize(model.len(), 0.0);
        }
        Self {
            model,
            own: model,
            buffers,
            is_edited: false,
            is_broken,
        }
    }

    /// The same row, which a second one was mixed into; `own` is what the model gave.
    pub(crate) fn mixed_from(mut self, own: &'a [f32]) -> Self {
        if !std::ptr::eq(self.model, own) {
            // The mixed row is clean, whatever this one holds.
            self.is_broken =
                own.iter().any(|value| value.is_nan()) || largest(own) == f32::INFINITY;
            self.own = own;
        }
        self
    }

    /// Whether the scores are the model's own values.
    pub(crate) fn is_own(&self) -> bool {
        !self.is_edited && std::ptr::eq(self.model, self.own)
    }

    /// Whether the model's own values hold NaN or +inf.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The value of a token.
    pub(crate) fn value(&self, token: TokenId) -> f32 {
        let token = token as usize;
        self.chunk(token / CHUNK)[token % CHUNK]
    }

    /// Replaces NaN by 0, +inf by the largest number and -inf by `ban`. A pass over the row.
    pub(crate) fn remove_invalid(&mut self, ban: f32) {
        for index in 0..self.buffers.is_touched.len() {
            let is_valid = |&value: &f32| {
                value < f32::INFINITY && (value > f32::NEG_INFINITY || ban == f32::NEG_INFINITY)
            };
            if self.chunk(index).iter().all(is_valid) {
                continue;
            }
            let first = index * CHUNK;
            for token in first..first + self.chunk(index).len() {
                self.edit(token as TokenId, |value| valid(value, ban));
            }
        }
    }

    /// Bans all but `tokens`, which become equally likely. A pass over the row.
    pub(crate) fn force(&mut self, tokens: &[TokenId]) {
        self.keep_only(&[]);
        for &token in tokens {
            self.buffers.overlay[token as usize] = 0.0;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.model.len()
    }

    /// The model's own values.
    pub(crate) fn own(&self) -> &'a [f32] {
        self.own
    }

    pub(crate) fn maxima(&self) -> &[f32] {
        &self.buffers.maxima
    }

    /// The values of chunk `index`; its first token is `index * CHUNK`.
    pub(crate) fn chunk(&self, index: usize) -> &[f32] {
        let start = index * CHUNK;
        let end = (start + CHUNK).min(self.model.len());
        if self.buffers.is_touched[index] {
            &self.buffers.overlay[start..end]
        } else {
            &self.model[start..end]
        }
    }

    /// Replaces one value. Maxima are stale until `settle`.
    pub(crate) fn edit(&mut self, token: TokenId, change: impl FnOnce(f32) -> f32) {
        let token = token as usize;
        let index = token / CHUNK;
        if !self.buffers.is_touched[index] {
            let start = index * CHUNK;
            let end = (start + CHUNK).min(self.model.len());
            self.buffers.overlay[start..end].copy_from_slice(&self.model[start..end]);
            self.buffers.is_touched[index] = true;
            self.is_edited = true;
        }
        let slot = &mut self.buffers.overlay[token];
        *slot = change(*slot);
    }

    /// Bans all but `allowed`, which keep the values they have. A pass over the row.
    pub(crate) fn keep_only(&mut self, allowed: &[TokenId]) {
        let len = self.model.len();
        let mut spared = std::mem::take(&mut self.buffers.spared);
        spared.clear();
        spared.extend(allowed.iter().map(|&token| self.value(token)));
        self.buffers.overlay[..len].fill(f32::NEG_INFINITY);
        self.buffers.is_touched.fill(true);
        self.is_edited = true;
        for (&token, &value) in allowed.iter().zip(&spared) {
            self.buffers.overlay[token as usize] = value;
        }
        self.buffers.spared = spared;
    }

    /// Lets `change` have the whole row. What was banned stays so, and NaN and +inf are refused. Three passes.
    pub(crate) fn rewrite(
        &mut self,
        change: impl FnOnce(&mut [f32]) -> Result<(), String>,
    ) -> Result<(), String> {
        let len = self.model.len();
        for index in 0..self.buffers.is_touched.len() {
            if !self.buffers.is_touched[index] {
                let start = index * CHUNK;
                let end = (start + CHUNK).min(len);
                self.buffers.overlay[start..end].copy_from_slice(&self.model[start..end]);
            }
        }
        self.buffers.is_touched.fill(true);
        self.is_edited = true;
        let RowBuffers {
            overlay, spared, ..
        } = &mut *self.buffers;
        let values = &mut overlay[..len];
        spared.clear();
        spared.extend_from_slice(values);
        change(values)?;
        for (token, (value, before)) in values.iter_mut().zip(spared).enumerate() {
            if *before == f32::NEG_INFINITY {
                *value = f32::NEG_INFINITY;
            } else if value.is_nan() || *value == f32::INFINITY {
                return Err(format!("gave token {token} the logit {value}"));
            }
        }
        Ok(())
    }

    /// Recomputes the maxima of the touched chunks.
    pub(crate) fn settle(&mut self) -> Result<(), NotAScore> {
        if !self.is_edited {
            return Ok(());
        }
        let RowBuffers {
            overlay,
            is_touched,
            maxima,
            ..
        } = &mut *self.buffers;
        let mut is_clean = true;
        for (index, _) in is_touched
            .iter()
            .enumerate()
            .filter(|(_, touched)| **touched)
        {
            let start = index * CHUNK;
            let end = (start + CHUNK).min(self.model.len());
            let (maximum, chunk_is_clean) = chunk_maximum(&overlay[start..end]);
            maxima[index] = maximum;
            is_clean &= chunk_is_clean;
        }
        if is_clean { Ok(()) } else { Err(NotAScore) }
    }

    /// Drops all edits.
    pub(crate) fn reset(&mut self) {
        if !self.is_edited {
            return;
        }
        for index in 0..self.buffers.is_touched.len() {
            if self.buffers.is_touched[index] {
                self.buffers.is_touched[index] = false;
                self.buffers.maxima[index] = chunk_maximum(self.chunk(index)).0;
            }
        }
        self.is_edited = false;
    }

    /// The first token in the total order, unless all are banned.
    pub(crate) fn argmax(&self) -> Option<(TokenId, f32)> {
        let best = largest(&self.buffers.maxima);
        if best == f32::NEG_INFINITY {
            return None;
        }
        let index = self
            .buffers
            .maxima
            .iter()
            .position(|&maximum| maximum == best)?;
        let offset = self.chunk(index).iter().position(|&value| value == best)?;
        Some(((index * CHUNK + offset) as TokenId, best))
    }
}

/// A value without NaN and +inf, and with `ban` for -inf.
pub(crate) fn valid(value: f32, ban: f32) -> f32 {
    if value.is_nan() {
        0.0
    } else if value == f32::NEG_INFINITY {
        ban
    } else {
        value.min(f32::MAX)
    }
}

/// Lanes of the passes over a row: wide enough for any vector unit the compiler may use.
const WIDTH: usize = 16;

/// The maximum of every chunk of a row, -inf for a chunk of bans, and the check that all values are scores.
pub(crate) fn scan(row: &[f32], maxima: &mut Vec<f32>) -> Result<(), NotAScore> {
    let (chunks, rest) = row.as_chunks::<CHUNK>();
    let mut nan = [0; WIDTH];
    maxima.clear();
    maxima.extend(
        chunks
            .iter()
            .map(|chunk| whole_chunk_maximum(chunk, &mut nan)),
    );
    let mut is_clean = nan.iter().all(|&lane| lane == 0);
    if !rest.is_empty() {
        let (maximum, rest_is_clean) = chunk_maximum(rest);
        maxima.push(maximum);
        is_clean &= rest_is_clean;
    }
    // NaN never becomes a maximum, +inf always does.
    if is_clean && largest(maxima) < f32::INFINITY {
        Ok(())
    } else {
        Err(NotAScore)
    }
}

/// Largest value of a chunk, and whether it is free of NaN and +inf.
fn chunk_maximum(chunk: &[f32]) -> (f32, bool) {
    let maximum = largest(chunk);
    (
        maximum,
        maximum < f32::INFINITY && !chunk.iter().any(|value| value.is_nan()),
    )
}

/// Largest value of a whole chunk; `nan` collects where a lane met NaN.
#[inline(always)]
fn whole_chunk_maximum(chunk: &[f32; CHUNK], nan: &mut [u32; WIDTH]) -> f32 {
    let mut maxima = [f32::NEG_INFINITY; WIDTH];
    let (pairs, _) = chunk.as_chunks::<{ 2 * WIDTH }>();
    for pair in pairs {
        let (left, right) = pair.split_at(WIDTH);
        for lane in 0..WIDTH {
            let (a, b) = (left[lane], right[lane]);
            // One comparison finds a NaN in either.
            nan[lane] |= u32::from(a.partial_cmp(&b).is_none());
            let larger = if a > maxima[lane] { a } else { maxima[lane] };
            maxima[lane] = if b > larger { b } else { larger };
        }
    }
    largest_lane(maxima)
}

/// Largest value, NaN left out; -inf for none.
pub(crate) fn largest(values: &[f32]) -> f32 {
    let (blocks, rest) = values.as_chunks::<WIDTH>();
    let mut maxima = [f32::NEG_INFINITY; WIDTH];
    for block in blocks {
        for (maximum, &value) in maxima.iter_mut().zip(block) {
            *maximum = if value > *maximum { value } else { *maximum };
        }
    }
    rest.iter().fold(largest_lane(maxima), |maximum, &value| {
        if value > maximum { value } else { maximum }
    })
}

/// By halves, so that the comparisons do not wait for each other.
#[inline(always)]
fn largest_lane(mut lanes: [f32; WIDTH]) -> f32 {
    let mut width = WIDTH / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = if lanes[lane + width] > lanes[lane] {
                lanes[lane + width]
            } else {
                lanes[lane]
            };
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(len: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7919) % 1000) as f32 / 100.0 - 5.0)
            .collect()
    }

    fn read(row: &Row<'_>) -> Vec<f32> {
        (0..row.maxima().len())
            .flat_map(|index| row.chunk(index))
            .copied()
            .collect()
    }

    #[test]
    fn argmax_is_the_first_of_the_largest_values() {
        for len in [1, 5, 63, 64, 65, 1000] {
            let values = model(len);
            let mut buffers = RowBuffers::default();
            let row = Row::new(&values, &mut buffers).unwrap();
            let mut best = 0;
            for token in 0..len {
                if values[token] > values[best] {
                    best = token;
                }
            }
            assert_eq!(row.argmax(), Some((best as u32, values[best])));
        }
    }

    #[test]
    fn nan_and_plus_infinity_are_found_at_every_place() {
        for len in [1, 64, 100] {
            for place in 0..len {
                for bad in [f32::NAN, -f32::NAN, f32::INFINITY] {
                    let mut values = model(len);
                    values[place] = bad;
                    assert!(
                        Row::new(&values, &mut RowBuffers::default()).is_err(),
                        "{bad} at {place} of {len}"
                    );
                }
                let mut values = model(len);
                values[place] = f32::NEG_INFINITY;
                assert!(Row::new(&values, &mut RowBuffers::default()).is_ok());
            }
        }
    }

    #[test]
    fn edits_are_seen_and_undone_and_the_model_row_stays() {
        let values = model(200);
        let mut buffers = RowBuffers::default();
        let mut row = Row::new(&values, &mut buffers).unwrap();
        let before = row.argmax();
        row.edit(70, |value| value + 100.0);
        row.edit(199, |_| f32::NEG_INFINITY);
        row.settle().unwrap();
        assert_eq!(row.argmax(), Some((70, values[70] + 100.0)));
        assert_eq!(read(&row)[199], f32::NEG_INFINITY);
        assert_eq!(read(&row)[198], values[198]);
        row.reset();
        assert_eq!(row.argmax(), before);
        assert_eq!(read(&row), values);
        row.edit(3, |_| f32::INFINITY);
        assert!(row.settle().is_err());
    }

    #[test]
    fn a_banned_row_has_no_argmax() {
        let values = [f32::NEG_INFINITY; 130];
        assert_eq!(
            Row::new(&values, &mut RowBuffers::default())
                .unwrap()
                .argmax(),
            None
        );
    }
}
