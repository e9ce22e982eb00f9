//! Memory that sampling needs and no request owns: one per thread that samples, reused for every row.

use crate::beam::BeamBuffers;
use crate::logprob::ReportBuffers;
use crate::row::RowBuffers;
use crate::warper::WarpBuffers;

/// Buffers that grow to the vocabulary once; afterwards a step allocates nothing but the log-probs it reports.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) row: RowBuffers,
    pub(crate) warp: WarpBuffers,
    pub(crate) report: ReportBuffers,
    pub(crate) beam: BeamBuffers,
}

impl Scratch {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }
}
