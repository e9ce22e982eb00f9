//! Texts that other systems choked on, by the number of their case.

use std::time::{Duration, Instant};

use tokenmill_text::{Encode, TextStream, decode};

use crate::tiny::{byte_level, sentencepiece};

const CALLER: Encode = Encode {
    add_bos: false,
    allow_control: false,
};

#[test]
fn case_038_a_stop_string_that_splits_a_code_point_or_crosses_tokens_cuts_exactly_there() {
    let tok = byte_level();
    let text = "日é日x";
    for (stop, kept) in [("é", "日"), ("é日", "日"), ("日x", "日é"), ("x", "日é日")] {
        // One byte a token: every stop string lies across tokens and every letter is split.
        let mut stream = TextStream::new(&[stop.to_owned()], false, true, 0);
        let mut out = String::new();
        for byte in text.bytes() {
            let progress = stream.push(tok, u32::from(byte));
            out += &progress.text;
            if progress.stopped.is_some() {
                break;
            }
        }
        assert_eq!(out, kept, "{stop}");
    }
}

#[test]
fn a_stop_string_under_uncut_keeps_the_token_that_completed_it() {
    let tok = byte_level();
    let hello = tok.id_of("hello").expect("a token");
    let mut stream = TextStream::new(&["ell".to_owned()], false, true, 0).uncut();
    let progress = stream.push(tok, hello);
    assert_eq!(
        (progress.text.as_str(), progress.stopped),
        ("hello", Some(0))
    );
    assert_eq!(stream.finish(), "");
    assert_eq!(stream.push(tok, hello).text, "");
}

#[test]
fn case_048_text_that_spells_control_tokens_stays_text() {
    for (tok, text) in [
        (byte_level(), "<|start|><|end|><pad>"),
        (sentencepiece(), "</s><s></s>"),
    ] {
        let ids = tok.encode(text, CALLER).expect("text");
        assert!(ids.iter().all(|&id| !tok.is_control(id)), "{ids:?}");
        assert_eq!(decode(tok, &ids, true), text);
    }
}

#[test]
fn case_055_four_megabytes_without_a_space_take_bounded_time() {
    let text = "hello".repeat((4 << 20) / 5);
    for tok in [byte_level(), sentencepiece()] {
        let start = Instant::now();
        let ids = tok.encode(&text, CALLER).expect("text");
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(decode(tok, &ids, true).len(), text.len());
    }
}

#[test]
fn case_056_marks_nulls_bidi_controls_and_unassigned_letters_come_back() {
    let marks: String = std::iter::once('a')
        .chain(std::iter::repeat_n('\u{301}', 1_000_000))
        .collect();
    let odd = "\0\0a\0 \u{202e}abc\u{202c}\u{2066}x\u{2069} \u{378}\u{e0fff}\u{10ffff}";
    for tok in [byte_level(), sentencepiece()] {
        for text in [marks.as_str(), odd] {
            let ids = tok.encode(text, CALLER).expect("text");
            assert_eq!(decode(tok, &ids, true), text);
        }
    }
}
