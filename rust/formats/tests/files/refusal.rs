//! What every refusal owes: its kind, the file, the field, in bounded time and length.

use std::path::Path;
use std::time::{Duration, Instant};

use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{Checkpoint, Error};

/// A bad file and what must be said of it.
pub struct Case {
    pub number: u32,
    pub what: &'static str,
    pub bytes: Vec<u8>,
    pub kind: Kind,
    pub says: &'static str,
}

/// A case that must be `Corrupt`.
pub fn corrupt(number: u32, what: &'static str, bytes: Vec<u8>, says: &'static str) -> Case {
    Case {
        number,
        what,
        bytes,
        kind: Kind::Corrupt,
        says,
    }
}

/// A case that must be `Unsupported`.
pub fn unsupported(number: u32, what: &'static str, bytes: Vec<u8>, says: &'static str) -> Case {
    Case {
        number,
        what,
        bytes,
        kind: Kind::Unsupported,
        says,
    }
}

/// Opens each file under `name` and compares.
pub fn check_all(name: &str, cases: Vec<Case>) {
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, &case.bytes).unwrap();
        let context = format!("case {}: {}", case.number, case.what);
        let error = open_refused(&path, &context);
        assert_eq!(error.kind(), case.kind, "{context}: {error}");
        assert!(
            error.to_string().contains(name),
            "{context} does not name the file: {error}"
        );
        assert!(
            error.to_string().contains(case.says),
            "{context} does not say {:?}: {error}",
            case.says
        );
    }
}

/// Most time of a refusal. `TOKENMILL_TEST_SLOW` multiplies it: a sanitizer takes a multiple of the time.
fn time_max() -> Duration {
    let factor = std::env::var("TOKENMILL_TEST_SLOW").map(|factor| factor.parse());
    Duration::from_secs(1) * factor.map_or(1, |factor| factor.expect("a whole number"))
}

/// The error of opening `path`, checked for what every message must be.
pub fn open_refused(path: &Path, context: &str) -> Error {
    let start = Instant::now();
    let error = Checkpoint::open(path).map(|_| ()).expect_err(context);
    assert!(
        start.elapsed() < time_max(),
        "{context} took {:?}",
        start.elapsed()
    );
    let text = error.to_string();
    assert!(
        text.len() <= 1024,
        "{context}: {} bytes of message",
        text.len()
    );
    assert!(
        !text.contains(char::is_control),
        "{context}: control characters in {text:?}"
    );
    error
}
