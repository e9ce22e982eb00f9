//! The functions and filters that transformers adds to Jinja, and the lists of the filters and tests
//! that exist at all: templates that name others are refused when they are loaded.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::date::Date;
use super::{RAISED_MARK, TemplateResult, tojson};

/// Most characters of a template's own error text.
pub(super) const RAISED_CHARS_MAX: usize = 200;

/// Bytes that one unit of fuel pays for.
const BYTES_PER_FUEL: usize = 64;

/// The variable that carries the date; no template can spell it.
pub(super) const DATE_NAME: &str = "\u{0}date";

/// The variable that carries the marker of a fence; no template can spell it.
pub(super) const MARKER_NAME: &str = "\u{0}marker";

/// Filters that a template may use: those of the engine and `tojson`.
pub(super) const FILTERS: [&str; 48] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

/// Tests that a template may use.
pub(super) const TESTS: [&str; 36] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "safe",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// Adds ours and takes away what shows the engine's insides.
pub(super) fn register(environment: &mut Environment<'static>) {
    environment.remove_global("debug");
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", tojson::filter);
    environment.add_filter("join", join);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
}

/// Python's methods. `join` pays for what it will write before it writes: the engine would pay afterwards,
/// and a list may hold one long string a thousand times.
fn method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> TemplateResult {
    if let ("join", Some(items)) = (method, args.first()) {
        pay_for_items(state, items)?;
    }
    unknown_method_callback(state, value, method, args)
}

/// The engine's filter behind the same payment.
fn join(state: &mut State, value: Value, rest: Rest<Value>) -> TemplateResult {
    pay_for_items(state, &value)?;
    let mut args = vec![value];
    args.extend(rest.0);
    Value::from_function(minijinja::filters::join).call(state, &args)
}

/// Consumes fuel for the strings in a list, as if they were copied.
fn pay_for_items(state: &State, items: &Value) -> TemplateResult<()> {
    if items.kind() == ValueKind::Seq {
        for item in items.try_iter()? {
            let bytes = item.as_str().map_or(0, str::len);
            state.consume_fuel(1 + (bytes / BYTES_PER_FUEL) as u64)?;
        }
    }
    Ok(())
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands arguments over by value"
)]
fn raise_exception(message: Value) -> TemplateResult {
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!("{RAISED_MARK}{message}"),
    ))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands arguments over by value"
)]
fn strftime_now(state: &State, format: String) -> TemplateResult<String> {
    let seconds = state.lookup(DATE_NAME).and_then(|value| value.as_i64());
    let date = seconds.map(Date::from_unix_seconds);
    let date = date.ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            "strftime_now: no date was given",
        )
    })?;
    date.format(&format).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            "strftime_now: the format has an unknown code",
        )
    })
}

#[cfg(test)]
mod tests {
    use minijinja::Environment;

    use super::{FILTERS, TESTS, register};

    #[test]
    fn every_listed_filter_and_test_exists() {
        let mut environment = Environment::new();
        register(&mut environment);
        for (names, kind) in [(&FILTERS[..], "filter"), (&TESTS[..], "test")] {
            for name in names {
                let found = environment.render_str(&format!("{{{{ '{name}' is {kind} }}}}"), ());
                assert_eq!(found.unwrap(), "True", "{kind} {name}");
            }
        }
    }
}
