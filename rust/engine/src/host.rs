//! An engine on its own thread. The thread sleeps when nothing is runnable, survives a request's failure,
//! and ends loudly when an invariant breaks: every open request is told, later ones are refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use tokenmill_core::{Failure, FinishReason, Kind};

use crate::door::{Command, Door, Phase};
use crate::error::{Error, Result};
use crate::step::engine::{Engine, Step};

/// A running engine. Dropping it closes it.
#[derive(Debug)]
pub struct Host {
    door: Door,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Puts an engine on a thread of its own.
pub fn start(engine: Engine, door: Door) -> Result<Host> {
    let thread = std::thread::Builder::new()
        .name("tokenmill-engine".into())
        .spawn(move || serve(engine))
        .map_err(|source| Error::Io {
            what: "the engine thread did not start",
            source,
        })?;
    Ok(Host {
        door,
        thread: Mutex::new(Some(thread)),
    })
}

impl Host {
    /// The way in.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Takes no more requests and returns when the running ones have finished.
    pub fn drain(&self) {
        self.end(Phase::Draining);
    }

    /// Takes no more requests, ends the running ones, and frees the model.
    pub fn close(&self) {
        self.end(Phase::Closing);
    }

    fn end(&self, phase: Phase) {
        if self.door.shared.is_forked() {
            // The thread is the parent's, and its locks may be held for ever here.
            return;
        }
        self.door.shared.advance(phase);
        // Held while joining: whoever else drains or closes returns when it is over, too.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // `serve` catches panics; there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.close();
        if self.door.shared.is_forked() {
            let thread = self
                .thread
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            // Detaching a thread that this process does not have is no better than joining it.
            std::mem::forget(thread.take());
        }
    }
}

pub(crate) fn serve(mut engine: Engine) {
    loop {
        match catch_unwind(AssertUnwindSafe(|| engine.step())) {
            Ok(Step::Ran) => {}
            Ok(Step::Idle) => {
                let Ok(command) = engine.commands.recv() else {
                    break;
                };
                if catch_unwind(AssertUnwindSafe(|| engine.obey(command))).is_err() {
                    die(&mut engine);
                    break;
                }
            }
            Ok(Step::Done) => break,
            Err(_) => {
                die(&mut engine);
                break;
            }
        }
    }
    // The books may be broken; telling the callers does not need them.
    let _ = catch_unwind(AssertUnwindSafe(|| engine.close()));
    engine.shared.advance(Phase::Closed);
}

fn die(engine: &mut Engine) {
    engine.shared.advance(Phase::Dead);
    let failure = Failure::new(Kind::Internal, "the engine stopped: an invariant broke");
    let failure = Some(&failure);
    for (_, mut live) in engine.lives.drain() {
        live.outbox.end(FinishReason::Error, failure);
    }
    // Those that it had not seen yet.
    while let Ok(command) = engine.commands.try_recv() {
        if let Command::Submit(mut admitted) = command {
            admitted.outbox.end(FinishReason::Error, failure);
        }
    }
}
