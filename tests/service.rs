//! The example service, as a process of its own: many clients at once, one that hangs up, bad lines, and how it
//! closes. Always on a model made on the spot; once more on the default model where `TOKENMILL_TEST_GGUF` names it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

#[path = "models/tiny_gguf.rs"]
mod tiny_gguf;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(2);

struct Service {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
    _folder: tempfile::TempDir,
}

impl Service {
    fn start_tiny(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let model = folder.path().join("tiny.gguf");
        std::fs::write(&model, tiny_gguf::gguf()).expect("a model");
        Self::start(&model, options, folder)
    }

    fn start(model: &Path, options: &[&str], folder: tempfile::TempDir) -> Self {
        let mut child = Command::new(program())
            .arg(model)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example is built by cargo test");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect(&line);
        Self {
            address: address.to_owned(),
            child,
            out,
            _folder: folder,
        }
    }

    fn client(&self) -> Client {
        let socket = TcpStream::connect(&self.address).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let reader = BufReader::new(socket.try_clone().expect("a second end"));
        Client { socket, reader }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill").success());
    }

    fn wait_until(&self, figure: &str, value: u64) {
        let mut client = self.client();
        let start = Instant::now();
        loop {
            client.send(&json!({ "stats": true }));
            if client.line()["stats"][figure] == value {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{figure} is never {value}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo puts examples beside the folder of the tests.
fn program() -> PathBuf {
    let here = std::env::current_exe().expect("a path");
    let profile = here.parent().and_then(Path::parent).expect("deps/..");
    profile.join("examples").join("service")
}

struct Client {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn send(&mut self, line: &Json) {
        self.send_text(&line.to_string());
    }

    fn send_text(&mut self, line: &str) {
        self.socket
            .write_all(format!("{line}\n").as_bytes())
            .expect("a reader");
    }

    fn line(&mut self) -> Json {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line in time");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"))
    }

    /// The text of the only running request, and why it ended.
    fn answer(&mut self) -> (String, String) {
        let mut text = String::new();
        loop {
            let line = self.line();
            assert!(line.get("error").is_none(), "{line}");
            text.push_str(line["text"].as_str().unwrap_or_default());
            if let Some(finish) = line["finish"].as_str() {
                return (text, finish.to_owned());
            }
        }
    }

    fn ask(&mut self, prompt: &str, max_tokens: u32) -> (String, String) {
        let line = json!({
            "id": 1, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true
        });
        self.send(&line);
        self.answer()
    }
}

fn clients_at_once_hear_what_each_hears_alone(service: &Service) {
    let prompts = ["The sea is", "Once upon a time", "x", "Rivers of France:"];
    let alone = prompts.map(|prompt| service.client().ask(prompt, 24));
    for (text, finish) in &alone {
        assert!(!text.is_empty());
        assert_eq!(finish, "length");
    }
    std::thread::scope(|scope| {
        for round in 0..3 {
            for (prompt, expected) in prompts.iter().zip(&alone) {
                scope.spawn(move || {
                    let got = service.client().ask(prompt, 24);
                    assert_eq!(&got, expected, "round {round}, {prompt}");
                });
            }
        }
    });
}

#[test]
fn clients_at_once_hear_what_each_hears_alone_on_the_tiny_model() {
    clients_at_once_hear_what_each_hears_alone(&Service::start_tiny(&[]));
}

#[test]
fn clients_at_once_hear_what_each_hears_alone_on_the_default_model() {
    let Some(model) = std::env::var_os("TOKENMILL_TEST_GGUF") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(Path::new(&model), &["max_model_len=512"], folder);
    clients_at_once_hear_what_each_hears_alone(&service);
    let mut client = service.client();
    client.send(&json!({
        "id": "chat", "max_tokens": 24, "temperature": 0,
        "messages": [{ "role": "user", "content": "What is a watermill?" }],
    }));
    let (text, _) = client.answer();
    assert!(text.contains("water"), "{text}");
}

#[test]
fn one_connection_runs_several_requests_and_cancels_one() {
    let service = Service::start_tiny(&[]);
    let mut client = service.client();
    // Far more than the third takes, on a machine of any speed.
    for id in ["long", "twice"] {
        client.send(
            &json!({ "id": id, "prompt": "a", "max_tokens": 4000, "n": 16, "ignore_eos": true }),
        );
    }
    client.send(&json!({ "id": "short", "prompt": "b", "max_tokens": 3, "ignore_eos": true }));
    let mut ends = Vec::new();
    while ends.len() < 3 {
        let line = client.line();
        let Some(finish) = line["finish"].as_str() else {
            continue;
        };
        ends.push(format!("{} {finish}", line["id"]));
        if line["id"] == "short" {
            client.send(&json!({ "cancel": "long" }));
            client.send(&json!({ "cancel": "twice" }));
        }
    }
    ends.sort();
    assert_eq!(
        ends,
        ["\"long\" abort", "\"short\" length", "\"twice\" abort"]
    );
    service.wait_until("requests_live", 0);
}

#[test]
fn a_client_that_hangs_up_ends_its_requests_and_no_others() {
    let service = Service::start_tiny(&[]);
    let mut stays = service.client();
    let line = json!({ "id": 1, "prompt": "stays", "max_tokens": 2000, "ignore_eos": true });
    stays.send(&line);
    for _ in 0..8 {
        let mut leaves = service.client();
        leaves.send(&json!({ "id": 1, "prompt": "go", "max_tokens": 4000, "ignore_eos": true }));
        assert!(leaves.line()["text"].is_string());
    }
    assert_eq!(stays.answer().1, "length");
    service.wait_until("requests_live", 0);
    service.wait_until("handles_open", 0);
    // They did not merely run to their ends, which are 8 x 4,000 tokens away.
    let mut client = service.client();
    client.send(&json!({ "stats": true }));
    let tokens = client.line()["stats"]["tokens"].as_u64();
    assert!(
        tokens.expect("a figure") < 2_000 + 8 * 2_000,
        "{tokens:?} were computed"
    );
}

#[test]
fn bad_lines_are_refused_with_their_field_and_the_connection_goes_on() {
    let service = Service::start_tiny(&["max_num_seqs=1", "max_num_queued_reqs=1"]);
    let mut client = service.client();
    let cases = [
        ("{", "InvalidRequest", Json::Null, "JSON"),
        ("[1]", "InvalidRequest", Json::Null, "JSON"),
        ("{}", "InvalidRequest", json!("prompt"), "prompt"),
        (
            r#"{"prompt": {"a": 1}}"#,
            "InvalidRequest",
            json!("prompt"),
            "token ids",
        ),
        (
            r#"{"prompt": [1, 258]}"#,
            "InvalidRequest",
            json!("prompt"),
            "below 258",
        ),
        (
            r#"{"prompt": "a", "temprature": 1}"#,
            "InvalidRequest",
            json!("temprature"),
            "temperature",
        ),
        (
            r#"{"prompt": "a", "top_p": 0}"#,
            "InvalidRequest",
            json!("top_p"),
            "top_p",
        ),
        (
            r#"{"messages": [{"role": 1}]}"#,
            "InvalidRequest",
            json!("messages"),
            "messages",
        ),
    ];
    for (line, kind, param, text) in cases {
        client.send_text(line);
        let error = client.line()["error"].clone();
        assert_eq!(error["kind"], kind, "{line}: {error}");
        assert_eq!(error["param"], param, "{line}: {error}");
        assert!(error["message"].to_string().contains(text), "{error}");
    }
    let long = json!({ "id": 1, "prompt": "a", "max_tokens": 4000, "ignore_eos": true });
    client.send(&long);
    assert!(client.line()["text"].is_string());
    client.send(&long);
    let mut other = service.client();
    other.send(&long);
    let error = other.line()["error"].clone();
    assert_eq!(error["kind"], "Overloaded", "{error}");
    assert_eq!(error["is_retryable"], true, "{error}");
    loop {
        let line = client.line();
        if line["error"].is_object() {
            assert_eq!(line["error"]["param"], "id", "{line}");
            break;
        }
    }
    let mut endless = service.client();
    endless.send_text(&"x".repeat(2 << 20));
    let error = endless.line()["error"].clone();
    assert!(error["message"].to_string().contains("1048576"), "{error}");
}

#[test]
fn ctrl_c_lets_running_requests_finish_and_takes_no_new_ones() {
    let mut service = Service::start_tiny(&[]);
    let mut client = service.client();
    client.send(&json!({ "id": 1, "prompt": "a", "max_tokens": 1500, "ignore_eos": true }));
    assert!(client.line()["text"].is_string());
    service.signal("-INT");
    let mut said = String::new();
    service.out.read_line(&mut said).expect("a line");
    assert!(said.starts_with("closing"), "{said}");
    assert_eq!(client.answer().1, "length");
    assert!(service.child.wait().expect("an end").success());
}

#[test]
fn ctrl_c_twice_ends_them_with_a_word() {
    let mut service = Service::start_tiny(&["max_num_seqs=1"]);
    let mut client = service.client();
    for id in 0..40 {
        client.send(&json!({ "id": id, "prompt": "a", "max_tokens": 4000, "ignore_eos": true }));
    }
    assert!(client.line()["text"].is_string());
    service.signal("-INT");
    let mut said = String::new();
    service.out.read_line(&mut said).expect("a line");
    service.signal("-INT");
    // One after another, so that the last ones have not begun, however fast the first ones were.
    let (mut ended, mut cut) = (0, 0);
    while ended < 40 {
        let line = client.line();
        if line["finish"] == "length" {
            ended += 1;
        } else if line["finish"] == "error" || line["error"].is_object() {
            assert_eq!(line["error"]["kind"], "Draining", "{line}");
            (ended, cut) = (ended + 1, cut + 1);
        }
    }
    assert!(cut > 0, "all of them ran to their ends");
    assert!(service.child.wait().expect("an end").success());
}

#[test]
fn a_wrong_command_line_is_refused_by_name() {
    let cases: [(&[&str], &str); 4] = [
        (&[], "usage"),
        (&["nowhere.gguf"], "nowhere.gguf"),
        (&["m.gguf", "thread=2"], "threads"),
        (&["m.gguf", "threads=many"], "threads"),
    ];
    for (arguments, text) in cases {
        let ran = Command::new(program()).args(arguments).output();
        let ran = ran.expect("the example is built by cargo test");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains(text), "{said}");
    }
}
