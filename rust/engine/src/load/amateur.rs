//! The weaker model beside the one that is served: opened, held against it, and loaded on a backend of its own. Two
//! models can be set against each other only where a token means the same to both.

use std::path::Path;

use tokenmill_core::option::EngineOptions;
use tokenmill_formats::Checkpoint;
use tokenmill_model::{Backend, Program, Weights};

use crate::error::{Error, Result};
use crate::load::choice::backend;
use crate::load::ledger::{Ledger, amateur_plan};
use crate::load::voice::Voice;

/// An amateur that was opened and not loaded.
pub(crate) struct Amateur {
    checkpoint: Checkpoint,
    program: Program,
    name: String,
}

/// A loaded amateur, as an engine takes it.
pub struct AmateurParts {
    /// Its backend, loaded with as many blocks as the model's.
    pub backend: Box<dyn Backend>,
    /// The name by which requests may mean it.
    pub name: String,
    /// Its longest sequence, in tokens.
    pub context_len: usize,
}

impl Amateur {
    /// The one that the options name, if they do. `context_len`: what will be served.
    pub fn open(options: &EngineOptions, context_len: usize) -> Result<Option<Self>> {
        let Some(name) = &options.amateur_model else {
            return Ok(None);
        };
        let named = |source| Error::OptionFile {
            option: "amateur_model",
            source,
        };
        let checkpoint = Checkpoint::open(Path::new(name)).map_err(named)?;
        let mut program = tokenmill_model::build(&checkpoint)?;
        program.serve_context(context_len.min(program.shape.context_len));
        Ok(Some(Self {
            checkpoint,
            program,
            name: name.clone(),
        }))
    }

    /// Its program, and the bytes of its weights in the file.
    pub fn price(&self) -> (&Program, u64) {
        (&self.program, self.checkpoint.weight_bytes())
    }

    /// Refuses one whose tokens are others than the model's.
    pub fn check(&self, program: &Program, voice: &Voice, options: &EngineOptions) -> Result<()> {
        let (own, other) = (program.shape.vocab_len, self.program.shape.vocab_len);
        if own != other {
            return Err(foreign(&format!(
                "its head has {other} rows, the model's has {own}"
            )));
        }
        let plain = EngineOptions {
            tokenizer: None,
            chat_template: None,
            ..options.clone()
        };
        let theirs = Voice::read(&self.checkpoint, &plain)?;
        match voice.lexicon.difference(&theirs.lexicon) {
            Some(difference) => Err(foreign(&difference)),
            None => Ok(()),
        }
    }

    /// Packs its weights and takes its memory.
    pub fn load(self, ledger: &mut Ledger, options: &EngineOptions) -> Result<AmateurParts> {
        let plan = amateur_plan(&self.program, &ledger.plan);
        let weights = Weights::new(&self.program, &self.checkpoint)?;
        let mut backend = backend(options)?;
        backend.load(&self.program, &weights, &plan)?;
        ledger.settle_amateur(backend.caps().weight_bytes);
        Ok(AmateurParts {
            backend,
            name: self.name,
            context_len: plan.context_len,
        })
    }
}

fn foreign(why: &str) -> Error {
    Error::Unsupported {
        what: "amateur_model",
        reason: format!("it must have the model's tokenizer and vocabulary: {why}"),
    }
}
