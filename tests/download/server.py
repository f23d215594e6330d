"""A server of files on this machine, which speaks real HTTP with ranges, and misbehaves on demand."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves the bytes in `files` by their path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        """Path and range of each request."""
        self.ranges = True
        self.break_after: int | None = None
        """Bytes after which an answer breaks off; None for never."""
        self.pause = 0.0
        """Seconds before each 1000 bytes."""
        self.code = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the library
        """Print nothing."""

    def do_GET(self) -> None:
        path, wanted = self.path, self.headers.get("Range")
        self.server.asked.append((path, wanted))
        if path not in self.server.files or self.server.code >= 400:
            self.send_error(404 if self.server.code < 400 else self.server.code)
            return
        content = self.server.files[path]
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.ranges else 0  # type: ignore[index]
        if start >= len(content) and wanted and self.server.ranges:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if wanted and self.server.ranges else 200)
        if wanted and self.server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:] if self.server.break_after is None else content[start:][: self.server.break_after]
        for place in range(0, len(body), 1000):
            if self.server.pause:
                self.wfile.flush()
                time.sleep(self.server.pause)
            try:
                self.wfile.write(body[place : place + 1000])
            except OSError:
                return


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server in a thread."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
