//! Searches that transformers ran over the same model, recorded by tests/models/make_beam_fixtures.py: outputs token
//! for token, scores within 1e-5. Where two outputs' scores are within 1e-6 either order counts as right, and is
//! counted: float32 sums of another order decide there.

use tokenmill_core::{
    Beams, EarlyStopping, LengthDecay, NamedPipeline, PipelineChoice, SamplingParams, TokenId,
};

use crate::model::hashed;
use crate::search::{Setting, beams, params};

const ROWS: &str = include_str!("transformers.tsv");

struct Row<'a> {
    fields: Vec<&'a str>,
}

impl Row<'_> {
    fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, field: usize) -> T {
        self.fields[field].parse().unwrap()
    }

    fn ids(&self, field: usize) -> Vec<TokenId> {
        let ids = self.fields[field].split_whitespace();
        ids.map(|id| id.parse().unwrap()).collect()
    }

    fn params(&self) -> SamplingParams {
        let mut asked = params(Beams {
            num_return_sequences: Some(self.number(6)),
            early_stopping: match self.fields[8] {
                "False" => EarlyStopping::False,
                "True" => EarlyStopping::True,
                _ => EarlyStopping::Never,
            },
            ..beams(self.number(5), self.number(7))
        });
        asked.pipeline = PipelineChoice::Named(NamedPipeline::Hf);
        for named in self.fields[9].split_whitespace() {
            let (name, value) = named.split_once('=').unwrap();
            set(&mut asked, name, value);
        }
        asked
    }

    /// Outputs with their scores, the best first.
    fn outputs(&self) -> Vec<(Vec<TokenId>, f64)> {
        let output = |field: &&str| {
            let mut tokens: Vec<&str> = field.split_whitespace().collect();
            let score = tokens.pop().unwrap().parse().unwrap();
            let tokens = tokens.iter().map(|token| token.parse().unwrap());
            (tokens.collect(), score)
        };
        self.fields[10..].iter().map(output).collect()
    }
}

fn set(asked: &mut SamplingParams, name: &str, value: &str) {
    let lists = || -> Vec<Vec<&str>> {
        let lists = value.split(';').map(|list| list.split(',').collect());
        lists.collect()
    };
    let ids = |ids: &[&str]| -> Vec<TokenId> { ids.iter().map(|id| id.parse().unwrap()).collect() };
    let number = || value.parse::<f32>().unwrap();
    let count = || value.parse::<u32>().unwrap();
    let flat = || {
        lists()
            .iter()
            .flat_map(|list| ids(list))
            .collect::<Vec<_>>()
    };
    match name {
        "repetition_penalty" => asked.repetition_penalty = number(),
        "encoder_repetition_penalty" => asked.encoder_repetition_penalty = number(),
        "no_repeat_ngram_size" => asked.no_repeat_ngram_size = count(),
        "min_length" => asked.min_length = count(),
        "min_new_tokens" => asked.min_tokens = count(),
        "renormalize_logits" => asked.renormalize_logits = value == "True",
        "suppress_tokens" => asked.suppress_tokens = flat(),
        "begin_suppress_tokens" => asked.begin_suppress_tokens = flat(),
        "forced_eos_token_id" => asked.forced_eos_token_id = Some(flat()),
        "bad_words_ids" => asked.bad_words_ids = lists().iter().map(|list| ids(list)).collect(),
        "sequence_bias" => {
            let biased = |list: &Vec<&str>| {
                let (bias, tokens) = list.split_last().unwrap();
                (ids(tokens), bias.parse().unwrap())
            };
            asked.sequence_bias = lists().iter().map(biased).collect();
        }
        "exponential_decay_length_penalty" => {
            let (start, factor) = value.split_once(';').unwrap();
            asked.exponential_decay_length_penalty = Some(LengthDecay {
                start: start.parse().unwrap(),
                factor: factor.parse().unwrap(),
            });
        }
        other => panic!("{other} is not known here"),
    }
}

/// Whether two lists are equal but for outputs that lie within 1e-6 of each other.
fn is_near_tie(own: &[(Vec<TokenId>, f64)], theirs: &[(Vec<TokenId>, f64)]) -> bool {
    own.len() == theirs.len()
        && own
            .iter()
            .zip(theirs)
            .all(|((tokens, score), (other, expected))| {
                tokens == other || (score - expected).abs() <= 1e-6
            })
}

#[test]
fn every_recorded_search_finds_what_transformers_finds() {
    let (mut searches, mut near_ties, mut worst) = (0, 0, 0.0_f64);
    for line in ROWS.lines() {
        let row = Row {
            fields: line.split('\t').collect(),
        };
        let (seed, vocab_len) = (row.number(0), row.number(1));
        let model = |prefix: &[TokenId]| hashed(prefix, vocab_len, seed);
        let ends = row.ids(2);
        let mut setting = Setting::new(&model, vocab_len, &ends, row.number(4));
        setting.prompt = row.ids(3);
        let found = setting.run(&row.params()).hypotheses;
        let own = found
            .into_iter()
            .map(|found| (found.tokens, f64::from(found.score)));
        let own: Vec<_> = own.collect();
        let theirs = row.outputs();
        let is_equal = own
            .iter()
            .map(|(tokens, _)| tokens)
            .eq(theirs.iter().map(|(tokens, _)| tokens));
        assert!(
            is_equal || is_near_tie(&own, &theirs),
            "{line}\nfound {own:?}"
        );
        near_ties += usize::from(!is_equal);
        for ((_, score), (_, expected)) in own.iter().zip(&theirs) {
            worst = worst.max((score - expected).abs());
        }
        searches += 1;
    }
    assert!(worst < 1e-5, "scores differ by {worst}");
    assert_eq!((searches, near_ties), (720, 0));
}
