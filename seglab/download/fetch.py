"""Download a file over HTTP, and go on where an interrupted download ended."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, build_opener

SECONDS = 30
"""Seconds without a byte after which a connection counts as broken."""
CHUNK = 2**16

Report = Callable[[int, int | None], None]
"""Called with the bytes that are there, and the bytes in all if the server says their number."""


class _BrokenError(Exception):
    """The network or the server failed; the bytes so far are good."""


def fetch(url: str, file: Path, report: Report, seconds: float = SECONDS) -> None:
    """Download `url` to `file`.

    Bytes that are already in `file` are kept, if the server can send the rest alone (HTTP Range).

    A connection that breaks is opened again as long as each sends at least one byte. After an error or an interruption,
    `file` keeps its bytes, and the same call goes on.

    Args:
        url: address of the file.
        file: place of the file, in an existing folder.
        report: called after each part.
        seconds: time without a byte after which a connection counts as broken.

    Raises:
        ValueError: the server cannot be reached, does not answer, or refuses the file.
        OSError: the file cannot be written.
    """
    while True:
        before = _size(file)
        try:
            _go_on(url, file, report, seconds)
            return
        except HTTPError as error:
            raise ValueError(f"{url}: the server answers {error.code} {error.reason}: see whether its page names another address") from None
        except _BrokenError as error:
            if _size(file) <= before:
                kept = f"; {_size(file) / 1e6:.0f} MB are kept in {file}" if _size(file) else ""
                raise ValueError(
                    f"{url}: cannot be downloaded ({error}){kept}: the same command goes on; a proxy is named by the variables http_proxy and "
                    "https_proxy"
                ) from error


def _go_on(url: str, file: Path, report: Report, seconds: float) -> None:
    """Append the rest of `url` to `file`, or all of it to an empty file."""
    start = _size(file)
    request = Request(url, headers={"User-Agent": "seglab", **({"Range": f"bytes={start}-"} if start else {})})
    try:
        with _network():
            response = build_opener().open(request, timeout=seconds)
    except HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return  # all bytes are there
        file.unlink()  # of another version
        _go_on(url, file, report, seconds)
        return
    with response, file.open("ab") as out:
        if start and response.status != http.client.PARTIAL_CONTENT:  # the server sends the whole file
            out.truncate(0)
            start = 0
        elif start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise _BrokenError(f"the server sends another part than the one from byte {start} on")
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        done = start
        report(done, total)
        while True:
            with _network():
                part = response.read1(CHUNK)
            if not part:
                break
            out.write(part)
            done += len(part)
            report(done, total)
    if total is not None and done < total:
        raise _BrokenError(f"the connection ended after {done} of {total} bytes")


@contextmanager
def _network() -> Iterator[None]:
    """Turn the errors of the network, except answers of the server, into `_BrokenError`."""
    try:
        yield
    except HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:  # URLError and TimeoutError are among them
        reason = getattr(error, "reason", error)
        raise _BrokenError(" ".join(str(reason).split()) or type(reason).__name__) from error


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
