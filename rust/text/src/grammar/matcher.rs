//! One sequence's place in its grammar: the tokens that may come next, as bits, and the step to the one that came.
//! A clone costs nothing until one of the two moves on, so beams fork freely; a clone shares the grammar's lexer.

use std::sync::Arc;

use llguidance::Matcher;
use llguidance::api::StopReason;

/// How long a message of the library may be in ours.
const REASON_CHARS_MAX: usize = 200;

/// A place in a grammar.
#[derive(Clone)]
pub struct GrammarMatcher {
    state: Arc<State>,
}

#[derive(Clone)]
struct State {
    matcher: Matcher,
    /// The answer of this place, once it was asked for.
    mask: Option<Vec<u32>>,
    /// What else the first token must be.
    first: Option<Arc<[u32]>>,
}

impl std::fmt::Debug for GrammarMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrammarMatcher")
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

impl GrammarMatcher {
    /// Before the first token; `mask` is the answer there, where it is known.
    pub(super) fn new(matcher: Matcher, first: Option<Arc<[u32]>>, mask: Option<Vec<u32>>) -> Self {
        Self {
            state: Arc::new(State {
                matcher,
                mask,
                first,
            }),
        }
    }

    /// The tokens that may come, a bit each; ends among them only where the text may end, and alone where it must.
    /// None at all where no token goes on with the text. Fails where a bound is met or the library breaks.
    pub fn mask(&mut self) -> Result<&[u32], String> {
        if self.state.mask.is_none() {
            let state = Arc::make_mut(&mut self.state);
            state.mask = Some(state.compute()?);
        }
        Ok(self.state.mask.as_deref().unwrap_or_default())
    }

    /// Goes on with the token that came. One that may not come leaves a place without a mask.
    pub fn advance(&mut self, token: u32) {
        let state = Arc::make_mut(&mut self.state);
        state.mask = None;
        state.first = None;
        // Behind the end there are only ends, as often as a caller wants them.
        let has_ended = state.matcher.is_stopped() && !state.matcher.is_error();
        if !has_ended {
            // What goes wrong is kept, and told by the next mask.
            let _ = state.matcher.consume_token(token);
        }
    }

    /// Whether nothing but the end may come.
    pub fn has_ended(&self) -> bool {
        let matcher = &self.state.matcher;
        matcher.is_stopped() && !matcher.is_error()
    }
}

impl State {
    fn compute(&mut self) -> Result<Vec<u32>, String> {
        let allowed = match self.matcher.compute_mask_or_eos() {
            Ok(allowed) => allowed.as_slice().to_vec(),
            // The text can go on, and no token does.
            Err(error) if error.to_string().starts_with(&no_token()) => Vec::new(),
            Err(error) => return Err(shortened(&error.to_string())),
        };
        let Some(first) = &self.first else {
            return Ok(allowed);
        };
        let both = allowed.iter().zip(first.iter());
        Ok(both.map(|(allowed, first)| allowed & first).collect())
    }
}

/// How the library says that no token is left.
fn no_token() -> String {
    StopReason::NoExtensionBias.to_string()
}

/// The library's message as ours: one line of bounded length, without what it adds for its developers.
pub(super) fn shortened(message: &str) -> String {
    if message.starts_with("panic") {
        return "the grammar's compiler failed on it".to_owned();
    }
    let mut lines = message.lines();
    let mut text = lines.next().unwrap_or_default().trim().to_owned();
    // What is wrong with a pattern stands below a drawing of the place.
    if let Some(what) = lines.find_map(|line| line.trim().strip_prefix("error: ")) {
        text = format!("{} {what}", text.trim_end_matches(' '));
    }
    let is_plain = |letter: &char| !letter.is_control();
    text = text
        .chars()
        .filter(is_plain)
        .take(REASON_CHARS_MAX)
        .collect();
    if text.is_empty() {
        text.push_str("the grammar's compiler gave no reason");
    }
    text
}
