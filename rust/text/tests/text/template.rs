//! Chat templates against transformers. `templates.json` holds templates of our own that use what the
//! well-known ones use, and what transformers 5.23 (`render_jinja_template`, clock at 2026-11-24 08:05:09)
//! makes of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde::Deserialize;
use tokenmill_core::{HasKind, Kind};
use tokenmill_text::{ChatTemplate, Date, Error, Message, RenderOptions};

/// 2026-11-24 08:05:09 UTC.
const NOW: i64 = 1_795_507_509;

#[derive(Deserialize)]
struct Fixtures {
    templates: HashMap<String, String>,
    messages: HashMap<String, Vec<Message>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    messages: String,
    add_generation_prompt: bool,
    kwargs: BTreeMap<String, serde_json::Value>,
    text: Option<String>,
    raised: Option<String>,
}

#[test]
fn templates_render_as_transformers_renders_them() {
    let fixtures: Fixtures = serde_json::from_str(include_str!("templates.json")).unwrap();
    let compiled: HashMap<_, _> = fixtures
        .templates
        .iter()
        .map(|(name, source)| {
            (
                name,
                ChatTemplate::compile(source, "<s>", "</s>").expect(name),
            )
        })
        .collect();
    let mut failures = String::new();
    for case in &fixtures.cases {
        let options = RenderOptions {
            add_generation_prompt: case.add_generation_prompt,
            kwargs: case.kwargs.clone(),
            date: Some(Date::from_unix_seconds(NOW)),
        };
        let got = compiled[&case.template].render(&fixtures.messages[&case.messages], &options);
        let is_same = match (&got, &case.text, &case.raised) {
            (Ok(got), Some(text), None) => got == text,
            (Err(Error::TemplateRaised { message }), None, Some(raised)) => message == raised,
            _ => false,
        };
        if !is_same {
            let expected = case.text.as_ref().or(case.raised.as_ref()).unwrap();
            let _ = write!(
                failures,
                "{} on {}:\n{got:?}\n{expected:?}\n",
                case.template, case.messages
            );
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(fixtures.cases.len() >= 100);
}

#[test]
fn case_049_messages_that_cannot_be_are_refused_by_name() {
    let template = ChatTemplate::compile("{% for m in messages %}{{ m.role }}{% endfor %}", "", "");
    let template = template.unwrap();
    let refused = |messages: &[Message]| {
        let error = template
            .render(messages, &RenderOptions::default())
            .unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidRequest, "{error}");
        assert_eq!(error.param(), Some("messages"), "{error}");
    };
    refused(&[]);
    refused(&[Message::new("no body", "x")]);
    refused(&vec![Message::new("user", "x"); 1025]);
    let ok = vec![Message::new("user", "x"); 1024];
    assert!(template.render(&ok, &RenderOptions::default()).is_ok());
}
