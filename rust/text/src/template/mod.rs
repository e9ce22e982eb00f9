//! Chat templates: programs that come with a model, run under limits. They are compiled and rendered on
//! a thread with a deep stack (flat chains of operators recurse in the parser), with fuel (which bounds
//! time and memory) and a bounded output. White space, values and `tojson` follow transformers' Jinja.
//! A template sees messages and scalars, never a file, another template or the clock.
//!
//! Fuel bounds what a template makes, not what one operation of the engine unfolds: a list that holds
//! itself twice, forty times over, costs nothing until `~` prints it or `==` compares it. Only a process
//! of its own under limits stops that: the Python door loads templates of strangers there first, and
//! `tokenmill::check_text` lets other programs do the same.

mod date;
mod fence;
mod functions;
mod message;
mod probe;
mod source;
mod tojson;

use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, Template, Value};
use tokenmill_core::Rendered;

pub use date::Date;
pub use message::{Message, RenderOptions};

use crate::error::{Error, Result, quote};
use crate::tokenizer::Tokenizer;
use fence::Fence;

/// Longest template source.
const SOURCE_LEN_MAX_BYTES: usize = 128 << 10;

/// Instructions of one rendering; one unit also pays for 64 bytes of data.
const FUEL: u64 = 1_000_000;

/// Longest rendered text.
const OUTPUT_LEN_MAX_BYTES: usize = 8 << 20;

/// Stack of the compiling and rendering thread. 32 MiB were too few for the longest chain of unary minus
/// that fits in a source; unoptimised frames are larger.
const STACK_BYTES: usize = if cfg!(debug_assertions) {
    128 << 20
} else {
    64 << 20
};

/// The name under which the one template is known; it shows in no message.
const NAME: &str = "chat";

/// Marks the text of `raise_exception`, so that it can be told from errors of the engine.
const RAISED_MARK: &str = "\u{0}raised\u{0}";

/// A compiled chat template.
#[derive(Clone)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    bos: String,
    eos: String,
    warnings: Vec<String>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Compiles `source` and renders a few probe conversations. `bos` and `eos` are the texts of the model's
    /// tokens, empty where it has none. What fails here would fail every request: a syntax error, an
    /// unknown filter or test, another template wanted, a limit reached.
    pub fn compile(source: &str, bos: &str, eos: &str) -> Result<Self> {
        if source.len() > SOURCE_LEN_MAX_BYTES {
            let problem = format!(
                "{} bytes, at most {SOURCE_LEN_MAX_BYTES} are allowed",
                source.len()
            );
            return Err(Error::BadTemplate { line: 0, problem });
        }
        let source = source::checked(source)?;
        let environment = on_deep_stack(move || compile_environment(source))??;
        let mut template = Self {
            environment: Arc::new(environment),
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            warnings: Vec::new(),
        };
        template.warnings = probe::run(&template)?;
        Ok(template)
    }

    /// What is odd about the template without being wrong: one sentence each, found at `compile`.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The text of a conversation, as a person reads it.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String> {
        message::check(messages, options)?;
        on_deep_stack(|| self.render_here(messages, options, None))?
    }

    /// The text of a conversation for `tokenizer`'s `encode_rendered`: what the messages say makes no
    /// control token.
    pub fn render_fenced(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Rendered> {
        message::check(messages, options)?;
        let template = self.template()?;
        let Some(fence) = Fence::new(tokenizer.controls(), messages, template.source())? else {
            let text = on_deep_stack(|| self.render_here(messages, options, None))??;
            return Ok(Rendered::trusted(text));
        };
        let messages: Vec<Message> = messages.iter().map(|m| fence.message(m)).collect();
        let marker = Some(fence.marker);
        let marked = on_deep_stack(|| self.render_here(&messages, options, marker))??;
        Ok(Rendered { marked, marker })
    }

    fn template(&self) -> Result<Template<'_, '_>> {
        let template = self.environment.get_template(NAME);
        template.map_err(|error| failure(&error))
    }

    fn render_here(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        marker: Option<char>,
    ) -> Result<String> {
        let ours = message::Ours {
            bos: &self.bos,
            eos: &self.eos,
            marker,
        };
        let context = message::context(messages, options, &ours);
        let mut output = BoundedOutput(Vec::new());
        self.template()?
            .render_captured_to(context, &mut output)
            .map_err(|error| failure(&error))?;
        String::from_utf8(output.0).map_err(|_| Error::RenderFailed {
            line: 0,
            problem: "the output is not UTF-8".to_owned(),
        })
    }
}

fn compile_environment(source: String) -> Result<Environment<'static>> {
    let bad = |error: &minijinja::Error| Error::BadTemplate {
        line: error.line().unwrap_or(0),
        problem: quote(&error.to_string()),
    };
    let mut environment = Environment::new();
    environment.set_debug(false);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.map_err(|error| bad(&error))?);
    functions::register(&mut environment);
    environment
        .add_template_owned(NAME, source)
        .map_err(|error| bad(&error))?;
    Ok(environment)
}

/// Says what stopped a rendering, in our words where it was a limit.
fn failure(error: &minijinja::Error) -> Error {
    let line = error.line().unwrap_or(0);
    if let Some(message) = error
        .detail()
        .and_then(|detail| detail.strip_prefix(RAISED_MARK))
    {
        return Error::TemplateRaised {
            message: message.chars().take(functions::RAISED_CHARS_MAX).collect(),
        };
    }
    let problem = match error.kind() {
        ErrorKind::OutOfFuel => format!("it ran past its limit of {FUEL} steps"),
        ErrorKind::WriteFailure => {
            format!("its output is longer than {OUTPUT_LEN_MAX_BYTES} bytes")
        }
        _ => quote(&error.to_string()),
    };
    Error::RenderFailed { line, problem }
}

/// Runs `work` on a thread with a deep stack. A panic there is a failed rendering.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("template".to_owned())
            .stack_size(STACK_BYTES);
        let handle = thread
            .spawn_scoped(scope, work)
            .map_err(|_| Error::NoThread)?;
        handle.join().map_err(|_| Error::RenderFailed {
            line: 0,
            problem: "the template engine failed".to_owned(),
        })
    })
}

/// A buffer that refuses to grow past the bound.
struct BoundedOutput(Vec<u8>);

impl io::Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_LEN_MAX_BYTES {
            return Err(io::Error::other("output too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shorthand of the modules below.
type TemplateResult<T = Value> = std::result::Result<T, minijinja::Error>;
