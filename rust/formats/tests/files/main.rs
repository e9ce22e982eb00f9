//! The readers through their public doors: hostile bytes, real files, blocks against their oracles. Numbers
//! in names are the cases of the list of bad inputs.

mod blocks;
mod default_file;
mod folders;
mod gguf_cases;
mod gguf_values;
mod json_cases;
mod make;
mod mutation;
mod refusal;
mod safetensors_cases;
mod safetensors_crate;
