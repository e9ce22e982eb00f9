//! Files that should be there, and templates that contradict each other (cases 78, 80, 92 and 102).

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenmill_core::option::EngineOptions;
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::gguf::{self, Metadata};
use tokenmill_formats::{Checkpoint, Config};

use super::{from_gguf, from_model, read};
use crate::error::Result;
use crate::load::voice::Voice;

const JINJA: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";
const OTHER: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}";

/// A folder with a tokenizer, and the two places of a template.
fn folder(config: Option<&Value>, jinja: Option<&str>) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let tokenizer = json!({
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
    });
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text);
    write("tokenizer.json", tokenizer.to_string()).expect("a file");
    if let Some(template) = config {
        let config = json!({"chat_template": template});
        write("tokenizer_config.json", config.to_string()).expect("a file");
    }
    if let Some(jinja) = jinja {
        write("chat_template.jinja", jinja.to_owned()).expect("a file");
    }
    folder
}

fn template(folder: &TempDir) -> Result<(Option<String>, Vec<String>)> {
    let mut voice = Voice::default();
    let template = from_model(folder.path(), &mut voice)?;
    Ok((template, voice.notes))
}

fn read_option(option: &str, path: &Path) -> Result<Voice> {
    let config = Config::Json {
        config: serde_json::Map::new(),
        generation: None,
    };
    let checkpoint = Checkpoint::from_memory(config, Vec::new())?;
    let path = path.to_str().map(str::to_owned);
    let options = match option {
        "tokenizer" => EngineOptions {
            tokenizer: path,
            ..EngineOptions::default()
        },
        _ => EngineOptions {
            chat_template: path,
            ..EngineOptions::default()
        },
    };
    let mut voice = Voice::default();
    read(&checkpoint, &options, &mut voice)?;
    Ok(voice)
}

#[test]
fn case_80_the_jinja_file_wins_and_a_difference_is_said() {
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (None, None, None, 0),
        (Some(json!(null)), None, None, 0),
        (Some(json!(JINJA)), None, text(JINJA), 0),
        (None, Some(JINJA), text(JINJA), 0),
        (Some(json!(JINJA)), Some(JINJA), text(JINJA), 0),
        (Some(json!(OTHER)), Some(JINJA), text(JINJA), 1),
        (
            Some(
                json!([{"name": "tool_use", "template": OTHER}, {"name": "default", "template": JINJA}]),
            ),
            None,
            text(JINJA),
            0,
        ),
        // None of them is the default: said, unless the file stands in.
        (
            Some(json!([{"name": "tool_use", "template": OTHER}])),
            None,
            None,
            1,
        ),
        (Some(json!([])), None, None, 1),
        (
            Some(json!([{"name": "tool_use", "template": OTHER}])),
            Some(JINJA),
            text(JINJA),
            0,
        ),
    ];
    for (config, jinja, expected, notes) in cases {
        let (got, said) = template(&folder(config.as_ref(), jinja)).expect("sound files");
        assert_eq!(
            (got, said.len()),
            (expected, notes),
            "{config:?} {jinja:?} {said:?}"
        );
    }
}

#[test]
fn case_78_templates_with_bad_names_or_types_are_corrupt() {
    let named = |name: &str| json!([{"name": name, "template": JINJA}]);
    let cases = [
        named("../x"),
        named("a/b"),
        named(""),
        named("a.b"),
        named("défaut"),
        named(&"x".repeat(65)),
        json!([{"name": "default", "template": JINJA}, {"name": "default", "template": OTHER}]),
        json!([{"name": "default"}]),
        json!([{"name": 7, "template": JINJA}]),
        json!([{"template": JINJA}]),
        json!(["default"]),
        json!({"default": JINJA}),
        json!(7),
        json!(true),
    ];
    for case in cases {
        let error = template(&folder(Some(&case), Some(JINJA))).expect_err("a bad template");
        assert_eq!(error.kind(), Kind::Corrupt, "{case}");
        assert!(error.to_string().contains("chat_template"), "{error}");
    }
}

#[test]
fn a_file_that_an_option_names_has_to_be_there() {
    let folder = folder(None, None);
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let empty = TempDir::new().expect("a folder");
    let absent = folder.path().join("absent");
    for option in ["tokenizer", "chat_template"] {
        for (path, kind) in [
            (&absent, Kind::NotFound),
            (&pipe, Kind::Io),
            // A folder, without a tokenizer.json in it.
            (
                &empty.path().to_path_buf(),
                if option == "tokenizer" {
                    Kind::NotFound
                } else {
                    Kind::Io
                },
            ),
        ] {
            let error = read_option(option, path).expect_err("nothing to read");
            assert_eq!(
                (error.kind(), error.param()),
                (kind, Some(option)),
                "{error}"
            );
            let text = error.to_string();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name");
            assert!(text.starts_with(option) && text.contains(name), "{text}");
        }
    }
    for path in [
        folder.path().to_path_buf(),
        folder.path().join("tokenizer.json"),
    ] {
        assert!(
            read_option("tokenizer", &path)
                .expect("sound")
                .lexicon
                .has_tokenizer()
        );
    }
}

#[test]
fn case_92_a_pipe_in_a_model_s_folder_is_no_absent_file() {
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ] {
        let folder = folder(None, None);
        let path = folder.path().join(name);
        let _ = fs::remove_file(&path);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success());
        let error = template(&folder).expect_err("a pipe");
        assert_eq!(error.kind(), Kind::Io, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let empty = TempDir::new().expect("a folder");
    assert_eq!(template(&empty).expect("no tokenizer"), (None, Vec::new()));
}

fn gguf_voice(pairs: &[(&str, gguf::Value)]) -> Result<Voice> {
    let mut metadata = Metadata::new("test.gguf", 3);
    let tokens: Vec<String> = ["a", "b", "<s>"].map(str::to_owned).to_vec();
    let sound = [
        ("model", gguf::Value::String("gpt2".into())),
        ("pre", gguf::Value::String("gpt2".into())),
        ("tokens", gguf::Value::Array(gguf::Array::String(tokens))),
    ];
    for (key, value) in sound.iter().chain(pairs) {
        metadata.insert(format!("tokenizer.ggml.{key}"), value.clone())?;
    }
    let mut voice = Voice::default();
    from_gguf(&metadata, &mut voice)?;
    Ok(voice)
}

#[test]
fn case_102_token_ids_out_of_range_are_corrupt_naming_the_key() {
    use gguf::Value::{I32, U32, U64};
    let names = ["bos", "eos", "eot", "eom", "unknown", "padding"];
    for name in names {
        let key = format!("{name}_token_id");
        assert!(gguf_voice(&[(&key, U32(2))]).is_ok());
        for bad in [
            U32(3),
            U64(1 << 32),
            U64((1 << 32) + 1),
            U64(u64::MAX),
            I32(-1),
        ] {
            let error = gguf_voice(&[(&key, bad)]).expect_err("no token");
            assert_eq!(error.kind(), Kind::Corrupt, "{error}");
            assert!(error.to_string().contains(&key), "{error}");
        }
    }
}

#[test]
fn case_108_a_tokenizer_with_more_ids_than_the_head_has_rows_is_corrupt() {
    for (rows, is_sound) in [(1, false), (2, false), (3, true), (4, true)] {
        let mut voice = gguf_voice(&[]).expect("three tokens");
        match voice.check(rows) {
            Ok(()) => assert!(is_sound, "{rows}"),
            Err(error) => {
                assert!(
                    !is_sound && error.kind() == Kind::Corrupt,
                    "{rows}: {error}"
                );
                let text = error.to_string();
                assert!(text.contains("3 tokens") && text.contains(&format!("{rows} rows")));
            }
        }
    }
}

#[test]
fn an_end_token_after_every_text_is_refused_by_name() {
    let flag = |value| [("add_eos_token", gguf::Value::Bool(value))];
    assert!(gguf_voice(&flag(false)).is_ok());
    let error = gguf_voice(&flag(true)).expect_err("not done");
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("add_eos_token"), "{error}");
}
