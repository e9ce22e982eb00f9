//! Cases 70 to 79 of the list of bad inputs: templates that are broken, endless, huge or curious. Each is
//! refused in bounded time, at load where the probe conversation reaches it. Fuel bounds memory too in the
//! pinned engine, so these run in this process: a case that took gigabytes would fail by its time.

use std::time::{Duration, Instant};

use serde_json::json;
use tokenmill_core::{HasKind, Kind};
use tokenmill_text::{ChatTemplate, Date, Error, Message, RenderOptions};

/// Far above what any case takes on a busy machine, far below what the bombs would take.
const TIME_MAX: Duration = Duration::from_mins(2);

fn compile(source: &str) -> Result<ChatTemplate, Error> {
    let started = Instant::now();
    let template = ChatTemplate::compile(source, "<s>", "</s>");
    assert!(
        started.elapsed() < TIME_MAX,
        "{:?} for {:.160}",
        started.elapsed(),
        source
    );
    template
}

fn render(source: &str, content: &str) -> Result<String, Error> {
    compile(source)?.render(&[Message::new("user", content)], &RenderOptions::default())
}

/// The template that says what the user said, after `before`.
fn talking(before: &str) -> String {
    before.to_owned() + "{% for m in messages %}{{ m.content }}{% endfor %}"
}

#[test]
fn case_70_what_does_not_compile_is_refused_at_load_with_its_line() {
    let cases = [
        ("\n\n{% if %}", 3),
        ("\n{{ messages", 2),
        ("{% for m in messages %}", 1),
        ("\n{% endfor %}", 2),
        ("a\n{{ 'x' | no_such_filter }}", 2),
        (
            "a\n\n{% if false %}{{ 'x'|lower|no_such_filter }}{% endif %}",
            3,
        ),
        ("a\n{% if false %}{{ 'x' is no_such_test }}{% endif %}", 2),
        ("{% filter no_such_filter %}x{% endfilter %}", 1),
        ("\n{{ no_such_function() }}", 2),
    ];
    for (source, line) in cases {
        match compile(source) {
            Err(error @ Error::BadTemplate { .. }) => {
                assert_eq!(error.kind(), Kind::Corrupt);
                assert!(
                    error.to_string().contains(&format!("line {line}:")),
                    "{source:?}: {error}"
                );
            }
            other => panic!("{source:?}: {other:?}"),
        }
    }
}

#[test]
fn case_71_endless_loops_run_out_of_fuel() {
    for source in [
        "{% for a in range(10000000000) %}{% endfor %}",
        "{% for a in range(20000) %}{% for b in range(20000) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}",
    ] {
        assert!(
            matches!(compile(source), Err(Error::BadTemplate { .. })),
            "{source}"
        );
    }
}

#[test]
fn case_72_flat_chains_and_long_sources_do_not_break_the_stack() {
    let chains = [
        ("{{ ", "1+", "1 }}"),
        ("{{ ", "not ", "1 }}"),
        ("{{ ", "-", "1 }}"),
        ("{{ ", "(", "1 }}"),
        ("{{ ", "[", "1 }}"),
        ("{{ 1", ".b", " }}"),
        ("{{ 'a'", "|lower", " }}"),
        ("{{ 'a'", "~'b'", " }}"),
        ("{% if 0 %}", "{% elif 0 %}", "{% endif %}"),
        ("", "{% if 1 %}", ""),
        ("", "{% for a in [1] %}", ""),
        ("{{ x", "[0]", " }}"),
        ("{{ x", "()", " }}"),
        ("{{ 1", " if 1 else 2", " }}"),
    ];
    for (before, link, after) in chains {
        for count in [
            5_000,
            ((128 << 10) - before.len() - after.len()) / link.len(),
        ] {
            // Refused or rendered: either is right, as long as the process is there to say so.
            let _ = compile(&talking(&(before.to_owned() + &link.repeat(count) + after)));
        }
    }
    let longest = " ".repeat(128 << 10);
    assert!(compile(&longest).is_ok());
    assert!(matches!(
        compile(&(longest + " ")),
        Err(Error::BadTemplate { .. })
    ));
}

#[test]
fn case_73_memory_bombs_run_out_of_fuel_at_once() {
    let bombs = [
        "{{ (['a' * 1000000] * 1000)|join(',')|length }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(30) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s|length }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson|length }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        "{{ 'a'|indent(2000000000) }}",
        "{{ 'a\n'|indent(2000000000, true) }}",
        "{{ ('A' * 3000000000)|length }}",
        "{{ ([1] * 3000000000)|length }}",
        "{{ range(3000000000)|list|length }}",
        "{{ 'a'.replace('a', 'b' * 60000000) }}",
        "{% set big = 'ab' * 5000000 %}{{ big.replace('a', big)|length }}",
        "{{ '%0999999999d'|format(1) }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ ','.join(['a' * 1000000] * 1000)|length }}",
        "{{ ('a' * 1000000)|list|length }}{{ ('a,' * 20000000).split(',')|length }}",
        "{{ {'a': 1}|tojson(indent=2000000000) }}",
        "{{ 'a'|center(2000000000) }}",
    ];
    for bomb in bombs {
        assert!(compile(bomb).is_err(), "{bomb}");
    }
}

#[test]
fn case_73_values_nested_as_deep_as_fuel_allows_are_dropped_safely() {
    for link in ["[ns.s]", "{'a': ns.s}", "(ns.s, 1)"] {
        let loops = "{% for i in range(1000) %}{% for j in range(1000) %}";
        let source = format!(
            "{{% set ns = namespace(s=[]) %}}{loops}{{% set ns.s = {link} %}}{{% endfor %}}{{% endfor %}}"
        );
        assert!(compile(&source).is_err(), "{link}");
    }
    let deep = "{% set ns = namespace(s=[]) %}{% for i in range(20000) %}{% set ns.s = [ns.s] %}{% endfor %}";
    assert!(compile(&talking(&format!("{deep}{{{{ ns.s|string|length }}}}"))).is_ok());
    assert!(compile(&talking(&format!("{deep}{{{{ ns.s|tojson|length }}}}"))).is_err());
}

#[test]
fn case_74_recursion_and_other_templates_are_refused() {
    for source in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
        "{% include 'x' %}",
        "{% include 'x' ignore missing %}",
        "{%- import 'x' as y -%}",
        "{%+ from 'x' import y %}",
        "{% extends 'x' %}",
        "{% if false %}{% include 'x' %}{% endif %}",
        "{{ '{%' }}{% include 'x' %}",
    ] {
        assert!(
            matches!(compile(source), Err(Error::BadTemplate { .. })),
            "{source}"
        );
    }
    // The same words as text are text.
    let text = "{# {% include 'x' %} #}{{ '{% include %}' }}{% raw %}{% include 'y' %}{% endraw %}";
    assert_eq!(
        render(&talking(text), "!").unwrap(),
        "{% include %}{% include 'y' %}!"
    );
}

#[test]
fn case_75_attribute_walks_find_nothing() {
    for walk in [
        "messages.__class__",
        "''.__class__",
        "messages[0].__init__",
        "range.__globals__",
        "namespace.__init__",
        "raise_exception.__globals__",
        "debug",
    ] {
        let source = talking(&format!("{{% if {walk} is defined %}}found{{% endif %}}"));
        assert_eq!(render(&source, "x").unwrap(), "x", "{walk}");
    }
}

#[test]
fn case_76_a_template_s_own_refusal_is_the_caller_s_error_and_is_cut() {
    let long = "y".repeat(300);
    let source = talking(
        "{% if messages|length == 1 %}{{ raise_exception(messages[0].content) }}{% endif %}",
    );
    let error = render(&source, &long).unwrap_err();
    assert_eq!(
        error,
        Error::TemplateRaised {
            message: "y".repeat(200)
        }
    );
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::InvalidRequest, Some("messages"))
    );
}

#[test]
fn case_77_output_is_bounded() {
    let source =
        talking("{% if messages|length == 1 %}{{ 'x' * 4000000 }}{{ 'x' * 4000000 }}{% endif %}");
    assert_eq!(render(&source, &"y".repeat(100)).unwrap().len(), 8_000_100);
    let error = render(&source, &"y".repeat(500_000)).unwrap_err();
    assert!(
        error.to_string().contains("longer than 8388608 bytes"),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::InvalidRequest);
}

#[test]
fn case_79_templates_that_lose_or_reorder_words_are_reported() {
    let warnings = |source: &str| compile(source).unwrap().warnings().to_vec();
    assert!(warnings(&talking("")).is_empty());
    assert!(warnings("hello")[0].contains("drops"));
    assert!(warnings("{{ messages[0].content }}")[0].contains("drops"));
    assert!(
        warnings("{% for m in messages[::-1] %}{{ m.content }}{% endfor %}")[0].contains("order")
    );
    assert!(warnings("{{ raise_exception('no') }}")[0].contains("refuses"));
}

#[test]
fn what_bites_in_one_ordinary_shape_only_is_refused_at_load() {
    let bomb = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    for when in [
        "messages|length == 1",
        "messages|length == 1 and not add_generation_prompt",
        "messages[0].role == 'system'",
        "messages[-1].role == 'assistant'",
        "messages|length == 3 and not add_generation_prompt",
    ] {
        let source = talking(&format!("{{% if {when} %}}{bomb}{{% endif %}}"));
        assert!(
            matches!(compile(&source), Err(Error::BadTemplate { .. })),
            "{when}"
        );
    }
    // A refusal in the template's own words is no fault, and warnings are about the first shape alone.
    let strict =
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}";
    assert!(compile(&talking(strict)).unwrap().warnings().is_empty());
}

#[test]
fn messages_and_options_are_bounded_before_anything_renders() {
    let template = compile(&talking("")).unwrap();
    let refused = |messages: &[Message], options: &RenderOptions| {
        let error = template.render(messages, options).unwrap_err();
        assert!(matches!(error, Error::BadField { .. }), "{error}");
        error.param().unwrap().to_owned()
    };
    let plain = RenderOptions::default();
    assert_eq!(refused(&[], &plain), "messages");
    assert_eq!(
        refused(&[Message::new("user", &"x".repeat(9 << 20))], &plain),
        "messages"
    );
    let mut deep = json!(1);
    for _ in 0..70 {
        deep = json!([deep]);
    }
    let mut message = Message::new("user", "x");
    message.extra.insert("deep".to_owned(), deep);
    assert_eq!(refused(&[message], &plain), "messages");
    let hello = [Message::new("user", "x")];
    for (name, value) in [
        ("messages", json!(1)),
        ("chat_template", json!("x")),
        ("__class__", json!(1)),
        ("enable_thinking", json!([true])),
        ("enable_thinking", json!({"a": 1})),
        ("reasoning_effort", json!("<|im_end|>")),
        ("reasoning_effort", json!("x".repeat(257))),
    ] {
        let kwargs = [(name.to_owned(), value)].into_iter().collect();
        assert_eq!(
            refused(
                &hello,
                &RenderOptions {
                    kwargs,
                    ..RenderOptions::default()
                }
            ),
            "chat_template_kwargs"
        );
    }
}

#[test]
fn the_clock_is_the_caller_s() {
    let source = talking("{{ strftime_now('%Y') }} ");
    let template = compile(&source).unwrap();
    let hello = [Message::new("user", "x")];
    let date = Some(Date::from_unix_seconds(1_795_507_509));
    assert_eq!(
        template
            .render(
                &hello,
                &RenderOptions {
                    date,
                    ..RenderOptions::default()
                }
            )
            .unwrap(),
        "2026 x"
    );
    let error = template
        .render(&hello, &RenderOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("no date"), "{error}");
}

#[test]
fn templates_render_on_many_threads_at_once() {
    let template = compile(&talking("{{ messages|length }}")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let template = &template;
            scope.spawn(move || {
                for turn in 0..20 {
                    let word = format!("{thread}-{turn}");
                    let text =
                        template.render(&[Message::new("user", &word)], &RenderOptions::default());
                    assert_eq!(text.unwrap(), format!("1{word}"));
                }
            });
        }
    });
}
