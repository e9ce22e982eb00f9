//! Checked readers of weight files for Tokenmill: safetensors, GGUF, configs, quantisation blocks.
