//! The backend as a whole, on tiny random programs with every option of every operation: against an oracle in
//! f64, and against itself (a row never depends on company, chunks, blocks, threads or level).

mod invariance;
mod limits;
mod oracle;
mod parity;
mod plan;
mod programs;
mod runner;
