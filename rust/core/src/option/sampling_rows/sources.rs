//! Rows of what reads a second row of logits, and of contrastive search: guidance, contrastive decoding, `DoLa`.

use super::{float, nullable, read, read_ids, row, shown, shown_optional_ids};
use crate::option::kind::{IdList, OptionType};
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::{Contrastive, ContrastiveMode, Divergence, DolaLayers};

/// Where scores come from, beside the model's own row.
pub(in crate::option) const ROWS: &[OptionSpec] = &[
    row(
        "guidance_scale",
        float(0.0, 100.0),
        "how far scores move away from those without the prompt; 1: off",
        |params, value| read(value).map(|scale| params.guidance.scale = scale),
        |params| shown(params.guidance.scale),
    ),
    nullable(row(
        "negative_prompt",
        OptionType::Text,
        "the prompt that guidance_scale moves away from; none: the last token of the prompt",
        |params, value| {
            params.guidance.negative_prompt = value.as_text().map(str::to_owned);
            Some(())
        },
        |params| {
            let text = params.guidance.negative_prompt.as_ref();
            text.map_or(Value::Null, |text| Value::Text(text.clone()))
        },
    )),
    nullable(row(
        "negative_prompt_token_ids",
        OptionType::TokenIds(IdList::Prompt),
        "the same as token ids",
        |params, value| {
            params.guidance.negative_prompt_token_ids = match value {
                Value::Null => None,
                _ => Some(read_prompt(value)?),
            };
            Some(())
        },
        |params| shown_optional_ids(params.guidance.negative_prompt_token_ids.as_deref()),
    )),
    nullable(row(
        "contrastive",
        OptionType::Contrastive,
        "prefer what the model likes better than the engine's amateur_model does",
        |params, value| {
            params.contrastive = match value {
                Value::Null => None,
                _ => Some(read_contrastive(value)?),
            };
            Some(())
        },
        |params| {
            let contrastive = params.contrastive.as_ref();
            contrastive.map_or(Value::Null, shown_contrastive)
        },
    )),
    nullable(row(
        "dola_layers",
        OptionType::Layers,
        "prefer what the last layer likes better than the one of these that differs most from it",
        |params, value| {
            params.dola.layers = match value {
                Value::Null => None,
                _ => Some(read_layers(value)?),
            };
            Some(())
        },
        |params| {
            params
                .dola
                .layers
                .as_ref()
                .map_or(Value::Null, shown_layers)
        },
    )),
    row(
        "dola_divergence",
        OptionType::Choice(&Divergence::NAMES),
        "by which dola_layers chooses: Jensen and Shannon's, or what the authors' code computes",
        |params, value| {
            Divergence::from_name(value.as_text()?)
                .map(|divergence| params.dola.divergence = divergence)
        },
        |params| Value::Text(params.dola.divergence.name().into()),
    ),
    row(
        "penalty_alpha",
        float(0.0, 1.0),
        "contrastive search: weight against probability of what a candidate of top_k resembles; 0: off",
        |params, value| read(value).map(|alpha| params.penalty_alpha = alpha),
        |params| shown(params.penalty_alpha),
    ),
];

/// A prompt keeps its repeated tokens.
fn read_prompt(value: &Value) -> Option<Vec<u32>> {
    value.as_list()?.iter().map(Value::as_u32).collect()
}

/// Of a checked value, whose keys are known.
fn read_contrastive(value: &Value) -> Option<Contrastive> {
    let Value::Map(pairs) = value else {
        return None;
    };
    let mut contrastive = Contrastive::default();
    for (key, value) in pairs {
        match key.as_text()? {
            "amateur" => contrastive.amateur = Some(value.as_text()?.to_owned()),
            "mode" => contrastive.mode = ContrastiveMode::from_name(value.as_text()?)?,
            "alpha" => contrastive.alpha = read(value)?,
            "lambda" => contrastive.lambda = read(value)?,
            "beta" => contrastive.beta = read(value)?,
            "temperature" => contrastive.temperature = read(value)?,
            _ => return None,
        }
    }
    Some(contrastive)
}

fn shown_contrastive(contrastive: &Contrastive) -> Value {
    let (weight, value) = match contrastive.mode {
        ContrastiveMode::Difference => ("lambda", contrastive.lambda),
        ContrastiveMode::Scaled => ("beta", contrastive.beta),
    };
    let amateur = contrastive.amateur.iter();
    let mut pairs: Vec<(&str, Value)> = amateur
        .map(|name| ("amateur", Value::Text(name.clone())))
        .collect();
    pairs.extend([
        ("mode", Value::Text(contrastive.mode.name().into())),
        ("alpha", shown(contrastive.alpha)),
        (weight, shown(value)),
        ("temperature", shown(contrastive.temperature)),
    ]);
    let named = |(key, value): (&str, Value)| (Value::Text(key.into()), value);
    Value::Map(pairs.into_iter().map(named).collect())
}

/// Ascending, each once: their order says nothing.
fn read_layers(value: &Value) -> Option<DolaLayers> {
    match value.as_text() {
        Some("low") => Some(DolaLayers::Low),
        Some("high") => Some(DolaLayers::High),
        Some(_) => None,
        None => {
            let mut listed = read_ids(value)?;
            listed.sort_unstable();
            Some(DolaLayers::Listed(listed))
        }
    }
}

fn shown_layers(layers: &DolaLayers) -> Value {
    match layers {
        DolaLayers::Low => Value::Text("low".into()),
        DolaLayers::High => Value::Text("high".into()),
        DolaLayers::Listed(listed) => super::shown_ids(listed),
    }
}
