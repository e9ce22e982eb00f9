//! Processors that a caller brings: declared ones, which every door can send, and callables, which only a program in
//! the same process has. Owns what they are and where a declared one acts; refuses to know rows and languages.
//! Invariant: what a processor does is a function of the prefix and the row.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::id::TokenId;

/// One step of `logits_processors`; they run in the order of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Processor {
    /// Says what it does.
    Declared(Edit),
    /// Is called.
    Callable(Callable),
}

/// What is done to some tokens, where.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// What is done.
    pub action: Action,
    /// To these tokens.
    pub tokens: Vec<TokenId>,
    /// And to those whose text holds this.
    pub matching: Option<String>,
    /// What the engine's tokenizer makes of `matching`. No option.
    pub matched: Arc<[TokenId]>,
    /// From this output token on, counted from 0.
    pub from: u32,
    /// Before this one; absent: to the end.
    pub to: Option<u32>,
    /// Only behind one of these tokens; empty: anywhere.
    pub after: Vec<TokenId>,
}

/// What is done to a logit. A banned one stays banned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Adds to it.
    Bias(f32),
    /// Bans the token.
    Ban,
    /// Multiplies it by a number above 0.
    Scale(f32),
    /// Keeps it between two numbers.
    Clamp {
        /// The smaller one.
        min: f32,
        /// The larger one.
        max: f32,
    },
}

impl Action {
    /// The public names.
    pub const NAMES: [&'static str; 4] = ["bias", "ban", "scale", "clamp"];

    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bias(_) => Self::NAMES[0],
            Self::Ban => Self::NAMES[1],
            Self::Scale(_) => Self::NAMES[2],
            Self::Clamp { .. } => Self::NAMES[3],
        }
    }

    /// What becomes of a logit.
    pub fn of(self, logit: f32) -> f32 {
        if logit == f32::NEG_INFINITY {
            return logit;
        }
        match self {
            Self::Bias(bias) => logit + bias,
            Self::Ban => f32::NEG_INFINITY,
            Self::Scale(factor) => logit * factor,
            Self::Clamp { min, max } => logit.max(min).min(max),
        }
    }
}

impl Edit {
    /// Whether it acts on the token after `tokens`, of which `generated` are of the output.
    pub fn acts(&self, tokens: &[TokenId], generated: u32) -> bool {
        let is_behind = |last: &TokenId| self.after.contains(last);
        let is_there = self.after.is_empty() || tokens.last().is_some_and(is_behind);
        is_there && generated >= self.from && self.to.is_none_or(|to| generated < to)
    }
}

/// What a program gives to be called for every token. It must be a function of its arguments: the engine may call it
/// again for the same place, in another order, and for a prefix that never becomes an output.
pub trait Callback: fmt::Debug + Send + Sync {
    /// What messages call it.
    fn name(&self) -> String;

    /// Changes a row of logits, one for each token of the vocabulary. The error ends the request.
    fn process(
        &self,
        prompt: &[TokenId],
        output: &[TokenId],
        row: &mut [f32],
    ) -> Result<(), String>;

    /// The only tokens that may come next. The error ends the request.
    fn allowed(&self, prompt: &[TokenId], output: &[TokenId]) -> Result<Vec<TokenId>, String>;

    /// Itself, for the door that made it.
    fn as_any(&self) -> &dyn Any;
}

/// A shared callback; two are equal if they are the same one.
#[derive(Clone, Debug)]
pub struct Callable(pub Arc<dyn Callback>);

impl PartialEq for Callable {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_acts_between_its_places_and_behind_its_tokens() {
        let edit = Edit {
            action: Action::Ban,
            tokens: vec![1],
            matching: None,
            matched: Arc::default(),
            from: 1,
            to: Some(3),
            after: vec![7, 8],
        };
        assert!(edit.acts(&[5, 7], 1) && edit.acts(&[8], 2));
        assert!(!edit.acts(&[5, 7], 0) && !edit.acts(&[5, 7], 3));
        assert!(!edit.acts(&[7, 5], 1) && !edit.acts(&[], 1));
        let anywhere = Edit {
            after: Vec::new(),
            ..edit
        };
        assert!(anywhere.acts(&[5], 2));
    }

    #[test]
    fn a_banned_token_stays_banned_whatever_is_done() {
        for action in [
            Action::Bias(1e30),
            Action::Scale(0.5),
            Action::Clamp {
                min: -1.0,
                max: 1.0,
            },
        ] {
            assert_eq!(action.of(f32::NEG_INFINITY), f32::NEG_INFINITY);
        }
        let clamp = Action::Clamp {
            min: -1.0,
            max: 1.0,
        };
        assert_eq!(
            [clamp.of(5.0), clamp.of(-5.0), clamp.of(0.5)],
            [1.0, -1.0, 0.5]
        );
        assert_eq!(Action::Scale(2.0).of(-3.0), -6.0);
    }
}
