//! The known name nearest to an unknown one: first what other engines call it, then by spelling.

use crate::option::spec::OPTIONS;

/// Names of other engines and what they are called here.
const OTHER_NAMES: [(&str, &str); 44] = [
    ("n_predict", "max_tokens"),
    ("num_predict", "max_tokens"),
    ("max_new_tokens", "max_tokens"),
    ("max_completion_tokens", "max_tokens"),
    ("max_output_tokens", "max_tokens"),
    ("max_length", "max_tokens"),
    ("min_new_tokens", "min_tokens"),
    ("repeat_penalty", "repetition_penalty"),
    ("repeat_last_n", "penalty_last_n"),
    ("num_ctx", "max_model_len"),
    ("n_ctx", "max_model_len"),
    ("ctx_size", "max_model_len"),
    ("n_probs", "logprobs"),
    ("top_n_tokens", "logprobs"),
    ("top_logprobs", "logprobs"),
    ("samplers", "pipeline"),
    ("ebnf", "structured_outputs"),
    ("grammar", "structured_outputs"),
    ("json_schema", "structured_outputs"),
    ("response_format", "structured_outputs"),
    ("guided_json", "structured_outputs"),
    ("guided_regex", "structured_outputs"),
    ("guided_choice", "structured_outputs"),
    ("guided_grammar", "structured_outputs"),
    ("guided_decoding", "structured_outputs"),
    ("guided_json_object", "structured_outputs"),
    ("guided_whitespace_pattern", "structured_outputs"),
    ("structural_tag", "structured_outputs"),
    ("json_object", "structured_outputs"),
    ("adapter_id", "model"),
    ("lora_path", "model"),
    ("model_path", "model"),
    ("do_sample", "temperature"),
    ("temp", "temperature"),
    ("stop_strings", "stop"),
    ("stop_sequences", "stop"),
    ("eos_token_id", "stop_token_ids"),
    ("num_beams", "beam_width"),
    ("use_beam_search", "beam_width"),
    ("n_threads", "threads"),
    ("num_threads", "threads"),
    ("torch_dtype", "dtype"),
    ("max_batch_size", "max_num_seqs"),
    ("random_seed", "seed"),
];

/// The known option nearest to an unknown name, if one is near enough.
pub fn nearest(name: &str) -> Option<&'static str> {
    let given = name
        .trim_start_matches('-')
        .to_lowercase()
        .replace('-', "_");
    if let Some((_, ours)) = OTHER_NAMES.iter().find(|(theirs, _)| *theirs == given) {
        return Some(ours);
    }
    // Longer names than any of ours by more than the distance allowed are not worth the comparison.
    const NAME_LEN_MAX: usize = 64;
    if given.len() > NAME_LEN_MAX {
        return None;
    }
    let distance_max = (given.len() / 3).min(4);
    OPTIONS
        .iter()
        .map(|spec| (distance(&given, spec.name), !spec.is_supported(), spec.name))
        .filter(|&(distance, _, _)| distance <= distance_max)
        .min_by_key(|&(distance, is_absent, _)| (distance, is_absent))
        .map(|(_, _, name)| name)
}

/// Letters to insert, remove, replace or swap with their neighbour to turn one name into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            current[j] = replaced.min(last[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{OTHER_NAMES, distance, nearest};
    use crate::option::OPTIONS;

    #[test]
    fn names_of_other_engines_lead_to_ours() {
        for (theirs, ours) in OTHER_NAMES {
            assert_eq!(nearest(theirs), Some(ours));
            assert!(
                OPTIONS.iter().any(|spec| spec.name == ours),
                "{ours} is an option"
            );
            assert!(
                OPTIONS.iter().all(|spec| spec.name != theirs),
                "{theirs} is none"
            );
        }
    }

    #[test]
    fn a_typing_error_finds_the_option() {
        for (typed, meant) in [
            ("temprature", "temperature"),
            ("topk", "top_k"),
            ("--top-pp", "top_p"),
            ("max_token", "max_tokens"),
            ("repetition_penality", "repetition_penalty"),
            ("Ignore-EOS", "ignore_eos"),
            ("blocksize", "block_size"),
            ("sotp", "stop"),
        ] {
            assert_eq!(nearest(typed), Some(meant), "{typed}");
        }
    }

    #[test]
    fn nonsense_finds_nothing() {
        for name in ["", "x", "qqqqqqqqqq", &"a".repeat(100_000), "温度"] {
            assert_eq!(nearest(name), None, "{}", name.len());
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected);
            assert_eq!(distance(b, a), expected);
        }
    }
}
