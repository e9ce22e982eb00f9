//! One of several texts, as a Lark grammar.

use super::source::Made;

pub(super) fn lark(texts: &[String]) -> Made<String> {
    let quoted: Result<Vec<String>, _> = texts.iter().map(serde_json::to_string).collect();
    let quoted = quoted.map_err(|error| error.to_string())?;
    Ok(format!("start: {}", quoted.join("\n  | ")))
}
