//! Token ids in any order through the streaming detokeniser and the stop scanner: pieces are the whole, and
//! a stop is found where a naive search finds it.

use tokenmill_text::{Detokenizer, TextStream, Tokenizer, decode};

/// Bytes: options, a stop list, then ids.
pub fn run(data: &[u8]) {
    let [options, stop_len, rest @ ..] = data else {
        return;
    };
    let tokenizer = if options & 1 == 0 {
        super::tiny::byte_level()
    } else {
        super::tiny::sentencepiece()
    };
    let (stops, ids) = rest.split_at(rest.len().min(*stop_len as usize % 24));
    let stops: Vec<String> = stops
        .split(|&byte| byte == 0)
        .filter(|stop| !stop.is_empty())
        .take(16)
        .map(|stop| String::from_utf8_lossy(stop).into_owned())
        .collect();
    let ids = ids_of(tokenizer, ids);
    let skip = options & 2 != 0;
    whole_is_streamed(tokenizer, &ids, skip);
    stops_where_a_search_does(tokenizer, &ids, &stops, (skip, options & 4 != 0));
}

/// A byte is an id, or with 255 before it one of the last ids: merges, added tokens, and beyond.
fn ids_of(tokenizer: &Tokenizer, bytes: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut is_high = false;
    for &byte in bytes {
        if byte == 255 && !is_high {
            is_high = true;
            continue;
        }
        let base = if is_high {
            tokenizer.vocab_len() as u32 - 24
        } else {
            0
        };
        ids.push(base + u32::from(byte));
        is_high = false;
    }
    ids
}

fn whole_is_streamed(tokenizer: &Tokenizer, ids: &[u32], skip: bool) {
    let mut detokenizer = Detokenizer::new(skip);
    let mut streamed = String::new();
    for &id in ids {
        let before = streamed.len();
        detokenizer.push(tokenizer, id, &mut streamed);
        assert!(streamed.len() >= before, "text was taken back");
    }
    detokenizer.finish(&mut streamed);
    assert_eq!(streamed, decode(tokenizer, ids, skip));
}

fn stops_where_a_search_does(
    tokenizer: &Tokenizer,
    ids: &[u32],
    stops: &[String],
    (skip, include): (bool, bool),
) {
    let mut stream = TextStream::new(stops, include, skip, 0);
    let mut reference = Detokenizer::new(skip);
    let (mut emitted, mut whole) = (String::new(), String::new());
    for &id in ids {
        reference.push(tokenizer, id, &mut whole);
        let progress = stream.push(tokenizer, id);
        emitted += &progress.text;
        let first = (1..=whole.len()).find_map(|end| {
            let ends = |stop: &String| whole.as_bytes()[..end].ends_with(stop.as_bytes());
            stops.iter().position(ends).map(|index| (end, index))
        });
        assert_eq!(progress.stopped, first.map(|(_, index)| index));
        if let Some((end, index)) = first {
            let cut = if include {
                end
            } else {
                end - stops[index].len()
            };
            assert_eq!(emitted, whole[..cut]);
            return;
        }
        assert!(whole.starts_with(&emitted));
    }
    emitted += &stream.finish();
    assert_eq!(emitted, decode(tokenizer, ids, skip));
}
