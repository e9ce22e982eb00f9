//! A text service over TCP, without Python: one engine, many clients, one JSON object a line each way.
//!
//! ```text
//! service MODEL [--listen ADDRESS] [engine_option=value ...]
//! -> {"id": 1, "prompt": "The sea is", "max_tokens": 20, "temperature": 0}     any sampling option
//! -> {"id": "b", "messages": [{"role": "user", "content": "Name three rivers."}]}
//! <- {"id":1,"index":0,"text":" a place"}                                      as tokens come
//! <- {"id":1,"index":0,"finish":"length"}
//! -> {"cancel": "b"}
//! -> {"stats": true}
//! ```
//!
//! A thread reads each connection and one more writes each request; both are bounded. A client that goes away, or
//! does not read, ends its own requests only; one that is silent keeps its place. Ctrl-C (or SIGTERM) lets running requests finish; a second one ends
//! them. It has no keys and no encryption: listen on loopback, or put what has them in front.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io::{BufRead, BufReader, Read, Write, stderr, stdout};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokenmill::option::{Group, Value, find, parse_text};
use tokenmill::{
    Date, Door, EngineOptions, Error, Event, Failure, Finish, Handle, HasKind, Host, Kind, Limits,
    Message, Prompt, Received, RenderOptions, Request, load,
};

/// Clients at once; the next one is told so and let go.
const CONNECTIONS_MAX: usize = 64;
/// Requests whose answers are being written, of all clients; a client that does not read keeps its own.
const STREAMS_MAX: usize = 512;
/// Longest `id`, which stands in every line of the answer.
const ID_LEN_MAX_BYTES: usize = 256;
/// Longest line of a client, so that one cannot fill the memory.
const LINE_LEN_MAX_BYTES: u64 = 1 << 20;
/// How long a client may leave its socket full before it counts as gone.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn StdError>> {
    let settings = Settings::parse(arguments)?;
    let (host, _info) = load(&settings.model, &settings.options)?;
    let listener = TcpListener::bind(&settings.listen)?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    say(&format!("listening on {}", listener.local_addr()?))?;
    let host = Arc::new(host);
    let clients = Counter::default();
    let streams = Counter::default();
    {
        let (door, streams) = (host.door().clone(), streams.clone());
        thread::spawn(move || accept(&listener, &door, &clients, &streams));
    }
    signals.forever().next();
    say("closing: running requests finish; once more to end them")?;
    let hurried: Arc<Host> = host.clone();
    thread::spawn(move || {
        signals.forever().next();
        hurried.close();
    });
    // From here on the door refuses new requests.
    host.drain();
    streams.wait_for_none(WRITE_TIME_MAX);
    say("closed")?;
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(stdout(), "{line}")?;
    stdout().flush()
}

/// What the command line says.
struct Settings {
    model: PathBuf,
    listen: String,
    options: EngineOptions,
}

impl Settings {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn StdError>> {
        let usage = "usage: service MODEL [--listen ADDRESS] [engine_option=value ...]";
        let model = PathBuf::from(arguments.next().ok_or(usage)?);
        let mut listen = "127.0.0.1:0".to_owned();
        let mut values = Vec::new();
        while let Some(argument) = arguments.next() {
            if argument == "--listen" {
                listen = arguments.next().ok_or(usage)?;
                continue;
            }
            let (name, text) = argument.split_once('=').ok_or(usage)?;
            // An unknown name is refused with the nearest one by `from_values`.
            let value = match find(Group::Engine, name) {
                Some(option) => parse_text(option, text)?,
                None => Value::Text(text.to_owned()),
            };
            values.push((name.to_owned(), value));
        }
        let options = EngineOptions::from_values(&values)?;
        Ok(Self {
            model,
            listen,
            options,
        })
    }
}

/// How many of something there are, for bounds and for waiting until there are none.
#[derive(Clone, Default)]
struct Counter(Arc<(Mutex<usize>, Condvar)>);

/// One of them, until dropped.
struct Counted(Counter);

impl Counter {
    fn take(&self, most: usize) -> Option<Counted> {
        let mut count = lock(&self.0.0);
        if *count == most {
            return None;
        }
        *count += 1;
        Some(Counted(self.clone()))
    }

    fn wait_for_none(&self, longest: Duration) {
        let (count, changed) = &*self.0;
        let _ = changed.wait_timeout_while(lock(count), longest, |count| *count > 0);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (count, changed) = &*self.0.0;
        *lock(count) -= 1;
        changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here leaves a half-made value behind when it panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, door: &Door, clients: &Counter, streams: &Counter) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else {
            // Out of descriptors, or a client that left at once: others may still come.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let Some(client) = clients.take(CONNECTIONS_MAX) else {
            let failure = Failure::new(Kind::Overloaded, "too many connections: try again later");
            let _ = writeln!(&socket, "{}", json!({ "error": told(&failure, None) }));
            continue;
        };
        let connection = Connection::new(socket, door.clone(), streams.clone());
        // Where no thread can be had, the client is let go.
        let _ = thread::Builder::new().spawn(move || {
            if let Ok(connection) = connection {
                connection.read();
            }
            drop(client);
        });
    }
}

/// One client.
struct Connection {
    socket: TcpStream,
    /// Locked while a line is written, so that lines stay whole.
    writer: Mutex<TcpStream>,
    handles: Mutex<HashMap<String, Arc<Handle>>>,
    door: Door,
    streams: Counter,
}

impl Connection {
    fn new(socket: TcpStream, door: Door, streams: Counter) -> std::io::Result<Arc<Self>> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(WRITE_TIME_MAX))?;
        let writer = Mutex::new(socket.try_clone()?);
        Ok(Arc::new(Self {
            socket,
            writer,
            handles: Mutex::default(),
            door,
            streams,
        }))
    }

    /// Obeys line after line. A client that only closed its writing side still gets its answers.
    fn read(self: &Arc<Self>) {
        let mut reader = BufReader::new(&self.socket);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = (&mut reader).take(LINE_LEN_MAX_BYTES);
            match bounded.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line.len() as u64 == LINE_LEN_MAX_BYTES => {
                    let message = format!("a line must have fewer than {LINE_LEN_MAX_BYTES} bytes");
                    self.refuse(
                        &Json::Null,
                        &Failure::new(Kind::InvalidRequest, message),
                        None,
                    );
                    return self.hang_up();
                }
                Ok(_) if line.trim_ascii().is_empty() => {}
                Ok(_) => self.obey(&line),
            }
        }
    }

    fn obey(self: &Arc<Self>, line: &[u8]) {
        let mut fields: Map<String, Json> = match serde_json::from_slice(line) {
            Ok(fields) => fields,
            Err(error) => {
                let message = format!("a line must be a JSON object: {error}");
                let failure = Failure::new(Kind::InvalidRequest, message);
                return self.refuse(&Json::Null, &failure, None);
            }
        };
        if let Some(id) = fields.get("cancel") {
            // One that has just ended is no fault of the client's.
            if let Some(handle) = lock(&self.handles).get(&id.to_string()) {
                handle.cancel();
            }
            return;
        }
        if fields.contains_key("stats") {
            let figures = self.door.stats().snapshot();
            let figures: Map<String, Json> = figures
                .into_iter()
                .map(|(name, figure)| (name.to_owned(), figure.into()))
                .collect();
            return self.write(&json!({ "stats": figures }));
        }
        let id = fields.remove("id").unwrap_or(Json::Null);
        match self.submit(&id, fields) {
            Ok(()) => {}
            Err(Refusal::Ours(failure, param)) => self.refuse(&id, &failure, Some(param)),
            Err(Refusal::Engine(error)) => self.refuse(&id, &Failure::of(&error), error.param()),
        }
    }

    fn submit(self: &Arc<Self>, id: &Json, mut fields: Map<String, Json>) -> Result<(), Refusal> {
        let prompt = match (fields.remove("prompt"), fields.remove("messages")) {
            (Some(prompt), None) => to_prompt(prompt)?,
            (None, Some(messages)) => self.render(messages)?,
            _ => return Err(Refusal::of("prompt", "give either prompt or messages")),
        };
        let values: Vec<(String, Value)> = fields
            .into_iter()
            .map(|(name, value)| (name, to_value(value)))
            .collect();
        let params = self.door.params(&values)?;
        if id.to_string().len() > ID_LEN_MAX_BYTES {
            let problem = format!("must have at most {ID_LEN_MAX_BYTES} bytes");
            return Err(Refusal::of("id", &problem));
        }
        // The engine forgets a request when it has ended; its answer takes as long as its client reads.
        let stream = self.streams.take(STREAMS_MAX).ok_or_else(Refusal::busy)?;
        let mut handles = lock(&self.handles);
        if handles.contains_key(&id.to_string()) {
            return Err(Refusal::of("id", "a request of this id is still running"));
        }
        let handle = Arc::new(self.door.submit(Request::new(prompt, params))?);
        handles.insert(id.to_string(), handle.clone());
        drop(handles);
        let (connection, own) = (self.clone(), id.clone());
        let started = thread::Builder::new().spawn(move || {
            connection.stream(&own, &handle);
            lock(&connection.handles).remove(&own.to_string());
            drop(stream);
        });
        if started.is_err() {
            // The closure's handle is gone with it; with this one the request ends.
            lock(&self.handles).remove(&id.to_string());
            return Err(Refusal::busy());
        }
        Ok(())
    }

    /// A conversation, in the model's own words around it.
    fn render(&self, messages: Json) -> Result<Prompt, Refusal> {
        let messages: Vec<Message> = serde_json::from_value(messages)
            .map_err(|error| Refusal::of("messages", &format!("must be messages: {error}")))?;
        let limit = Limits::default().messages_max;
        if messages.len() > limit {
            return Err(Refusal::of("messages", &format!("at most {limit}")));
        }
        let now = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |time| time.as_secs());
        let options = RenderOptions {
            add_generation_prompt: true,
            date: Some(Date::from_unix_seconds(now.cast_signed())),
            ..RenderOptions::default()
        };
        Ok(self.door.lexicon().render(&messages, &options)?.into())
    }

    /// Writes events as they come, to the end of every sample.
    fn stream(&self, id: &Json, handle: &Handle) {
        let mut samples_open = handle.params().n;
        while let Received::Event(event) = handle.receive(None) {
            let Event {
                index,
                text,
                finish,
                ..
            } = event;
            if !text.is_empty() {
                self.write(&json!({ "id": id, "index": index, "text": text }));
            }
            if let Some(finish) = finish {
                samples_open -= 1;
                self.write(&last_line(id, index, &finish));
            }
        }
        if samples_open > 0 {
            self.write(&json!({ "id": id, "finish": "abort" }));
        }
    }

    fn refuse(&self, id: &Json, failure: &Failure, param: Option<&str>) {
        self.write(&json!({ "id": id, "error": told(failure, param) }));
    }

    /// Writes a line, or lets the client go: nobody reads what it asked for.
    fn write(&self, line: &Json) {
        let line = format!("{line}\n");
        let written = lock(&self.writer).write_all(line.as_bytes());
        if written.is_err() {
            self.hang_up();
        }
    }

    fn hang_up(&self) {
        for handle in lock(&self.handles).values() {
            handle.cancel();
        }
        // The reader finds the end; the client may be gone already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Why a line was refused: by this program, with the field, or by the engine.
enum Refusal {
    Ours(Failure, &'static str),
    Engine(Error),
}

impl Refusal {
    fn of(param: &'static str, problem: &str) -> Self {
        let message = format!("{param}: {problem}");
        Self::Ours(Failure::new(Kind::InvalidRequest, message), param)
    }
}

impl Refusal {
    fn busy() -> Self {
        let message = "too many answers are being written: try again later";
        Self::Ours(Failure::new(Kind::Overloaded, message), "id")
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

fn told(failure: &Failure, param: Option<&str>) -> Json {
    json!({
        "kind": format!("{:?}", failure.kind),
        "param": param,
        "message": failure.message,
        "is_retryable": failure.kind.row().is_retryable,
    })
}

fn last_line(id: &Json, index: u32, finish: &Finish) -> Json {
    let mut line = json!({ "id": id, "index": index, "finish": finish.reason.as_str() });
    if let Some(failure) = &finish.error {
        line["error"] = told(failure, None);
    }
    line
}

fn to_prompt(json: Json) -> Result<Prompt, Refusal> {
    match json {
        Json::String(text) => Ok(text.into()),
        other => serde_json::from_value::<Vec<u32>>(other)
            .map(Prompt::Tokens)
            .map_err(|_| Refusal::of("prompt", "must be a text or a list of token ids")),
    }
}

fn to_value(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(to_value).collect()),
        Json::Object(fields) => {
            let pair = |(name, value)| (Value::Text(name), to_value(value));
            Value::Map(fields.into_iter().map(pair).collect())
        }
    }
}
