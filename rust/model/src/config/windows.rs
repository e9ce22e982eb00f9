//! Which layers look through a sliding window, by the architecture's rule and the configuration's keys.

use super::{CONTEXT, Reader, unsupported};
use crate::architecture::{WindowRule, keys};
use crate::error::Result;
use crate::fields::{Key, Value, quote};

/// First layer with a window in Qwen configs that do not say.
const WINDOW_LAYERS_DEFAULT: usize = 28;
/// Window in Qwen configs that want one and do not say which.
const WINDOW_DEFAULT: usize = 4096;

impl Reader<'_> {
    /// The window of each of `len` layers.
    pub(super) fn windows(&self, len: usize) -> Result<Vec<Option<usize>>> {
        match self.architecture.window {
            WindowRule::Uniform { default } => {
                let default = (!self.has_null_window()).then_some(default);
                let window = self.fields.count(keys::WINDOW, CONTEXT)?.or(default);
                Ok(vec![window; len])
            }
            WindowRule::GgufOnly if self.fields.is_gguf() => {
                Ok(vec![self.fields.count(keys::WINDOW, CONTEXT)?; len])
            }
            WindowRule::GgufOnly => Ok(vec![None; len]),
            WindowRule::UpperLayers => self.upper_windows(len),
        }
    }

    /// A `null` says "none" where an absent key means the architecture's default.
    fn has_null_window(&self) -> bool {
        self.fields.has_null(keys::WINDOW)
    }

    fn upper_windows(&self, len: usize) -> Result<Vec<Option<usize>>> {
        let fields = &self.fields;
        if fields.is_gguf() {
            return match fields.value(keys::WINDOW) {
                None => Ok(vec![None; len]),
                Some(_) => Err(unsupported(fields.name(keys::WINDOW))),
            };
        }
        if fields.flag(Key::new("use_sliding_window", ""))? != Some(true) {
            return Ok(vec![None; len]);
        }
        let default = (!self.has_null_window()).then_some(WINDOW_DEFAULT);
        let window = fields.count(keys::WINDOW, CONTEXT)?.or(default);
        let first = fields.count(Key::new("max_window_layers", ""), 0..=4096)?;
        let first = first.unwrap_or(WINDOW_LAYERS_DEFAULT);
        let key = Key::new("layer_types", "");
        let Some(kinds) = fields.value(key) else {
            return Ok((0..len)
                .map(|index| window.filter(|_| index >= first))
                .collect());
        };
        let Value::List(kinds) = kinds else {
            return Err(fields.error(key, "a list of strings", &kinds.to_string()));
        };
        if kinds.len() != len {
            let expected = format!("a list of {len} strings");
            return Err(fields.error(key, &expected, &format!("a list of {}", kinds.len())));
        }
        kinds
            .iter()
            .map(|kind| match kind {
                Value::Text("full_attention") => Ok(None),
                Value::Text("sliding_attention") => Ok(window),
                other => Err(unsupported(format!(
                    "layer_types {}",
                    quote(&other.to_string())
                ))),
            })
            .collect()
    }
}
