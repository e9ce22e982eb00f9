//! Processors that a caller brings: one that says what it does, and one that is called.

use std::any::Any;
use std::sync::Arc;

use tokenmill_core::{Action, Callable, Callback, Edit, Processor, TokenId};

/// Leans away from whatever the sequence holds, by how far back it stands.
#[derive(Debug)]
struct Away;

impl Callback for Away {
    fn name(&self) -> String {
        "away".into()
    }

    fn process(
        &self,
        prompt: &[TokenId],
        output: &[TokenId],
        row: &mut [f32],
    ) -> Result<(), String> {
        for (back, &token) in output.iter().rev().chain(prompt.iter().rev()).enumerate() {
            row[token as usize] -= 1.0 / (1.0 + back as f32);
        }
        Ok(())
    }

    fn allowed(&self, prompt: &[TokenId], output: &[TokenId]) -> Result<Vec<TokenId>, String> {
        let parity = (prompt.len() + output.len()) as TokenId % 2;
        Ok((1..180).filter(|token| token % 2 == parity).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

pub fn callable() -> Callable {
    Callable(Arc::new(Away))
}

/// Declared ones around a callable.
pub fn processors(token: TokenId) -> Vec<Processor> {
    let edit = |action, from, to, after: &[TokenId]| {
        Processor::Declared(Edit {
            action,
            tokens: vec![token, token + 1],
            matching: None,
            matched: Arc::default(),
            from,
            to,
            after: after.to_vec(),
        })
    };
    vec![
        edit(Action::Bias(1.5), 1, None, &[]),
        Processor::Callable(callable()),
        edit(Action::Scale(0.5), 0, Some(4), &[]),
        edit(Action::Ban, 0, None, &[token]),
    ]
}
