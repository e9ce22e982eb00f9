//! The one way from a request's rows to the scores that its sampler starts from. Owns the memory of mixed rows, and
//! what becomes of NaN: an error, or under `remove_invalid_values` the number that replaces it, before rows are mixed.

use tokenmill_core::{Divergence, SamplingParams};

use super::contrastive::contrast;
use super::dola::Comparison;
use super::guidance::guide;
use crate::error::{Error, Result};
use crate::row::{NotAScore, valid};

/// What a step of one sequence starts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed<'a> {
    /// The model's own row, of which raw log-probs are reported.
    pub model: &'a [f32],
    /// The scores that processors and the draw act on; the model's own row where there is no second one.
    pub scores: &'a [f32],
    /// One bit for each token that the request's grammar allows, where it has one.
    pub mask: Option<&'a [u32]>,
    /// The row that was mixed in, where it is still there.
    pub other: Option<&'a [f32]>,
}

impl<'a> Mixed<'a> {
    /// Of a request without a second row.
    pub const fn plain(model: &'a [f32]) -> Self {
        Self {
            model,
            scores: model,
            mask: None,
            other: None,
        }
    }

    /// The same of a request with a grammar.
    #[must_use]
    pub const fn within(mut self, mask: Option<&'a [u32]>) -> Self {
        self.mask = mask;
        self
    }
}

/// Memory of mixed rows, kept between steps.
#[derive(Debug, Default)]
pub struct MixBuffers {
    mixed: Vec<f32>,
    clean: [Vec<f32>; 2],
    comparison: Comparison,
}

impl MixBuffers {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The scores of a request under guidance or contrastive decoding, from the model's own row and the other one: that
/// without the prompt, or the amateur's. `position`: of the token to be drawn, for errors. For a request with neither
/// the scores are the model's.
pub fn mix<'a>(
    params: &SamplingParams,
    (model, other): (&'a [f32], &'a [f32]),
    position: u32,
    buffers: &'a mut MixBuffers,
) -> Result<Mixed<'a>> {
    check_length(model, other)?;
    let MixBuffers { mixed, clean, .. } = buffers;
    let [clean_model, clean_other] = clean;
    let is_cleaned = params.remove_invalid_values;
    let rows = (
        cleaned(model, is_cleaned, clean_model),
        cleaned(other, is_cleaned, clean_other),
    );
    let outcome = if let Some(rule) = &params.contrastive {
        contrast(rows, rule, mixed)
    } else if params.guidance.scale != 1.0 {
        guide(rows, params.guidance.scale, mixed)
    } else {
        return Ok(Mixed::plain(model));
    };
    settled(outcome, mixed, position)?;
    Ok(Mixed {
        model,
        scores: mixed,
        mask: None,
        other: Some(other),
    })
}

/// The scores of a request under `DoLa`, from the model's own row and those of early layers, one after another.
#[derive(Debug)]
pub struct DolaMixer<'a> {
    buffers: &'a mut MixBuffers,
    by: Divergence,
    is_cleaned: bool,
    position: u32,
}

impl<'a> DolaMixer<'a> {
    /// Begins with the model's own row, which is copied.
    pub fn begin(
        params: &SamplingParams,
        model: &[f32],
        position: u32,
        buffers: &'a mut MixBuffers,
    ) -> Result<Self> {
        let is_cleaned = params.remove_invalid_values;
        let row = cleaned(model, is_cleaned, &mut buffers.clean[0]);
        let begun = buffers.comparison.begin(row);
        begun.map_err(|_| Error::BrokenLogits { position })?;
        // The own row is reported as the model gave it.
        buffers.clean[0].clear();
        buffers.clean[0].extend_from_slice(model);
        Ok(Self {
            buffers,
            by: params.dola.divergence,
            is_cleaned,
            position,
        })
    }

    /// Meets an early layer's row.
    pub fn meet(&mut self, early: &[f32]) -> Result<()> {
        let position = self.position;
        let MixBuffers {
            clean, comparison, ..
        } = &mut *self.buffers;
        check_length(comparison.last(), early)?;
        let row = cleaned(early, self.is_cleaned, &mut clean[1]);
        let met = comparison.meet(row, self.by);
        met.map_err(|_| Error::BrokenLogits { position })
    }

    /// Meets the last layer's own row as a candidate: it differs from itself by nothing.
    pub fn meet_last(&mut self) -> Result<()> {
        let last = self.buffers.comparison.last().to_vec();
        self.meet(&last)
    }

    /// The scores.
    pub fn finish(self) -> Result<Mixed<'a>> {
        let MixBuffers {
            mixed,
            clean,
            comparison,
        } = self.buffers;
        settled(comparison.finish(mixed), mixed, self.position)?;
        Ok(Mixed {
            model: &clean[0],
            scores: mixed,
            mask: None,
            other: Some(comparison.early()),
        })
    }
}

fn check_length(model: &[f32], other: &[f32]) -> Result<()> {
    if model.len() == other.len() {
        return Ok(());
    }
    Err(Error::RowLength {
        got: other.len(),
        expected: model.len(),
    })
}

fn cleaned<'r>(row: &'r [f32], is_cleaned: bool, clean: &'r mut Vec<f32>) -> &'r [f32] {
    if !is_cleaned {
        return row;
    }
    clean.clear();
    clean.extend(row.iter().map(|&value| valid(value, f32::NEG_INFINITY)));
    clean
}

/// Rows of numbers can be mixed into one that leaves the range of f32.
fn settled(
    outcome: std::result::Result<(), NotAScore>,
    mixed: &[f32],
    position: u32,
) -> Result<()> {
    outcome.map_err(|_| Error::BrokenLogits { position })?;
    let is_score = |score: &f32| *score < f32::INFINITY;
    if mixed.iter().all(is_score) {
        Ok(())
    } else {
        Err(Error::ScoreOverflow { position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenmill_core::{Contrastive, Guidance};

    fn guided(scale: f32, remove_invalid_values: bool) -> SamplingParams {
        SamplingParams {
            guidance: Guidance {
                scale,
                ..Guidance::default()
            },
            remove_invalid_values,
            ..SamplingParams::default()
        }
    }

    #[test]
    fn a_request_without_a_second_row_keeps_the_models() {
        let mut buffers = MixBuffers::new();
        let rows: (&[f32], &[f32]) = (&[1.0, f32::NAN], &[0.0, 0.0]);
        let mixed = mix(&guided(1.0, false), rows, 3, &mut buffers).unwrap();
        assert!(std::ptr::eq(mixed.scores, mixed.model) && std::ptr::eq(mixed.model, rows.0));
    }

    #[test]
    fn nan_in_either_row_ends_the_request_unless_it_is_replaced() {
        let (good, bad) = ([0.5_f32, 1.0, 2.0], [0.5, f32::NAN, f32::INFINITY]);
        let contrastive = SamplingParams {
            contrastive: Some(Contrastive::default()),
            ..SamplingParams::default()
        };
        for params in [guided(2.0, false), contrastive] {
            for rows in [(&good, &bad), (&bad, &good)] {
                let mut buffers = MixBuffers::new();
                let mixed = mix(&params, (rows.0, rows.1), 7, &mut buffers);
                assert_eq!(mixed.err(), Some(Error::BrokenLogits { position: 7 }));
                let params = SamplingParams {
                    remove_invalid_values: true,
                    ..params.clone()
                };
                let mixed = mix(&params, (rows.0, rows.1), 7, &mut buffers);
                if let Ok(mixed) = mixed {
                    assert!(mixed.scores.iter().all(|score| !score.is_nan()));
                }
            }
        }
    }

    #[test]
    fn scores_beyond_f32_are_told_as_such() {
        let rows: (&[f32], &[f32]) = (&[0.0, -3e38], &[-3e38, 0.0]);
        let mut buffers = MixBuffers::new();
        let mixed = mix(&guided(100.0, false), rows, 1, &mut buffers);
        assert_eq!(mixed.err(), Some(Error::ScoreOverflow { position: 1 }));
    }

    #[test]
    fn rows_of_two_vocabularies_do_not_mix() {
        let mut buffers = MixBuffers::new();
        let mixed = mix(&guided(2.0, false), (&[0.0; 3], &[0.0; 2]), 0, &mut buffers);
        assert!(matches!(
            mixed,
            Err(Error::RowLength {
                got: 2,
                expected: 3
            })
        ));
    }

    #[test]
    fn dola_reports_the_models_own_row() {
        let mut buffers = MixBuffers::new();
        let params = SamplingParams {
            remove_invalid_values: true,
            ..SamplingParams::default()
        };
        let model = [1.0, f32::NAN, 0.5];
        let mut mixer = DolaMixer::begin(&params, &model, 4, &mut buffers).unwrap();
        mixer.meet(&[0.0, 0.0, 0.0]).unwrap();
        mixer.meet_last().unwrap();
        let mixed = mixer.finish().unwrap();
        assert!(mixed.model[1].is_nan() && mixed.scores.iter().all(|score| score.is_finite()));
        let strict = SamplingParams::default();
        let begun = DolaMixer::begin(&strict, &model, 4, &mut buffers);
        assert_eq!(begun.err(), Some(Error::BrokenLogits { position: 4 }));
        let mut mixer = DolaMixer::begin(&strict, &[0.0; 3], 4, &mut buffers).unwrap();
        assert_eq!(mixer.meet(&model), Err(Error::BrokenLogits { position: 4 }));
    }
}
