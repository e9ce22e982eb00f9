//! Rows of the cuts beside count, mass and share: by surprise, entropy and spread, and those that move by
//! themselves.

use super::{float, float_above, int, nullable, read, row, shown};
use crate::option::kind::OptionType;
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::MirostatVariant;

/// What stays of a distribution.
pub(in crate::option) const ROWS: &[OptionSpec] = &[
    row(
        "typical_p",
        float_above(0.0, 1.0),
        "keep the tokens nearest to the expected surprise that have this mass; 1: off",
        |params, value| read(value).map(|share| params.typical_p = share),
        |params| shown(params.typical_p),
    ),
    row(
        "epsilon_cutoff",
        float(0.0, BELOW_ONE),
        "drop tokens less likely than this, but never the best; 0: off",
        |params, value| read(value).map(|cutoff| params.epsilon_cutoff = cutoff),
        |params| shown(params.epsilon_cutoff),
    ),
    row(
        "eta_cutoff",
        float(0.0, BELOW_ONE),
        "the same with a bound that sinks as the entropy grows; 0: off",
        |params, value| read(value).map(|cutoff| params.eta_cutoff = cutoff),
        |params| shown(params.eta_cutoff),
    ),
    nullable(row(
        "top_h",
        float_above(0.0, 1.0),
        "keep the best tokens up to this share of the entropy of the hundred best; none: off",
        |params, value| {
            params.top_h = read(value);
            Some(())
        },
        |params| params.top_h.map_or(Value::Null, shown),
    )),
    row(
        "top_n_sigma",
        float(-1.0, 1000.0),
        "keep logits within so many standard deviations of the best; 0 and below: off",
        |params, value| read(value).map(|deviations| params.top_n_sigma = deviations),
        |params| shown(params.top_n_sigma),
    ),
    row(
        "xtc_probability",
        float(0.0, 1.0),
        "how often the likeliest tokens are left out; 0: off",
        |params, value| read(value).map(|probability| params.xtc.probability = probability),
        |params| shown(params.xtc.probability),
    ),
    row(
        "xtc_threshold",
        float(0.0, 1.0),
        "of the tokens at least this likely xtc leaves out all but the last; above 0.5: none",
        |params, value| read(value).map(|threshold| params.xtc.threshold = threshold),
        |params| shown(params.xtc.threshold),
    ),
    row(
        "dynatemp_range",
        float(0.0, 100.0),
        "how far the temperature moves with the entropy, down and up; 0: off",
        |params, value| read(value).map(|range| params.dynatemp_range = range),
        |params| shown(params.dynatemp_range),
    ),
    row(
        "dynatemp_exponent",
        float(0.0, 100.0),
        "power of the relative entropy that moves the temperature",
        |params, value| read(value).map(|exponent| params.dynatemp_exponent = exponent),
        |params| shown(params.dynatemp_exponent),
    ),
    row(
        "mirostat",
        int(0, 2),
        "a cut that moves towards a wanted surprise, version 1 or 2; 0: off",
        |params, value| {
            value
                .as_u32()
                .map(|version| params.mirostat.version = version)
        },
        |params| Value::Int(params.mirostat.version.into()),
    ),
    row(
        "mirostat_tau",
        float(0.0, 100.0),
        "the surprise mirostat wants, in bits; of the authors' variant 3, if it is not given",
        |params, value| read(value).map(|tau| params.mirostat.tau = tau),
        |params| shown(params.mirostat.tau),
    ),
    row(
        "mirostat_eta",
        float(0.0, 100.0),
        "how fast the cut of mirostat moves; of the authors' variant 1, if it is not given",
        |params, value| read(value).map(|eta| params.mirostat.eta = eta),
        |params| shown(params.mirostat.eta),
    ),
    row(
        "mirostat_variant",
        OptionType::Choice(&MirostatVariant::NAMES),
        "whose constants mirostat has",
        |params, value| {
            MirostatVariant::from_name(value.as_text()?)
                .map(|variant| params.mirostat.variant = variant)
        },
        |params| Value::Text(params.mirostat.variant.name().into()),
    ),
    nullable(row(
        "adaptive_target",
        float(0.0, 1.0),
        "the probability that drawn tokens shall have; none: off",
        |params, value| {
            params.adaptive.target = read(value);
            Some(())
        },
        |params| params.adaptive.target.map_or(Value::Null, shown),
    )),
    row(
        "adaptive_decay",
        float(0.0, 0.99_f32 as f64),
        "how slowly adaptive_target forgets drawn tokens",
        |params, value| read(value).map(|decay| params.adaptive.decay = decay),
        |params| shown(params.adaptive.decay),
    ),
];

/// The largest f32 below 1.
const BELOW_ONE: f64 = 1.0_f32.next_down() as f64;
