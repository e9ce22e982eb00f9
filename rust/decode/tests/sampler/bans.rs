//! Bans: what is lifted, what is not, and the order.

use tokenmill_core::SamplingParams;
use tokenmill_core::{HasKind, Kind};
use tokenmill_decode::{Error, Step};

use crate::rows::{Prefix, p7};

fn greedy() -> SamplingParams {
    SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    }
}

#[test]
fn no_repeat_ngram_bans_the_fixture_tokens() {
    let prefix = Prefix {
        prompt: vec![7, 8, 7],
        output: vec![8, 7],
        ..Prefix::default()
    };
    let mut row = vec![0.0_f32; 10];
    row[8] = 3.0;
    row[7] = 2.0;
    row[5] = 1.0;
    for (size, expected) in [(1, 5), (2, 7), (3, 7), (6, 8)] {
        let params = SamplingParams {
            no_repeat_ngram_size: size,
            ..greedy()
        };
        assert_eq!(
            prefix.choose(&params, &row).unwrap().token,
            expected,
            "n = {size}"
        );
    }
}

#[test]
fn min_tokens_bans_ends_and_stop_ids_until_enough_are_generated() {
    let params = SamplingParams {
        min_tokens: 2,
        stop_token_ids: vec![1],
        ignore_eos: true,
        ..greedy()
    };
    let mut prefix = Prefix {
        eos: vec![0],
        prompt: vec![4; 9],
        ..Prefix::default()
    };
    for expected in [2, 2, 0] {
        assert_eq!(prefix.choose(&params, &p7()).unwrap().token, expected);
        prefix.output.push(6);
    }
}

#[test]
fn a_vocabulary_banned_by_bias_ends_with_no_token_allowed() {
    let params = SamplingParams {
        logit_bias: (0..7).map(|id| (id, -100.0)).collect(),
        ..greedy()
    };
    let error = Prefix::seeded(0, 3).choose(&params, &p7()).unwrap_err();
    assert_eq!(error, Error::NoTokenAllowed { position: 3 });
    assert_eq!(
        (error.kind(), error.code()),
        (Kind::InvalidRequest, Some("no_token_allowed"))
    );
}

#[test]
fn a_row_that_is_all_minus_infinity_allows_no_token() {
    for params in [greedy(), SamplingParams::default()] {
        let result = Prefix::default().choose(&params, &[f32::NEG_INFINITY; 70]);
        assert_eq!(result, Err(Error::NoTokenAllowed { position: 0 }));
    }
}

#[test]
fn soft_bans_that_leave_nothing_are_lifted_one_after_another_and_told() {
    // Token 2 is the end; bigrams ban 0 and 1 after 0.
    let prefix = Prefix {
        eos: vec![2],
        prompt: vec![0, 1, 0, 0],
        ..Prefix::default()
    };
    let row = [0.5, 1.0, 2.0];
    let both = SamplingParams {
        no_repeat_ngram_size: 2,
        min_tokens: 5,
        ..greedy()
    };
    let choice = prefix.choose(&both, &row).unwrap();
    assert_eq!(
        (choice.token, choice.lifted.as_slice()),
        (1, &[Step::NoRepeatNgram][..])
    );

    let hard = SamplingParams {
        logit_bias: vec![(0, -100.0), (1, -100.0)],
        ..both.clone()
    };
    let choice = prefix.choose(&hard, &row).unwrap();
    assert_eq!(
        (choice.token, choice.lifted.as_slice()),
        (2, &[Step::NoRepeatNgram, Step::MinTokens][..])
    );

    let ends = SamplingParams {
        logit_bias: vec![(0, -100.0), (1, -100.0)],
        min_tokens: 5,
        ..greedy()
    };
    let choice = prefix.choose(&ends, &row).unwrap();
    assert_eq!(
        (choice.token, choice.lifted.as_slice()),
        (2, &[Step::MinTokens][..])
    );

    let none = SamplingParams {
        logit_bias: (0..3).map(|id| (id, -100.0)).collect(),
        ..both.clone()
    };
    assert_eq!(
        prefix.choose(&none, &row),
        Err(Error::NoTokenAllowed { position: 4 })
    );

    let some_left = Prefix {
        eos: vec![2],
        prompt: vec![0, 1, 0],
        ..Prefix::default()
    };
    assert!(some_left.choose(&both, &row).unwrap().lifted.is_empty());
}

#[test]
fn a_banned_token_is_never_drawn() {
    let params = SamplingParams {
        logit_bias: vec![(0, -100.0), (3, -100.0)],
        temperature: 50.0,
        ..SamplingParams::default()
    };
    for position in 0..2_000 {
        let token = Prefix::seeded(5, position)
            .choose(&params, &p7())
            .unwrap()
            .token;
        assert!(token != 0 && token != 3);
    }
}
