//! Compiled grammars by what asked for them: bounded in number and bytes, the one not used for longest goes first.

use std::sync::Arc;

use tokenmill_core::StructuredOutputs;

use super::compile::Grammar;

#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The one used last stands last.
    entries: Vec<(StructuredOutputs, Arc<Grammar>)>,
    bytes: usize,
}

/// Most entries and most bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) len_max: usize,
    pub(super) max_bytes: usize,
}

impl Cache {
    /// The grammar of a request, if it is here.
    pub(super) fn get(&mut self, asked: &StructuredOutputs) -> Option<Arc<Grammar>> {
        let place = self.entries.iter().position(|(known, _)| known == asked)?;
        let entry = self.entries.remove(place);
        let grammar = entry.1.clone();
        self.entries.push(entry);
        Some(grammar)
    }

    /// Keeps a grammar as long as there is room.
    pub(super) fn put(&mut self, asked: StructuredOutputs, grammar: Arc<Grammar>, bounds: Bounds) {
        // Two threads may have compiled the same.
        if self.entries.iter().any(|(known, _)| *known == asked) {
            return;
        }
        self.bytes += grammar.bytes();
        self.entries.push((asked, grammar));
        while self.entries.len() > bounds.len_max || self.bytes > bounds.max_bytes {
            let (_, oldest) = self.entries.remove(0);
            self.bytes -= oldest.bytes();
        }
    }

    /// Grammars and their bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}
