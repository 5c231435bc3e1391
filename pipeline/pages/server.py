"""The server behind ``features browse``: one page, its clips, and the marks they are given; on this machine alone.

Every address begins with a secret. Requests under another host name are refused, so that no other page in the same
browser gets in by a name that it makes point here, and marks are taken only from the page itself.
"""

import hmac
import json
import re
import secrets
import sys
import threading
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from features.errors import InputError
from features.look.media import frequency_ticks, time_ticks
from features.split.marks import MARKS, read_marks, remove_mark, save_mark
from pipeline.pages.render import render
from pipeline.pages.shelf import ORDERS, Query, Shelf

HOST = "127.0.0.1"
LARGEST_REQUEST = 10_000
"""Bytes of a mark."""


class MarkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page sends to mark a clip; an empty mark takes it away."""

    set: str
    number: int
    mark: str


class UnmarkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page sends to take the mark of a clip away that is in no set."""

    digest: str
    word: str


class Server(ThreadingHTTPServer):
    """Serves a shelf of clips until it is shut down.

    Parameters
    ----------
    shelf : Shelf
    marks : Path
        File of marks.
    port : int
        0 for any that is free.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, shelf: Shelf, marks: Path, port: int = 0) -> None:
        super().__init__((HOST, port), Handler)
        self.shelf = shelf
        self.marks = marks
        self.token = secrets.token_urlsafe(16)
        self.stopped = threading.Event()
        self.page = _page(shelf, marks)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that has turned to another page and hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"


def _page(shelf: Shelf, marks: Path) -> str:
    one = next((shelved for shelved in shelf.sets.values() if shelved.features), None)
    data: dict[str, Any] = {
        "words": shelf.words,
        "clips": shelf.clips,
        "marks": MARKS,
        "file": str(marks),
        "can_measure": shelf.can_measure,
        "time_ticks": None,
        "frequency_ticks": None,
    }
    if one and one.features:
        data["time_ticks"] = vars(time_ticks(one.features.attributes["clip_seconds"]))
        data["frequency_ticks"] = vars(frequency_ticks(one.features.axes))
    return render(
        "browse.html.j2",
        ("cards.js", "browse.js"),
        connect="'self'",
        shelf=shelf,
        marks=MARKS,
        orders=ORDERS,
        data=data,
    )


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send the page, a list of clips, a sound or a picture."""
        path = self._allowed_path()
        if path is None:
            return
        shelf = self.server.shelf
        file = re.fullmatch(r"(sound|picture)/([^/]+)/(\d{1,12})", unquote(path))
        try:
            if path == "":
                self._send(self.server.page.encode(), "text/html; charset=utf-8")
            elif path == "clips":
                marks = read_marks(self.server.marks)
                left_out = [asdict(mark) for mark in shelf.left_out(marks)]
                self._send_json({**shelf.find(self._query(), marks), "left_out": left_out})
            elif file and file[1] == "sound":
                self._send(shelf.sound(file[2], int(file[3])), "audio/flac")
            elif file:
                self._send(shelf.picture(file[2], int(file[3])), "image/webp")
            else:
                self._refuse(HTTPStatus.NOT_FOUND)
        except LookupError as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except (ValueError, msgspec.ValidationError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (InputError, OSError) as error:  # a damaged shard, or marks that cannot be read
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, _sentence(error))

    def do_POST(self) -> None:
        """Mark a clip."""
        path = self._allowed_path()
        if path is None:
            return
        length = self.headers.get("Content-Length", "")
        origin = self.headers.get("Origin", "")
        is_ours = origin == f"http://{self.headers.get('Host')}"
        is_json = self.headers.get("Content-Type") == "application/json"
        if (
            path not in ("mark", "unmark")
            or not is_ours
            or not is_json
            or not length.isdecimal()
            or int(length) > LARGEST_REQUEST
        ):
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        try:
            sent = self.rfile.read(int(length))
            if path == "mark":
                self._mark(msgspec.json.decode(sent, type=MarkRequest))
            else:
                asked = msgspec.json.decode(sent, type=UnmarkRequest)
                remove_mark(self.server.marks, asked.digest, asked.word)
            self._send_json({"marks": len(read_marks(self.server.marks))})
        except LookupError as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except (ValueError, msgspec.ValidationError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (InputError, OSError) as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, _sentence(error))

    def _mark(self, asked: MarkRequest) -> None:
        mark = self.server.shelf.mark_of_clip(asked.set, asked.number, asked.mark or MARKS[0])
        if asked.mark:
            save_mark(self.server.marks, mark)
        else:
            remove_mark(self.server.marks, mark.digest, mark.word)

    def _allowed_path(self) -> str | None:
        """The address behind the secret; None, with the request refused, if it is not there."""
        token, _, path = urlsplit(self.path).path.removeprefix("/").partition("/")
        is_known = hmac.compare_digest(token.encode(), self.server.token.encode())
        # Another port may be the end of a tunnel; another name never is this machine's own.
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost") or not is_known:
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        return path

    def _query(self) -> Query:
        asked = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        query = msgspec.convert(asked, Query, strict=False)
        known = {
            "set": self.server.shelf.sets,
            "word": self.server.shelf.words,
            "heard": self.server.shelf.words,
            "network": self.server.shelf.networks,
            "mark": MARKS,
            "order": ORDERS,
        }
        for name, valid in known.items():
            value = getattr(query, name)
            if value and value not in valid:
                raise ValueError(f"there is no {name} {value!r}")
        if query.page < 0:
            raise ValueError("pages begin with 0")
        return query

    def _send_json(self, answer: Any) -> None:
        self._send(json.dumps(answer, ensure_ascii=False).encode(), "application/json")

    def _send(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, why: str = "") -> None:
        self.close_connection = True
        self._send((why or status.phrase).encode(), "text/plain; charset=utf-8", status)

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


def _sentence(error: InputError | OSError) -> str:
    """What went wrong, in words."""
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read or written ({error.strerror}); fix that and try again"
    return str(error)
