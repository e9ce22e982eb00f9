//! From what a request asks to a compiled grammar: looked up, or built on a thread of its own within the bounds,
//! checked for a text to exist, and kept.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use llguidance::earley::CGrammar;
use llguidance::{Matcher, TokenParser};
use rustc_hash::FxHashMap;
use tokenmill_core::{Limits, StructuredOutputs};

use super::cache::{Bounds, Cache};
use super::matcher::{GrammarMatcher, shortened};
use super::source::{self, SourceLimits};
use super::trie::Walkable;
use super::worker::{Absence, Workers};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// What a compiled grammar holds at least, and for each byte of its text, besides the lexer that counts itself.
const GRAMMAR_BYTES: usize = 64 << 10;
const SOURCE_FACTOR: usize = 64;

/// A compiled grammar: where every matcher of it begins.
pub struct Grammar {
    template: Mutex<Matcher>,
    first: Option<Arc<[u32]>>,
    /// What may come first.
    mask: Vec<u32>,
    bytes: usize,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Grammar {
    /// A matcher before the first token, with a lexer of its own: what another one has met changes nothing here.
    pub fn matcher(&self) -> GrammarMatcher {
        let template = self.template.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = Some(self.mask.clone());
        GrammarMatcher::new(template.deep_clone(), self.first.clone(), mask)
    }

    /// Bytes it holds, estimated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Compiles grammars for one vocabulary.
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    vocab_len: usize,
    eos: Vec<u32>,
    limits: SourceLimits,
    time_max: Duration,
    bounds: Bounds,
    walkable: OnceLock<Result<Arc<Walkable>>>,
    cache: Mutex<Cache>,
    workers: Workers,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars")
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

impl Grammars {
    /// For rows of `vocab_len` logits of which `eos` end a text. Nothing is built before it is asked for.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        vocab_len: usize,
        eos: Vec<u32>,
        limits: &Limits,
    ) -> Self {
        Self {
            tokenizer,
            vocab_len,
            eos,
            limits: SourceLimits {
                depth_max: limits.schema_depth_max,
                properties_max: limits.schema_properties_max,
            },
            time_max: Duration::from_millis(limits.grammar_compile_max_ms),
            bounds: Bounds {
                len_max: limits.grammar_cache_len_max,
                max_bytes: limits.grammar_cache_max_bytes,
            },
            walkable: OnceLock::new(),
            cache: Mutex::default(),
            workers: Workers::new(),
        }
    }

    /// The grammar of `asked`. Waits for at most the bound of time; the first call of all reads the vocabulary, too.
    pub fn compile(&self, asked: &StructuredOutputs) -> Result<Arc<Grammar>> {
        if let Some(known) = self.locked().get(asked) {
            return Ok(known);
        }
        let walkable = self
            .walkable
            .get_or_init(|| Walkable::new(&self.tokenizer, self.vocab_len, &self.eos).map(Arc::new))
            .clone()?;
        let (given, limits) = (asked.clone(), self.limits);
        let work = move || built(&walkable, &given, &limits);
        let refused = |problem: String| Error::BadField {
            param: asked.constraint.path(),
            problem: shortened(&problem),
        };
        let result = self.workers.run(self.time_max, work);
        let grammar = match result {
            Ok(built) => Arc::new(built.map_err(refused)?),
            Err(Absence::Busy) => return Err(Error::GrammarsBusy),
            Err(Absence::Late) => {
                let ms = self.time_max.as_millis();
                return Err(refused(format!("takes more than {ms} ms to compile")));
            }
            Err(Absence::Broken) => {
                return Err(refused("the grammar's compiler failed on it".into()));
            }
        };
        let mut cache = self.locked();
        cache.put(asked.clone(), grammar.clone(), self.bounds);
        Ok(grammar)
    }

    /// Grammars that are kept, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        self.locked().held()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiles, and looks whether there is any text at all.
fn built(
    walkable: &Walkable,
    asked: &StructuredOutputs,
    limits: &SourceLimits,
) -> std::result::Result<Grammar, String> {
    let top = source::grammar(asked, limits, walkable.first.is_some())?;
    let mut parser = walkable
        .factory
        .create_parser(top)
        .map_err(|error| shortened(&error.to_string()))?;
    if let Some(warning) = parser.grammar_warnings().first() {
        return Err(shortened(warning));
    }
    check(parser.parser.grammar())?;
    let first: Option<Arc<[u32]>> = walkable.first.as_deref().map(Into::into);
    // A clone shares its lexer, so that the template has met the beginning already.
    let mut probe = GrammarMatcher::new(Matcher::new(Ok(parser.clone())), first.clone(), None);
    let mask = probe.mask()?.to_vec();
    if mask.iter().all(|&word| word == 0) {
        return Err("allows no text that a token of this model begins".into());
    }
    Ok(Grammar {
        bytes: bytes_of(&parser, asked),
        template: Mutex::new(Matcher::new(Ok(parser))),
        first,
        mask,
    })
}

fn bytes_of(parser: &TokenParser, asked: &StructuredOutputs) -> usize {
    use tokenmill_core::OutputConstraint::{Choice, Grammar, Json, Regex, StructuralTag};
    let source_len = match &asked.constraint {
        Json(text) | Regex(text) | Grammar(text) | StructuralTag(text) => text.len(),
        Choice(texts) => texts.iter().map(String::len).sum(),
        _ => 0,
    };
    parser.parser.lexer_stats().num_bytes + GRAMMAR_BYTES + SOURCE_FACTOR * source_len
}

/// Refuses a grammar that never ends, and what it says of sampling, which is the request's.
fn check(grammar: &CGrammar) -> std::result::Result<(), String> {
    let mut symbols = vec![grammar.start()];
    let mut ends = FxHashMap::from_iter([(grammar.start().as_index(), false)]);
    let mut next = 0;
    while let Some(&symbol) = symbols.get(next) {
        next += 1;
        if grammar.sym_data(symbol).props.temperature != 0.0 {
            return Err("temperature is an option of the request, not of a grammar".into());
        }
        for &rule in grammar.rules_of(symbol) {
            for &part in grammar.rule_rhs(rule).0 {
                if ends.insert(part.as_index(), false).is_none() {
                    symbols.push(part);
                }
            }
        }
    }
    // A symbol has a text if it is a lexeme or empty, or if all parts of one of its rules have one.
    let mut has_changed = true;
    while has_changed {
        has_changed = false;
        for &symbol in &symbols {
            if ends[&symbol.as_index()] {
                continue;
            }
            let data = grammar.sym_data(symbol);
            let has_text = |rule| {
                let (parts, ..) = grammar.rule_rhs(rule);
                parts.iter().all(|part| ends[&part.as_index()])
            };
            let is_leaf = data.is_terminal || data.is_nullable || !data.cond_nullable.is_empty();
            if is_leaf || data.rules.iter().any(|&rule| has_text(rule)) {
                ends.insert(symbol.as_index(), true);
                has_changed = true;
            }
        }
    }
    if ends[&grammar.start().as_index()] {
        return Ok(());
    }
    Err("allows no text: every way through it goes on for ever".into())
}
