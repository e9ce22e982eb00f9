//! Streamed text against whole text, stop strings against a naive search.

use proptest::prelude::*;
use tokenmill_text::{Detokenizer, StopScanner, TextStream, Tokenizer, decode};

use crate::tiny::{byte_level, sentencepiece};

/// What transformers makes of byte-level tokens: all bytes in a row, replaced lossily.
fn naive_decode(tok: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    let bytes: Vec<u8> = ids
        .iter()
        .filter(|&&id| !(skip_special && tok.is_control(id)))
        .flat_map(|&id| tok.token_bytes(id).unwrap_or_default().to_vec())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// decoding.md section 8, word for word: of all matches that end after `min_bytes` the one that ends
/// first, then the first of the list.
fn naive_stop(text: &str, stops: &[String], min_bytes: usize) -> Option<(usize, usize)> {
    (min_bytes + 1..=text.len()).find_map(|end| {
        let index = stops
            .iter()
            .position(|stop| text.as_bytes()[..end].ends_with(stop.as_bytes()))?;
        Some((end, index))
    })
}

/// The longest suffix that is a proper prefix of a stop string.
fn naive_held(text: &str, stops: &[String]) -> usize {
    let is_prefix = |held: &str| {
        stops
            .iter()
            .any(|stop| stop.len() > held.len() && stop.starts_with(held))
    };
    (0..=text.len())
        .rev()
        .find(|&len| {
            text.is_char_boundary(text.len() - len) && is_prefix(&text[text.len() - len..])
        })
        .unwrap_or(0)
}

fn stops(list: &[&str]) -> Vec<String> {
    list.iter().map(|&stop| stop.to_owned()).collect()
}

fn push_all(
    stream: &mut TextStream,
    tok: &Tokenizer,
    text: &str,
) -> (String, Option<usize>, usize) {
    let mut out = String::new();
    for (count, byte) in text.bytes().enumerate() {
        let progress = stream.push(tok, u32::from(byte));
        out += &progress.text;
        if progress.stopped.is_some() {
            return (out, progress.stopped, count + 1);
        }
    }
    (out + &stream.finish(), None, text.len())
}

#[test]
fn a_split_code_point_is_held_back_until_it_is_whole() {
    let tok = byte_level();
    let mut detokenizer = Detokenizer::new(true);
    let mut out = String::new();
    for (byte, expected) in [
        (0xE4, ""),
        (0xBD, ""),
        (0xA0, "你"),
        (0xF0, "你"),
        (0x41, "你\u{FFFD}A"),
        (0xC3, "你\u{FFFD}A"),
    ] {
        detokenizer.push(tok, byte, &mut out);
        assert_eq!(out, expected);
    }
    detokenizer.finish(&mut out);
    assert_eq!(out, "你\u{FFFD}A\u{FFFD}");
    detokenizer.finish(&mut out);
    assert_eq!(out, "你\u{FFFD}A\u{FFFD}");
}

#[test]
fn byte_fallback_replaces_each_byte_at_the_end_of_the_text_only() {
    let tok = sentencepiece();
    let byte = |byte: u32| byte + 3;
    assert_eq!(
        decode(tok, &[byte(0xE4), byte(0xBD), byte(0xA0)], true),
        "你"
    );
    assert_eq!(
        decode(tok, &[byte(0xE4), byte(0xBD)], true),
        "\u{FFFD}\u{FFFD}"
    );
    let mut stream = TextStream::new(&[], false, true, 0);
    assert_eq!(stream.push(tok, byte(0xE4)).text, "");
    assert_eq!(stream.finish(), "\u{FFFD}");
}

#[test]
fn control_tokens_leave_no_text_unless_asked_for() {
    let tok = byte_level();
    let end = tok.id_of("<|end|>").unwrap();
    assert_eq!(
        decode(tok, &[u32::from(b'a'), end, u32::from(b'b')], true),
        "ab"
    );
    assert_eq!(
        decode(tok, &[u32::from(b'a'), end, u32::from(b'b')], false),
        "a<|end|>b"
    );
    // A skipped token does not break a code point; a shown one does.
    assert_eq!(decode(tok, &[0xC3, end, 0xA9], true), "é");
    assert_eq!(
        decode(tok, &[0xC3, end, 0xA9], false),
        "\u{FFFD}<|end|>\u{FFFD}"
    );
}

#[test]
fn the_stop_string_that_ends_first_wins_and_equal_ends_go_by_the_list() {
    let tok = byte_level();
    let run = |list: &[&str], text: &str| {
        push_all(
            &mut TextStream::new(&stops(list), false, true, 0),
            tok,
            text,
        )
    };
    assert_eq!(
        run(&["world", "lo w"], "hello world"),
        ("hel".to_owned(), Some(1), 7)
    );
    assert_eq!(run(&["bc", "abc"], "xabcd"), ("xa".to_owned(), Some(0), 4));
    assert_eq!(run(&["abc", "bc"], "xabcd"), ("x".to_owned(), Some(0), 4));
    assert_eq!(run(&["aab"], "aaab"), ("a".to_owned(), Some(0), 4));
    assert_eq!(run(&["zz"], "hello z"), ("hello z".to_owned(), None, 7));
}

#[test]
fn a_stop_string_inside_a_token_cuts_the_text_exactly_there() {
    let tok = byte_level();
    let hello = tok.id_of("hello").unwrap();
    for (include, expected) in [(false, "h"), (true, "hell")] {
        let mut stream = TextStream::new(&stops(&["ell"]), include, true, 0);
        let progress = stream.push(tok, hello);
        assert_eq!(
            (progress.text.as_str(), progress.stopped),
            (expected, Some(0))
        );
        assert_eq!(stream.push(tok, hello).text, "");
        assert_eq!(stream.finish(), "");
    }
}

#[test]
fn stop_strings_wait_for_the_minimum() {
    let tok = byte_level();
    let run = |min| {
        push_all(
            &mut TextStream::new(&stops(&["ab"]), false, true, min),
            tok,
            "abab",
        )
    };
    assert_eq!(run(0), (String::new(), Some(0), 2));
    assert_eq!(run(1), (String::new(), Some(0), 2));
    assert_eq!(run(2), ("ab".to_owned(), Some(0), 4));
    assert_eq!(run(4), ("abab".to_owned(), None, 4));
}

#[test]
fn text_is_held_no_longer_than_it_may_become_a_stop_string() {
    let tok = byte_level();
    let mut stream = TextStream::new(&stops(&["<end>"]), false, true, 0);
    let mut texts = Vec::new();
    for byte in "a<b<end".bytes() {
        texts.push(stream.push(tok, u32::from(byte)).text);
    }
    assert_eq!(texts, ["a", "", "<b", "", "", "", ""]);
    assert_eq!(stream.finish(), "<end");
}

/// Ids of bytes that split code points and stop strings in many ways.
fn ids() -> impl Strategy<Value = Vec<u32>> {
    let id = prop_oneof![
        4 => prop::sample::select(b"aab<|e ".to_vec()).prop_map(u32::from),
        2 => prop::sample::select(vec![0xE4, 0xBD, 0xA0, 0xC3, 0xA9, 0xF0, 0x9F, 0x98, 0x80, 0xFF]),
        1 => 0u32..280,
    ];
    prop::collection::vec(id, 0..40)
}

fn stop_lists() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(
        prop_oneof![
            "[ab]{1,4}",
            "[a<|e ]{1,5}",
            "[你éa]{1,3}",
            Just("\u{FFFD}a".to_owned())
        ],
        0..4,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streamed_text_is_the_whole_text(ids in ids(), skip: bool) {
        let tok = byte_level();
        let mut detokenizer = Detokenizer::new(skip);
        let mut streamed = String::new();
        for &id in &ids {
            let before = streamed.clone();
            detokenizer.push(tok, id, &mut streamed);
            prop_assert!(streamed.starts_with(&before));
        }
        detokenizer.finish(&mut streamed);
        prop_assert_eq!(&streamed, &naive_decode(tok, &ids, skip));
        prop_assert_eq!(streamed, decode(tok, &ids, skip));
    }

    #[test]
    fn streams_stop_where_a_naive_search_stops(
        ids in ids(), stops in stop_lists(), include: bool, min_tokens in 0usize..6
    ) {
        let tok = byte_level();
        let mut stream = TextStream::new(&stops, include, true, min_tokens);
        let mut emitted = String::new();
        let mut min_bytes = 0;
        let mut ended = None;
        // What the bytes so far have made of text; an unfinished code point is not text yet.
        let mut reference = Detokenizer::new(true);
        let mut so_far = String::new();
        for (count, &id) in ids.iter().enumerate() {
            reference.push(tok, id, &mut so_far);
            if count < min_tokens {
                min_bytes = so_far.len();
            }
            let progress = stream.push(tok, id);
            emitted += &progress.text;
            let expected = naive_stop(&so_far, &stops, min_bytes).filter(|_| count >= min_tokens);
            prop_assert_eq!(progress.stopped, expected.map(|(_, index)| index));
            if let Some((end, index)) = expected {
                let cut = if include { end } else { end - stops[index].len() };
                prop_assert_eq!(&emitted, &so_far[..cut]);
                ended = Some(index);
                break;
            }
            prop_assert_eq!(emitted.len(), so_far.len() - naive_held(&so_far, &stops));
        }
        emitted += &stream.finish();
        if ended.is_none() {
            prop_assert_eq!(emitted, decode(tok, &ids, true));
        }
    }

    #[test]
    fn a_scanner_finds_the_same_whatever_the_pieces(text in "[ab]{0,30}", cuts in prop::collection::vec(0usize..30, 0..6), stops in stop_lists()) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut scanner = StopScanner::new(&stops);
        let mut begin = 0;
        let mut found = None;
        for cut in cuts {
            if let Some(stop) = scanner.scan(&text[begin..cut], true) {
                found = Some((begin + stop.end, stop.index));
                break;
            }
            begin = cut;
        }
        prop_assert_eq!(found, naive_stop(&text, &stops, 0));
    }
}
