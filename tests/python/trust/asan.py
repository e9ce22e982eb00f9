"""The tests of `formats` and `sched` under AddressSanitizer, on the stable compiler.

Neither crate may use `unsafe`, so what is looked for is in what they depend on. Before anything
counts, a program that reads freed memory must be reported: a sanitizer that is off finds nothing
either.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CRATES = ("tokenmill-formats", "tokenmill-sched")
_TRIPLE = "x86_64-unknown-linux-gnu"
_FLAGS = "-Zsanitizer=address"
_PLANTED = """
fn main() {
    let freed = {
        let value = vec![std::env::args().count(); 4];
        value.as_ptr()
    };
    std::process::exit(unsafe { std::ptr::read_volatile(freed) } as i32 * 0);
}
"""


def environment() -> dict[str, str]:
    """What lets the stable compiler take the flag, in a target folder of its own."""
    base = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return {
        **os.environ,
        "RUSTC_BOOTSTRAP": "1",
        "TOKENMILL_TEST_SLOW": "8",
        "RUSTFLAGS": _FLAGS,
        "CARGO_TARGET_DIR": str(base.absolute() / "asan"),
    }


def finds_the_planted_bug() -> bool:
    """Whether a read of freed memory is reported."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "planted.rs"), Path(folder, "planted")
        source.write_text(_PLANTED, "utf-8")
        command = ["rustc", _FLAGS, "--edition=2024", "-o", str(program), str(source)]
        subprocess.run(command, env=environment(), check=True, cwd=ROOT)
        outcome = subprocess.run([str(program)], capture_output=True, encoding="utf-8")
    return outcome.returncode != 0 and "heap-use-after-free" in outcome.stderr


def main() -> int:
    """What `make asan` runs."""
    if not finds_the_planted_bug():
        print("AddressSanitizer did not report a planted read of freed memory", file=sys.stderr)
        return 1
    print("test asan_reports_a_planted_read_of_freed_memory ... ok", flush=True)
    command = ["cargo", "test", "--locked", "--tests", "--no-fail-fast", "--target", _TRIPLE]
    for crate in CRATES:
        command += ["-p", crate]
    return subprocess.run(command, cwd=ROOT, env=environment()).returncode


if __name__ == "__main__":
    sys.exit(main())
