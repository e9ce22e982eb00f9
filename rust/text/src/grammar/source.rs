//! What a request asks for, as grammars of llguidance, and the checks on its text that come before compiling.

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use tokenmill_core::{OutputConstraint, StructuredOutputs};

use super::{choice, ebnf, lark, schema, structural_tag};

/// Bounds of schemas and grammars beyond their length.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceLimits {
    /// Deepest nesting.
    pub(super) depth_max: usize,
    /// Most properties.
    pub(super) properties_max: usize,
}

pub(super) type Made<T> = Result<T, String>;

/// The grammars of `asked`; `has_blank`: behind one blank.
pub(super) fn grammar(
    asked: &StructuredOutputs,
    limits: &SourceLimits,
    has_blank: bool,
) -> Made<TopLevelGrammar> {
    let mut top = match &asked.constraint {
        OutputConstraint::Json(text) => {
            let schema = schema::read(text, asked, limits)?;
            TopLevelGrammar::from_json_schema(schema)
        }
        OutputConstraint::JsonObject => TopLevelGrammar::from_json_schema(schema::object(asked)),
        OutputConstraint::Regex(pattern) => TopLevelGrammar::from_regex(unanchored(pattern)),
        OutputConstraint::Choice(texts) => TopLevelGrammar::from_lark(choice::lark(texts)?),
        OutputConstraint::Grammar(text) => of_text(text, limits)?,
        OutputConstraint::StructuralTag(text) => {
            TopLevelGrammar::from_lark(structural_tag::lark(text, limits)?)
        }
        _ => return Err("is not known".into()),
    };
    if has_blank {
        put_blank_in_front(&mut top);
    }
    Ok(top)
}

/// EBNF, Lark, or llguidance's list of grammars as JSON, told by how they look.
fn of_text(text: &str, limits: &SourceLimits) -> Made<TopLevelGrammar> {
    if text.contains("allow_invalid_utf8") {
        return Err("allow_invalid_utf8 is not offered: an output is a text".into());
    }
    if text.trim_start().starts_with('{') {
        let top: TopLevelGrammar = serde_json::from_str(text)
            .map_err(|error| format!("is no list of grammars: {error}"))?;
        if top.grammars.is_empty() {
            return Err("is a list without a grammar".into());
        }
        if top.max_tokens.is_some() {
            return Err("max_tokens is an option of the request, not of a grammar".into());
        }
        for grammar in &top.grammars {
            if let Some(json) = &grammar.json_schema {
                schema::check(json, limits)?;
            }
            lark::check_depth(grammar.lark_grammar.as_deref().unwrap_or_default(), limits)?;
        }
        return Ok(top);
    }
    if ebnf::is_ebnf(text) {
        return Ok(TopLevelGrammar::from_lark(ebnf::lark(text, limits)?));
    }
    lark::check_depth(text, limits)?;
    Ok(TopLevelGrammar::from_lark(text.to_owned()))
}

/// A pattern is matched from the first to the last character anyhow; llguidance knows no anchors.
fn unanchored(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let Some(inner) = pattern.strip_suffix('$') else {
        return pattern;
    };
    let escapes = inner
        .bytes()
        .rev()
        .take_while(|&byte| byte == b'\\')
        .count();
    if escapes % 2 == 0 { inner } else { pattern }
}

/// Where the first token of a text shows one blank less than it stands for, that blank comes first.
fn put_blank_in_front(top: &mut TopLevelGrammar) {
    const NAME: &str = "tokenmill_text";
    if let Some(first) = top.grammars.first_mut() {
        let name = first.name.get_or_insert_with(|| NAME.to_owned()).clone();
        let blank = GrammarWithLexer {
            name: Some("tokenmill_blank".to_owned()),
            ..GrammarWithLexer::from_lark(format!("start: \" \" @{name}"))
        };
        top.grammars.insert(0, blank);
    }
}
