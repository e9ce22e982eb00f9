//! What is fuzzed: one function a parser, one for the scheduler, one that must fail. A function takes any
//! bytes and either returns or panics; an error of the product is an answer, a panic is a finding. Two
//! programs run them: the fuzzer (`rust/fuzz`) and the ordinary test `tests/fuzz`.

mod canary;
mod chat_template;
mod config_json;
mod detokenise;
mod gguf_header;
mod grammar;
mod safetensors_header;
mod sched_trace;
#[path = "../../../text/tests/text/tiny.rs"]
#[allow(dead_code, reason = "another crate's tests use the rest")]
mod tiny;
mod tokenizer_json;
#[path = "../../../sched/tests/world/mod.rs"]
mod world;

/// One thing to fuzz.
pub struct Target {
    /// Its name: of the corpus folder too.
    pub name: &'static str,
    /// Takes any bytes; panics on a finding.
    pub run: fn(&[u8]),
    /// Longest input that makes sense.
    pub len_max: usize,
}

/// All of them; the canary last.
pub const TARGETS: [Target; 9] = [
    target("safetensors_header", safetensors_header::run, 4 << 10),
    target("gguf_header", gguf_header::run, 6 << 10),
    target("config_json", config_json::run, 4 << 10),
    target("tokenizer_json", tokenizer_json::run, 12 << 10),
    target("chat_template", chat_template::run, 4 << 10),
    target("grammar", grammar::run, 2 << 10),
    target("detokenise", detokenise::run, 512),
    target("sched_trace", sched_trace::run, 1 << 10),
    target("canary", canary::run, 64),
];

const fn target(name: &'static str, run: fn(&[u8]), len_max: usize) -> Target {
    Target { name, run, len_max }
}
