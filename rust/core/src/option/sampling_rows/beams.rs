//! Rows of beam search: how many beams, how they are weighed, when the search ends, what it returns.

use super::{float, nullable, optional_int, read, row, shown};
use crate::option::kind::OptionType;
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::{EarlyStopping, LengthPenaltyKind};

/// The likeliest outputs instead of one draw after another.
pub(in crate::option) const ROWS: &[OptionSpec] = &[
    nullable(row(
        "beam_width",
        OptionType::Beams,
        "search for the likeliest outputs with so many beams; with a temperature they are drawn, and where nobody gives one it is 0; log-probs are those after penalties and bans; none: no beam search",
        |params, value| {
            params.beams.width = value.as_u32();
            Some(())
        },
        |params| optional_int(params.beams.width),
    )),
    row(
        "length_penalty",
        float(-5.0, 5.0),
        "the sum of a beam's log-probabilities is divided by its length to this power: above 0 favours long outputs",
        |params, value| {
            value
                .as_f64()
                .map(|penalty| params.beams.length_penalty = penalty)
        },
        |params| Value::Float(params.beams.length_penalty),
    ),
    row(
        "length_penalty_kind",
        OptionType::Choice(&LengthPenaltyKind::NAMES),
        "what that is the power of: the length, or (5 + length) / 6",
        |params, value| {
            LengthPenaltyKind::from_name(value.as_text()?)
                .map(|kind| params.beams.length_penalty_kind = kind)
        },
        |params| Value::Text(params.beams.length_penalty_kind.name().into()),
    ),
    row(
        "early_stopping",
        OptionType::EarlyStopping,
        "end the search as soon as it has as many outputs as beams; false: when the best beam does not beat the worst of them as long as it is now; never: at any length",
        |params, value| {
            params.beams.early_stopping = match value {
                Value::Bool(false) => EarlyStopping::False,
                Value::Bool(true) => EarlyStopping::True,
                Value::Text(_) => EarlyStopping::Never,
                _ => return None,
            };
            Some(())
        },
        |params| match params.beams.early_stopping {
            EarlyStopping::False => Value::Bool(false),
            EarlyStopping::True => Value::Bool(true),
            EarlyStopping::Never => Value::Text("never".into()),
        },
    ),
    nullable(row(
        "num_return_sequences",
        OptionType::Beams,
        "outputs of a beam search, the best first; none: as many as beams",
        |params, value| {
            params.beams.num_return_sequences = value.as_u32();
            Some(())
        },
        |params| optional_int(params.beams.num_return_sequences),
    )),
    row(
        "num_beam_groups",
        OptionType::Beams,
        "groups of beams that search one after another and avoid what those before them took",
        |params, value| {
            value
                .as_u32()
                .map(|groups| params.beams.num_beam_groups = groups)
        },
        |params| Value::Int(params.beams.num_beam_groups.into()),
    ),
    row(
        "diversity_penalty",
        float(0.0, 100.0),
        "subtracted from a token once for every beam of an earlier group that took it at the same place",
        |params, value| read(value).map(|penalty| params.beams.diversity_penalty = penalty),
        |params| shown(params.beams.diversity_penalty),
    ),
];
