"""Leases on runs: files that record which process works on which run. No lock, no server, no torch.

A worker claims a run by creating `lease.0` in the run's folder, and renews the time stamp of the lease as a heartbeat.
If the owner dies, another worker takes over the run by creating `lease.1`, and so on. Creating a file that must not
exist is atomic on every file system, NFS included. A lease that names its owner is never deleted.
"""

import contextlib
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from seglab.cluster.here import job_here
from seglab.files import host
from seglab.records import has_diverged

BEAT_SECONDS = 15.0
STALE_SECONDS = 120.0

State = Literal["done", "failed", "running", "interrupted", "open"]


@dataclass(frozen=True)
class Owner:
    """The process that holds a lease."""

    host: str
    pid: int
    job: str = ""
    """Id of the cluster's job that the process runs in; empty outside of a job."""
    restarts: int = 0
    """Number of times that the job was requeued before this process started."""

    @classmethod
    def this_process(cls) -> "Owner":
        job = job_here()
        place = (host(), os.getpid())
        return cls(*place) if job is None else cls(*place, job.id, job.restarts)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f", job {self.job}" if self.job else "")

    @property
    def line(self) -> str:
        """The first line of a lease, which names the owner."""
        return f"{self.host} {self.pid}" + (f" {self.job}/{self.restarts}" if self.job else "")

    @classmethod
    def read(cls, line: str) -> "Owner":
        """Return the owner that `line` names; an unknown owner if the line is not written yet or is damaged."""
        found = re.fullmatch(r"(\S*) ([1-9][0-9]{0,8})(?: ([^\s/]{1,200})/([0-9]{1,9}))?", line)
        return cls(found[1], int(found[2]), found[3] or "", int(found[4] or 0)) if found else cls("an unknown host", 0)

    def is_certainly_dead(self) -> bool:
        """Return whether the owner is known to be dead.

        Its process no longer exists on this host, or it belonged to an earlier run of this requeued job. For other
        owners, the time stamp of the lease decides.
        """
        me = Owner.this_process()
        if self.job and self.job == me.job and self.restarts < me.restarts:
            return True
        if self.host != me.host:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class Lease:
    """The right to work on one run. A thread sends the heartbeat until `release`.

    As a context manager, a lease releases the run at the end of its block. If an `Exception` leaves the block, a
    failure of the run is counted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if isinstance(error, Exception):
                self.fail()
        finally:
            self.release()

    def fail(self) -> None:
        """Count a failure of the run. Call `release` afterwards."""
        self._write("failed")

    def release(self) -> None:
        """Let other workers claim the run.

        Call this when the result is written, or when this worker gives up the run.
        """
        self._stop.set()
        self._thread.join()
        self._write("released")

    def _write(self, word: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{word}\n")

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # the file server fails for a moment; the next heartbeat tries again
                if _generation(self.path.parent) != int(self.path.suffix[1:]):
                    os._exit(70)  # another worker took over while this process was suspended; only one process may write
                os.utime(self.path)


def claim(directory: Path) -> Lease | None:
    """Claim the run in `directory`; return its lease, or None if another process that is alive holds it."""
    directory.mkdir(parents=True, exist_ok=True)
    generation = _generation(directory)  # read once: if another worker claims the run after this line, creating the file below fails
    if _holder(directory, generation) is not None:
        return None
    path = directory / f"lease.{generation + 1}"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return None
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{Owner.this_process().line}\n")
    except OSError as error:  # for example a full disk; a lease without an owner would block the run until the lease is stale
        path.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None
    remove_leftovers(directory)
    return Lease(path)


def owner(directory: Path) -> Owner | None:
    """Return the owner of the run in `directory`.

    Return None without a lease, after its release, if its owner is dead, or if its heartbeat is too old.
    """
    return _holder(directory, _generation(directory))


def remove_leftovers(directory: Path) -> None:
    """Delete the temporary files in `directory` that belong to dead processes of this host."""
    here = host()
    for path in directory.glob(".*"):
        written_by = re.fullmatch(rf"\..+\.{re.escape(here)}\.(\d+)\.(\d+|part)", path.name)
        if written_by is not None and Owner(here, int(written_by[1])).is_certainly_dead():
            path.unlink(missing_ok=True)


def state(directory: Path) -> State:
    """Return the state of the run in `directory`."""
    if (directory / "result.json").exists():
        return "done"
    if directory.exists() and owner(directory) is not None:
        return "running"
    newest = directory / f"lease.{_generation(directory)}"
    if not newest.exists():
        return "open"
    return "failed" if _is_unforgiven(newest) else "interrupted"


def settled(directory: Path, tuning: bool = False) -> bool:
    """Return whether nothing is left to do for the run in `directory`: it has a result, or its tuning run diverged."""
    return (directory / "result.json").exists() or (tuning and has_diverged(directory))


def failures(directory: Path) -> int:
    """Return how often the run in `directory` has failed since the last `forget_failures`."""
    return len(_unforgiven(directory))


def forget_failures(directory: Path) -> None:
    """Forget the failures of the run in `directory` and their cause, because a user asks for the run again."""
    (directory / "failure.json").unlink(missing_ok=True)
    for path in _unforgiven(directory):
        with path.open("a") as file:
            file.write("forgiven\n")


def _unforgiven(directory: Path) -> list[Path]:
    return [path for path in directory.glob("lease.*") if _is_unforgiven(path)]


def _is_unforgiven(lease: Path) -> bool:
    said = set(lease.read_text(errors="replace").splitlines())
    return said >= {"failed", "released"} and "forgiven" not in said


def _holder(directory: Path, generation: int) -> Owner | None:
    if generation < 0:
        return None
    path = directory / f"lease.{generation}"
    lines = path.read_text(errors="replace").splitlines()
    if "released" in lines or _file_server_now(directory) - path.stat().st_mtime >= STALE_SECONDS:
        return None
    holder = Owner.read(lines[0] if lines else "")
    return None if holder.is_certainly_dead() else holder


def _generation(directory: Path) -> int:
    return max((int(path.suffix[1:]) for path in directory.glob("lease.*") if path.suffix[1:].isdigit()), default=-1)


def _file_server_now(directory: Path) -> float:
    """Return the present time of the clock that stamps the leases.

    On a network file system this is the file server's clock.
    """
    probe = directory / f".clock.{host()}.{os.getpid()}.{threading.get_ident()}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # another user's folder, or a full disk
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
