//! Rows of what a caller brings or asks of a whole output: own processors, a bound on thinking, the prompt in the
//! text, the best of several samples.

use std::sync::Arc;

use super::{int, nullable, optional_int, read_ids, row, shown, shown_ids};
use crate::option::kind::{OptionType, PROCESSOR_KEYS};
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::{Action, Edit, Processor};

/// What is the caller's own.
pub(in crate::option) const ROWS: &[OptionSpec] = &[
    row(
        "logits_processors",
        OptionType::Processors,
        "own steps behind all processors: maps that bias, ban, scale or clamp the logits of tokens; in a program also callables, which must be functions of prefix and row",
        |params, value| {
            let processors = value.as_list()?.iter().map(read_processor);
            params.logits_processors = processors.collect::<Option<_>>()?;
            Some(())
        },
        |params| {
            let processors = params.logits_processors.iter().map(shown_processor);
            Value::List(processors.collect())
        },
    ),
    nullable(row(
        "prefix_allowed_tokens_fn",
        OptionType::Callable,
        "a callable that is given the sample's number and its tokens and gives the only tokens that may come; in a program alone",
        |params, value| {
            params.prefix_allowed_tokens_fn = match value {
                Value::Callable(callable) => Some(callable.clone()),
                _ => None,
            };
            Some(())
        },
        |params| {
            let callable = params.prefix_allowed_tokens_fn.clone();
            callable.map_or(Value::Null, Value::Callable)
        },
    )),
    nullable(row(
        "thinking_token_budget",
        int(-1, u32::MAX as i64),
        "tokens behind the beginning of the model's thinking after which its end is forced; -1 and none: off",
        |params, value| {
            params.thinking.budget = value.as_u32();
            Some(())
        },
        |params| optional_int(params.thinking.budget),
    )),
    row(
        "echo",
        OptionType::Bool,
        "begin the text with the prompt, and score the prompt where logprobs are asked for",
        |params, value| value.as_bool().map(|flag| params.echo = flag),
        |params| Value::Bool(params.echo),
    ),
    nullable(row(
        "best_of",
        OptionType::Samples,
        "samples drawn, of which the n with the highest log-prob per token are handed out, at the end; none: n",
        |params, value| {
            params.best_of = value.as_u32();
            Some(())
        },
        |params| optional_int(params.best_of),
    )),
];

fn read_processor(value: &Value) -> Option<Processor> {
    let pairs = match value {
        Value::Callable(callable) => return Some(Processor::Callable(callable.clone())),
        Value::Map(pairs) => pairs,
        _ => return None,
    };
    // Checked values stand in the order of the keys.
    let [kind, value, min, max, tokens, matching, from, to, after] =
        &*pairs.iter().map(|(_, value)| value).collect::<Vec<_>>()
    else {
        return None;
    };
    let number = |value: &Value| value.as_f64().map(|number| number as f32);
    let action = match kind.as_text()? {
        "bias" => Action::Bias(number(value)?),
        "ban" => Action::Ban,
        "scale" => Action::Scale(number(value)?),
        _ => Action::Clamp {
            min: number(min).unwrap_or(f32::MIN),
            max: number(max).unwrap_or(f32::MAX),
        },
    };
    Some(Processor::Declared(Edit {
        action,
        tokens: read_ids(tokens).unwrap_or_default(),
        matching: matching.as_text().map(str::to_owned),
        matched: Arc::default(),
        from: from.as_u32().unwrap_or(0),
        to: to.as_u32(),
        after: read_ids(after).unwrap_or_default(),
    }))
}

fn shown_processor(processor: &Processor) -> Value {
    let edit = match processor {
        Processor::Callable(callable) => return Value::Callable(callable.clone()),
        Processor::Declared(edit) => edit,
    };
    let value = match edit.action {
        Action::Bias(number) | Action::Scale(number) => shown(number),
        Action::Ban | Action::Clamp { .. } => Value::Null,
    };
    let bounds = match edit.action {
        Action::Clamp { min, max } => [(min, f32::MIN), (max, f32::MAX)].map(|(bound, none)| {
            if bound == none {
                Value::Null
            } else {
                shown(bound)
            }
        }),
        _ => [Value::Null, Value::Null],
    };
    let [min, max] = bounds;
    let listed = |ids: &[u32]| {
        if ids.is_empty() {
            Value::Null
        } else {
            shown_ids(ids)
        }
    };
    let text = |text: &String| Value::Text(text.clone());
    let values = [
        Value::Text(edit.action.name().into()),
        value,
        min,
        max,
        listed(&edit.tokens),
        edit.matching.as_ref().map_or(Value::Null, text),
        Value::Int(edit.from.into()),
        optional_int(edit.to),
        listed(&edit.after),
    ];
    let keys = PROCESSOR_KEYS.map(|key| Value::Text(key.into()));
    let pairs = keys.into_iter().zip(values);
    Value::Map(pairs.filter(|(_, value)| *value != Value::Null).collect())
}
