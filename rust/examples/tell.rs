//! The shortest program on the crate: `tell MODEL PROMPT` prints the continuation as it comes. It is also what a
//! debugger is pointed at to follow a request (docs/what-happens-to-a-request.md).

use std::io::{Write, stdout};
use std::path::Path;

use tokenmill::{EngineOptions, Request, SamplingParams, load};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: tell MODEL PROMPT";
    let (model, prompt) = (arguments.next(), arguments.next());
    let (model, prompt) = model.zip(prompt).ok_or(usage)?;
    let (host, _info) = load(Path::new(&model), &EngineOptions::default())?;
    let params = SamplingParams {
        temperature: 0.0,
        max_tokens: Some(16),
        ..SamplingParams::default()
    };
    for event in host.door().submit(Request::new(prompt, params))? {
        write!(stdout(), "{}", event.text)?;
        stdout().flush()?;
    }
    writeln!(stdout())?;
    Ok(())
}
