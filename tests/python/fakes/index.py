"""A package index on loopback that can misbehave in the ways a real one does."""

import contextlib
import http.server
import threading
from collections.abc import Iterator

STALL_MAX_S = 20.0
# Pages in the index's JSON form that are none.
JSON_PAGES = {
    "json list": b"[]",
    "json null": b'{"files": null}',
    "json numbers": b'{"files": [1]}',
    "json depth": b"[" * 200_000,
    "json text": b"files",
    "json empty": b'{"files": []}',
    "json urls": b'{"files": [{"url": 3}]}',
}


class LoopbackIndex(http.server.ThreadingHTTPServer):
    """Serves one wheel under `/simple/`; `mode` says how badly."""

    daemon_threads = True

    def __init__(self, wheel_name: str, wheel: bytes, mode: str = "good") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheel_name = wheel_name
        self.wheel = wheel
        self.mode = mode
        self.wheel_reads = 0
        self.requests = 0
        self.released = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The index URL for a client's configuration."""
        return f"http://127.0.0.1:{self.server_address[1]}/simple"

    def count(self, *, is_wheel: bool) -> None:
        """Note one request."""
        with self._lock:
            self.requests += 1
            self.wheel_reads += is_wheel

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: LoopbackIndex

    def do_GET(self) -> None:
        is_wheel = self.path.endswith(".whl")
        self.server.count(is_wheel=is_wheel)
        mode = self.server.mode
        if mode == "stall":
            self.server.released.wait(STALL_MAX_S)
            return
        if mode in ("404", "500"):
            self.send_error(int(mode))
            return
        if mode == "loop":
            self._reply(302, b"", "text/html", location=self.path)
            return
        if mode == "away":
            self._reply(302, b"", "text/html", location="http://index.invalid/simple/")
            return
        if is_wheel:
            self._send_wheel()
            return
        if mode in JSON_PAGES:
            self._reply(200, JSON_PAGES[mode], "application/vnd.pypi.simple.v1+json")
            return
        link = f'<a href="/files/{self.server.wheel_name}">wheel</a>'
        page = "<html></html>" if mode == "empty" else f"<html>{link}</html>"
        self._reply(200, page.encode(), "text/html")

    def _send_wheel(self) -> None:
        wheel = self.server.wheel
        if self.server.mode == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(wheel)))
            self.end_headers()
            self.wfile.write(wheel[: len(wheel) // 2])
            return
        if self.server.mode == "flipped":
            wheel = wheel[:1000] + bytes([wheel[1000] ^ 1]) + wheel[1001:]
        if self.server.mode == "longer":
            wheel += b"x"
        if self.server.mode == "shorter":
            wheel = wheel[:-1]
        self._reply(200, wheel, "application/octet-stream")

    def _reply(self, status: int, body: bytes, kind: str, location: str | None = None) -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        """Silence."""


@contextlib.contextmanager
def serving(wheel_name: str, wheel: bytes, mode: str = "good") -> Iterator[LoopbackIndex]:
    """An index that runs for the length of the block."""
    index = LoopbackIndex(wheel_name, wheel, mode)
    thread = threading.Thread(target=index.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield index
    finally:
        index.released.set()
        index.shutdown()
        thread.join()
        index.server_close()
