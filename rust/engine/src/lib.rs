//! The Tokenmill engine: submit, plan, run, sample, publish.
