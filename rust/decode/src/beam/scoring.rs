//! What the row of a step brings to the candidates: log-softmax, the processors of the beam's own sampler, the
//! warpers and the noise where beams are drawn, and the sums. One row at a time, so that a search holds one.

use tokenmill_core::noise::{Noise, Purpose};
use tokenmill_core::{NamedPipeline, TokenId, TokenLogprobs};

use super::gather::{Norm, Start, gather_row, gather_scores, log_softmax};
use super::group::Beam;
use super::rules::Rules;
use super::top::{Sum, Top};
use crate::error::{Error, Result};
use crate::pipeline::Step;
use crate::row::Row;
use crate::scratch::Scratch;
use crate::source::Mixed;

/// The candidates of a group while its rows come.
#[derive(Debug)]
pub(super) struct Scoring<'a> {
    pub(super) rules: &'a Rules,
    /// Output tokens with the one that comes.
    pub(super) len: usize,
    /// What earlier groups took in this step, and what that costs.
    pub(super) taken: &'a [(TokenId, f32)],
    pub(super) top: Top,
    /// What is reported of a sum, until it is known whether it is among the first.
    pub(super) reports: Vec<(u32, TokenId, TokenLogprobs)>,
    /// Soft bans that were lifted.
    pub(super) lifted: &'a mut Vec<Step>,
}

impl Scoring<'_> {
    /// Meets what the row of `beams` brings; all of them have the sampler of the first. `number`: of the first one
    /// in the whole search. A row that allows no token brings nothing.
    pub(super) fn meet(
        &mut self,
        beams: &[Beam],
        number: u32,
        mixed: Mixed<'_>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let logits = mixed.scores;
        let Some(sampler) = beams.first().map(|beam| &beam.sampler) else {
            return Ok(());
        };
        let position = sampler.prefix_len() as u32;
        self.check(logits)?;
        sampler.check_mask(mixed.mask)?;
        log_softmax(logits, self.ban(), &mut scratch.beam)
            .map_err(|_| Error::BrokenLogits { position })?;
        let mut row = Row::unchecked(&scratch.beam.logprobs, &mut scratch.row);
        row.set_mask(mixed.mask);
        let (best, lifted) = match sampler.process(&mut row, self.taken) {
            Err(Error::NoTokenAllowed { .. }) => return Ok(()),
            processed => processed?,
        };
        for step in lifted {
            if !self.lifted.contains(&step) {
                self.lifted.push(step);
            }
        }
        let is_renormalised = self.rules.params.renormalize_logits;
        let report = sampler.report_as_added();
        if !self.rules.is_sampled() {
            let norm = if is_renormalised {
                Norm::of_row(&row, best.1)
            } else {
                Norm::Shift(0.0)
            };
            for (beam, number) in beams.iter().zip(number..) {
                let start = Start::new(number, beam.score, norm);
                gather_row(&row, start, &mut self.top, &mut scratch.beam.maxima);
                if let Some(report) = report {
                    let of = |sum: &Sum| report.of_row(&row, sum.token, &mut scratch.report);
                    note(&mut self.top, number, of, &mut self.reports);
                }
            }
            return Ok(());
        }
        let scores = sampler.warp(&row, best, &mut scratch.warp);
        let norm = if is_renormalised {
            Norm::of_scores(&scores)
        } else {
            Norm::Shift(scores.shift())
        };
        for (beam, number) in beams.iter().zip(number..) {
            let start = Start::new(number, beam.score, norm);
            let noise = Noise::new(self.rules.seed, position, number, Purpose::Beam);
            gather_scores(&scores, start, &noise, &mut self.top);
            if let Some(report) = report {
                let of = |sum: &Sum| report.of_scores(&scores, sum.token, &mut scratch.report);
                note(&mut self.top, number, of, &mut self.reports);
            }
        }
        Ok(())
    }

    fn check(&self, logits: &[f32]) -> Result<()> {
        let (got, expected) = (logits.len(), self.rules.vocab_len);
        if got == expected {
            Ok(())
        } else {
            Err(Error::RowLength { got, expected })
        }
    }

    /// What stands for a ban in a row that is cleaned of invalid values; none: it is not cleaned.
    fn ban(&self) -> Option<f32> {
        let params = &self.rules.params;
        let is_hf = params.pipeline.meaning() == NamedPipeline::Hf;
        let ban = if is_hf { f32::MIN } else { f32::NEG_INFINITY };
        params.remove_invalid_values.then_some(ban)
    }
}

/// Notes what is reported of the sums of a beam that are among the first so far.
fn note(
    top: &mut Top,
    number: u32,
    mut report: impl FnMut(&Sum) -> TokenLogprobs,
    reports: &mut Vec<(u32, TokenId, TokenLogprobs)>,
) {
    let own = top.first().iter().filter(|sum| sum.beam == number);
    reports.extend(own.map(|sum| (number, sum.token, report(sum))));
}
