"""A local stand-in for the W&B server in tests; wandb 0.31's real client talks to it, online or by `wandb sync`.

It needs no network.

    with WandbServer() as server:
        subprocess.run([…], env=server.environment())
        assert server.runs["demo-l2-s0-1234abcd"].summary["test/miou"] > 0

It keeps runs, artifacts, workspaces and reports (see `served.py`), and it can break down: see `Fault`.
"""

import base64
import gzip
import json
import os
import re
import socket
import struct
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote

from tests.wandb.answers import Content, UnknownEntity
from tests.wandb.served import ServedArtifact, ServedRun, ServedView

Fault = Literal["refuse", "hang", "503", "401", "cut"]
"""Kind of breakdown of the server. `refuse`: nothing listens at its port, and open connections are closed. `hang`: it
takes requests and never answers. `503`: it answers that it is not available. `401`: it answers that the key is not
valid. `cut`: it does what it is asked, and closes the connection in the middle of its answer.
"""

KEY = "a" * 40
"""The API key that the server accepts."""


class WandbServer:
    """The server. It listens at `url` between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recovered = threading.Event()
        self._recovered.set()
        self._fault: Fault | None = None
        self._next: tuple[Fault, int] | None = None
        self._http = _http(self, 0)
        self.port = int(self._http.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.content = Content(self.url)
        self.operations: Counter[str] = Counter()
        """Number of requests by GraphQL operation, `file_stream` and `upload`."""
        self.unknown: list[str] = []
        """Operations that the server could not answer."""

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._recovered.set()
        if self._fault != "refuse":
            self._stop_listening()

    @property
    def runs(self) -> dict[str, ServedRun]:
        """Return the runs by their ids; a second run with an id, in another project, by `PROJECT/ID`."""
        return self.content.runs

    @property
    def artifacts(self) -> list[ServedArtifact]:
        """Return the artifacts, in the order in which they were logged."""
        return list(self.content.artifacts.values())

    @property
    def views(self) -> list[ServedView]:
        """Return the saved workspaces and reports, in the order in which they were made."""
        return list(self.content.views.values())

    def environment(self, mode: str = "online") -> dict[str, str]:
        """Return this process's environment with the variables by which a W&B client finds this server."""
        ours = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": mode, "WANDB_SILENT": "false"}
        return {**os.environ, **ours}

    def break_down(self, fault: Fault, after: int = 0) -> None:
        """Break down now, or once `after` further requests were answered."""
        with self._lock:
            self._next = (fault, after)
            if after == 0:
                self._break()

    def recover(self) -> None:
        """Work again."""
        with self._lock:
            was, self._fault, self._next = self._fault, None, None
            if was == "refuse":
                self._http = _http(self, self.port)
                self._listen()
            self._recovered.set()

    @property
    def is_broken(self) -> bool:
        """Return whether the server has broken down, and has not recovered."""
        return self._fault is not None

    def fault(self) -> Fault | None:
        """Return how the request that has just come is to fail; None if it is answered."""
        with self._lock:
            if self._next is not None:
                fault, left = self._next
                self._next = (fault, left - 1)
                if left <= 0:
                    self._break()
            return self._fault

    def wait(self) -> None:
        """Wait until the server works again."""
        self._recovered.wait()

    def graphql(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Answer a GraphQL request."""
        named = sent.get("operationName") or next(iter(re.findall(r"(?:query|mutation)\s+(\w+)", sent["query"])), "")
        with self._lock:
            self.operations[named] += 1
            try:
                return {"data": self.content.answer(named, sent.get("variables") or {})}
            except KeyError as error:
                self.unknown.append(named)
                return {"errors": [{"message": f"the stand-in server cannot answer {named} ({error!r})"}]}

    def stream(self, project: str, run_id: str, sent: dict[str, Any]) -> None:
        """Take a part of a run."""
        with self._lock:
            self.operations["file_stream"] += 1
            self.content.stream(project, run_id, sent)

    def upload(self, place: list[str], data: bytes) -> None:
        """Take a file."""
        with self._lock:
            self.operations["upload"] += 1
            self.content.upload(place, data)

    def _break(self) -> None:
        assert self._next is not None
        self._fault, self._next = self._next[0], None
        self._recovered.clear()
        if self._fault == "refuse":
            self._stop_listening()

    def _listen(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def _stop_listening(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, and answers or fails as the server says."""

    protocol_version = "HTTP/1.1"  # connections are kept, as by the real server
    server: "_HTTP"

    def log_message(self, *words: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        self._handle(self._body())

    def do_PUT(self) -> None:
        self.do_POST()

    def do_GET(self) -> None:
        self.do_POST()

    def _handle(self, body: bytes) -> None:
        owner = self.server.owner
        fault = owner.fault()
        if fault == "refuse":
            self._hang_up()
        elif fault == "hang":
            owner.wait()
            self._hang_up()
        elif fault == "503":
            self._send({"error": "not available"}, 503)
        elif fault == "401" or (self.path.startswith(("/graphql", "/files/")) and not self._has_key()):
            self._send({"errors": [{"message": "user is not logged in"}]}, 401)
        elif fault == "cut":
            self._answer(body)
            self.wfile.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"da')
            self._hang_up()
        else:
            try:
                self._send(self._answer(body), 200)
            except UnknownEntity as error:  # as W&B's server answers (github.com/wandb/wandb/issues/2484)
                self._send({"data": {"upsertBucket": None}, "errors": [{"message": str(error), "path": ["upsertBucket"]}]}, 404)

    def _answer(self, body: bytes) -> dict[str, Any]:
        owner = self.server.owner
        if self.path.startswith("/graphql"):
            return owner.graphql(json.loads(body))
        if streamed := re.fullmatch(r"/files/[^/]*/([^/]*)/([^/]*)/file_stream", self.path):
            owner.stream(unquote(streamed[1]), unquote(streamed[2]), json.loads(body))
        elif self.path.startswith("/upload/"):
            owner.upload([unquote(part) for part in self.path.removeprefix("/upload/").split("/")], body)
        elif not self.path.startswith("/sdk/otel/"):  # the client's own telemetry
            owner.unknown.append(f"{self.command} {self.path}")
        return {}

    def _has_key(self) -> bool:
        return self.headers.get("authorization") == "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()

    def _body(self) -> bytes:
        if "chunked" in (self.headers.get("transfer-encoding") or ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        return gzip.decompress(body) if body and self.headers.get("content-encoding") == "gzip" else body

    def _send(self, answer: dict[str, Any], status: int) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        """Close the connection after this request, without waiting for what was not sent."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _HTTP(ThreadingHTTPServer):
    daemon_threads = True
    owner: WandbServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that are killed in the middle of a request."""


def _http(owner: WandbServer, port: int) -> _HTTP:
    http = _HTTP(("127.0.0.1", port), _Handler)
    http.owner = owner
    return http
