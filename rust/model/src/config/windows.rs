//! Which layers look through a sliding window and which rotate by what, by the architecture's rule and the
//! configuration's keys.

use super::{CONTEXT, Reader, unsupported};
use crate::architecture::{RotationRule, WindowRule, keys};
use crate::error::Result;
use crate::fields::{Key, Value, quote};

/// Window in configs of Gemma and Qwen that want one and do not say which.
const WINDOW_DEFAULT: usize = 4096;
/// Every n-th layer of SmolLM3 does not rotate.
const ROPE_PERIOD: usize = 4;
/// First layer with a window in Qwen configs that do not say.
const WINDOW_LAYERS_DEFAULT: usize = 28;

impl Reader<'_> {
    /// The window of each of `len` layers.
    pub(super) fn windows(&self, len: usize) -> Result<Vec<Option<usize>>> {
        match self.architecture.window {
            WindowRule::Uniform { default } => {
                let default = default.filter(|_| !self.has_null_window());
                Ok(vec![self.stated_window()?.or(default); len])
            }
            WindowRule::GgufOnly if self.fields.is_gguf() => Ok(vec![self.stated_window()?; len]),
            WindowRule::IfUsed => Ok(vec![self.used_window()?; len]),
            WindowRule::UpperLayers => self.upper_windows(len),
            WindowRule::Pattern { every } => self.pattern_windows(len, every),
            WindowRule::GgufOnly | WindowRule::Never => Ok(vec![None; len]),
        }
    }

    /// The rotation of each layer, given its window.
    pub(super) fn rotations(&self, windows: &[Option<usize>]) -> Result<Vec<Option<usize>>> {
        if self.architecture.first_position.is_some() {
            return Ok(vec![None; windows.len()]);
        }
        match self.architecture.rotation {
            RotationRule::All => Ok(vec![Some(0); windows.len()]),
            RotationRule::LocalBase => {
                let index = |window: &Option<usize>| Some(usize::from(window.is_some()));
                Ok(windows.iter().map(index).collect())
            }
            RotationRule::Marked => self.marked_rotations(windows.len()),
        }
    }

    fn marked_rotations(&self, len: usize) -> Result<Vec<Option<usize>>> {
        let marks = self
            .fields
            .counts(Key::new("no_rope_layers", ""), len, 0..=1)?;
        let every = Key::new("no_rope_layer_interval", "");
        let every = self.fields.count(every, 1..=4096)?.unwrap_or(ROPE_PERIOD);
        let has_rope = |index: usize| match &marks {
            Some(marks) => marks[index] == 1,
            None => !(index + 1).is_multiple_of(every),
        };
        Ok((0..len).map(|index| has_rope(index).then_some(0)).collect())
    }

    fn pattern_windows(&self, len: usize, every: usize) -> Result<Vec<Option<usize>>> {
        if self.has_null_window() {
            return Ok(vec![None; len]);
        }
        let window = self.fields.count(keys::WINDOW, CONTEXT)?;
        let window = window.unwrap_or(WINDOW_DEFAULT);
        if let Some(kinds) = self.layer_types(len)? {
            return Ok(kinds
                .into_iter()
                .map(|is_local| is_local.then_some(window))
                .collect());
        }
        let pattern = Key::new("sliding_window_pattern", "attention.sliding_window_pattern");
        let every = self.fields.count(pattern, 1..=4096)?.unwrap_or(every);
        let is_local = |index: usize| !(index + 1).is_multiple_of(every);
        Ok((0..len)
            .map(|index| is_local(index).then_some(window))
            .collect())
    }

    /// The window that the file gives. A GGUF file says 0 for none.
    fn stated_window(&self) -> Result<Option<usize>> {
        if self.fields.is_gguf() && self.fields.count(keys::WINDOW, 0..=*CONTEXT.end())? == Some(0)
        {
            return Ok(None);
        }
        self.fields.count(keys::WINDOW, CONTEXT)
    }

    /// A `null` says "none" where an absent key means the architecture's default.
    fn has_null_window(&self) -> bool {
        self.fields.has_null(keys::WINDOW)
    }

    /// The window of layers that have one, if the configuration uses windows. GGUF files cannot say.
    fn used_window(&self) -> Result<Option<usize>> {
        let fields = &self.fields;
        if fields.is_gguf() {
            return match fields.value(keys::WINDOW) {
                None => Ok(None),
                Some(_) => Err(unsupported(fields.name(keys::WINDOW))),
            };
        }
        if fields.flag(Key::new("use_sliding_window", ""))? != Some(true) {
            return Ok(None);
        }
        let default = (!self.has_null_window()).then_some(WINDOW_DEFAULT);
        Ok(fields.count(keys::WINDOW, CONTEXT)?.or(default))
    }

    fn upper_windows(&self, len: usize) -> Result<Vec<Option<usize>>> {
        let fields = &self.fields;
        let Some(window) = self.used_window()? else {
            return Ok(vec![None; len]);
        };
        let first = fields.count(Key::new("max_window_layers", ""), 0..=4096)?;
        let first = first.unwrap_or(WINDOW_LAYERS_DEFAULT);
        let is_local = match self.layer_types(len)? {
            Some(kinds) => kinds,
            None => (0..len).map(|index| index >= first).collect(),
        };
        Ok(is_local
            .into_iter()
            .map(|is_local| is_local.then_some(window))
            .collect())
    }

    /// Whether each layer has a window, where the file lists their kinds.
    fn layer_types(&self, len: usize) -> Result<Option<Vec<bool>>> {
        let fields = &self.fields;
        let key = Key::new("layer_types", "");
        let Some(kinds) = fields.value(key) else {
            return Ok(None);
        };
        let Value::List(kinds) = kinds else {
            return Err(fields.error(key, "a list of strings", &kinds.to_string()));
        };
        if kinds.len() != len {
            let expected = format!("a list of {len} strings");
            return Err(fields.error(key, &expected, &format!("a list of {}", kinds.len())));
        }
        let is_local = |kind: &Value<'_>| match kind {
            Value::Text("full_attention") => Ok(false),
            Value::Text("sliding_attention") => Ok(true),
            other => Err(unsupported(format!(
                "layer_types {}",
                quote(&other.to_string())
            ))),
        };
        kinds.iter().map(is_local).collect::<Result<_>>().map(Some)
    }
}
