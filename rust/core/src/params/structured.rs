//! What an output must be as a text: one constraint and three switches, as plain data. What a schema or a grammar
//! means is `text`'s; here it is a string within its bounds.

/// The one constraint of an output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputConstraint {
    /// A JSON value under this JSON schema.
    Json(String),
    /// A text that this regular expression matches from its first to its last character.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of this grammar: EBNF or Lark, or llguidance's own list of grammars as JSON.
    Grammar(String),
    /// Any JSON object.
    JsonObject,
    /// Free text in which a trigger begins a tagged JSON value: the tags, as JSON.
    StructuralTag(String),
}

impl OutputConstraint {
    /// The public names, in the order of the variants.
    pub const NAMES: [&'static str; 6] = [
        "json",
        "regex",
        "choice",
        "grammar",
        "json_object",
        "structural_tag",
    ];

    /// The public name.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The public name behind that of the option.
    pub const fn path(&self) -> &'static str {
        [
            "structured_outputs.json",
            "structured_outputs.regex",
            "structured_outputs.choice",
            "structured_outputs.grammar",
            "structured_outputs.json_object",
            "structured_outputs.structural_tag",
        ][self.index()]
    }

    const fn index(&self) -> usize {
        match self {
            Self::Json(_) => 0,
            Self::Regex(_) => 1,
            Self::Choice(_) => 2,
            Self::Grammar(_) => 3,
            Self::JsonObject => 4,
            Self::StructuralTag(_) => 5,
        }
    }
}

/// A constraint and what bends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StructuredOutputs {
    /// What the output must be.
    pub constraint: OutputConstraint,
    /// Whether JSON stands without any white space between its parts.
    pub disable_any_whitespace: bool,
    /// Whether objects of the schema that say nothing of it have no properties but their own.
    pub disable_additional_properties: bool,
    /// The white space that may stand between the parts of JSON, as a regular expression.
    pub whitespace_pattern: Option<String>,
}

impl From<OutputConstraint> for StructuredOutputs {
    fn from(constraint: OutputConstraint) -> Self {
        Self {
            constraint,
            disable_any_whitespace: false,
            disable_additional_properties: false,
            whitespace_pattern: None,
        }
    }
}

impl StructuredOutputs {
    /// The first switch that says nothing beside this constraint or another switch: its path, the other's, and why.
    pub fn fault(&self) -> Option<(&'static str, &'static str, &'static str)> {
        use OutputConstraint::{Json, JsonObject};
        const PATTERN: &str = "structured_outputs.whitespace_pattern";
        const COMPACT: &str = "structured_outputs.disable_any_whitespace";
        let path = self.constraint.path();
        let is_json = matches!(self.constraint, Json(_) | JsonObject);
        let between = "it is about the white space between the parts of JSON";
        if self.disable_any_whitespace && !is_json {
            return Some((COMPACT, path, between));
        }
        if self.whitespace_pattern.is_some() && !is_json {
            return Some((PATTERN, path, between));
        }
        if self.disable_any_whitespace && self.whitespace_pattern.is_some() {
            return Some((PATTERN, COMPACT, "one allows what the other forbids"));
        }
        if self.disable_additional_properties && !matches!(self.constraint, Json(_)) {
            let name = "structured_outputs.disable_additional_properties";
            return Some((name, path, "it is about the objects of a schema"));
        }
        None
    }
}
