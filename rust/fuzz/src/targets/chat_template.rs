//! A chat template: compiled, probed and rendered within its bounds, or refused.

use tokenmill_core::{HasKind, Kind};
use tokenmill_text::{ChatTemplate, Date, Message, RenderOptions};

const OUTPUT_LEN_MAX_BYTES: usize = 8 << 20;

/// Compiles and renders a conversation.
pub fn run(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else {
        return;
    };
    let template = match ChatTemplate::compile(source, "<s>", "</s>") {
        Ok(template) => template,
        Err(error) => {
            assert_eq!(error.kind(), Kind::Corrupt, "{error}");
            return;
        }
    };
    let messages = [
        Message::new("system", "Be {{ kind }}."),
        Message::new("user", "{% raw %} <s> \u{4f60}"),
        Message::new("assistant", ""),
        Message::new("user", "'\"<&>\n"),
    ];
    let options = RenderOptions {
        add_generation_prompt: true,
        date: Some(Date::from_unix_seconds(1_700_000_000)),
        ..RenderOptions::default()
    };
    let plain = template.render(&messages, &options);
    match &plain {
        Ok(text) => assert!(text.len() <= OUTPUT_LEN_MAX_BYTES),
        Err(error) => assert_eq!(error.kind(), Kind::InvalidRequest, "{error}"),
    }
    // The fence around what the caller says changes no letter: a template that looks at it is refused.
    if let Ok(fenced) = template.render_fenced(&messages, &options, super::tiny::byte_level())
        && let Ok(plain) = plain
    {
        assert_eq!(fenced.text(), plain);
    }
}
