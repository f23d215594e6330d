"""Ownership of runs: races, deaths, clocks, garbage."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seglab.interruption import Interrupted
from seglab.records import Run
from seglab.running import ledger
from seglab.running.ledger import STALE_SECONDS, Lease, Owner, claim, failures, forget_failures, owner, state
from seglab.running.status import status_table

GARBAGE = (
    "",
    "\n",
    "no number\n",
    "host\n",
    "host -1\n",
    "host 0\n",
    "host 99999999999999999999\n",
    "host 12 34\n",
    "\x00\x01\n",
    "a b c d e\n" * 9,
)


@pytest.fixture(autouse=True)
def no_lease_outlives_its_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stop the leases that a test has not released.

    An overtaken lease's thread ends its process, and here that process is pytest.
    """
    made: list[Lease] = []
    start = Lease.__init__

    def noted(self: Lease, path: Path) -> None:
        made.append(self)
        start(self, path)

    monkeypatch.setattr(Lease, "__init__", noted)
    yield
    for lease in made:
        lease._stop.set()
        lease._thread.join()


def lease_of(directory: Path, generation: int, content: str, age: float = 0.0) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"lease.{generation}"
    path.write_bytes(content.encode())
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def python(code: str, *words: object) -> "subprocess.Popen[str]":
    """A process of its own with the ledger in it; no torch, so it starts at once."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_first_claim_wins_until_it_is_released(tmp_path: Path) -> None:
    first = claim(tmp_path / "run")
    assert first is not None
    assert first.path.name == "lease.0"
    assert owner(tmp_path / "run") == Owner.this_process()
    assert claim(tmp_path / "run") is None
    first.release()
    assert owner(tmp_path / "run") is None
    second = claim(tmp_path / "run")
    assert second is not None
    assert second.path.name == "lease.1"


def test_nothing_is_left_beside_the_leases(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    assert lease is not None
    owner(tmp_path)
    state(tmp_path)
    lease.release()
    assert [path.name for path in tmp_path.iterdir()] == ["lease.0"]


def test_a_lease_that_a_full_disk_does_not_take_holds_nothing(small_disk: Path) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(OSError, match=r"No space left on device: '.*lease\.0'"):
        claim(small_disk)
    (small_disk / "ballast").unlink()
    lease = claim(small_disk)
    assert lease is not None
    assert lease.path.name == "lease.0"


def test_temporary_files_of_the_dead_go(tmp_path: Path) -> None:
    """Delete those of this host alone; of others nobody knows."""
    dead = python("pass")
    dead.communicate(timeout=30)
    host = Owner.this_process().host
    gone = [f".clock.{host}.{dead.pid}.140", f".result.json.{host}.{dead.pid}.part"]
    stays = [f".clock.{host}.{os.getpid()}.140", f".result.json.elsewhere.{dead.pid}.part", ".hidden"]
    for name in (*gone, *stays):
        (tmp_path / name).touch()
    assert claim(tmp_path) is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*stays, "lease.0"])


def test_of_many_threads_one_wins(tmp_path: Path) -> None:
    for number in range(20):
        directory, barrier = tmp_path / str(number), threading.Barrier(8)
        lease_of(directory, 0, "elsewhere 7\n", age=STALE_SECONDS + 60)
        won: list[Lease] = []

        def race(directory: Path = directory, barrier: threading.Barrier = barrier, won: list[Lease] = won) -> None:
            barrier.wait()
            lease = claim(directory)
            if lease is not None:
                won.append(lease)

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [lease.path.name for lease in won] == ["lease.1"]


RACER = """
import sys
from pathlib import Path
from seglab.running.ledger import claim
print("ready", flush=True)
sys.stdin.readline()
won = [number for number in range(60) if claim(Path(sys.argv[1]) / str(number)) is not None]
print(*won, flush=True)
sys.stdin.readline()
"""


def test_of_many_processes_one_wins(tmp_path: Path) -> None:
    racers = [python(RACER, tmp_path) for _ in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [number for racer in racers if racer.stdout is not None for number in map(int, racer.stdout.readline().split())]
    for racer in racers:
        _, errors = racer.communicate("end\n", timeout=30)
        assert racer.returncode == 0, errors
    assert sorted(won) == list(range(60))


def test_a_claim_between_look_and_creation_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst interleaving, played out: while one looks at a dead lease, another takes it over."""
    lease_of(tmp_path, 0, "elsewhere 7\n", age=STALE_SECONDS + 60)
    now, others = ledger._file_server_now, list[Lease | None]()

    def slowly(directory: Path) -> float:
        at = now(directory)
        if not others:
            others.append(None)
            others[0] = claim(directory)
        return at

    monkeypatch.setattr(ledger, "_file_server_now", slowly)
    assert claim(tmp_path) is None
    assert others[0] is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lease.0", "lease.1"]


def test_a_dead_process_of_this_host_is_succeeded_at_once(tmp_path: Path) -> None:
    dies = python(
        "import os, sys; from pathlib import Path; from seglab.running.ledger import claim; claim(Path(sys.argv[1])); os._exit(9)", tmp_path
    )
    dies.communicate(timeout=30)
    assert dies.returncode == 9
    assert (tmp_path / "lease.0").read_text().split() == [Owner.this_process().host, str(dies.pid)]
    assert owner(tmp_path) is None
    assert state(tmp_path) == "interrupted"
    lease = claim(tmp_path)
    assert lease is not None
    assert lease.path.name == "lease.1"


def test_a_live_process_of_this_host_is_not(tmp_path: Path) -> None:
    lives = python(
        "import sys; from pathlib import Path; from seglab.running.ledger import claim; claim(Path(sys.argv[1])); print(flush=True); input()",
        tmp_path,
    )
    assert lives.stdout is not None
    lives.stdout.readline()
    assert str(owner(tmp_path)) == f"process {lives.pid} on {Owner.this_process().host}"
    assert claim(tmp_path) is None
    lives.communicate("end\n", timeout=30)
    assert claim(tmp_path) is not None


def test_a_process_of_another_container_is_not_taken_for_dead(tmp_path: Path) -> None:
    """Containers may have one name and see different processes: of another container, silence decides."""
    apart = ["unshare", "--pid", "--fork", *([] if os.getuid() == 0 else ["--user"])]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False).returncode != 0:
        pytest.skip("needs the right to make a process namespace")
    code = "import sys; from pathlib import Path; from seglab.running.ledger import claim; print(claim(Path(sys.argv[1])))"

    def claimed_apart(directory: Path) -> bool:
        done = subprocess.run([*apart, sys.executable, "-c", code, str(directory)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return "Lease" in done.stdout

    assert claim(tmp_path / "ours") is not None
    assert not claimed_apart(tmp_path / "ours"), "two processes would work on one run"
    assert claimed_apart(tmp_path / "theirs")
    assert state(tmp_path / "theirs") == "running", "until it is silent for long"


@pytest.mark.parametrize(("silence", "free"), [(0.0, False), (STALE_SECONDS - 10, False), (STALE_SECONDS + 10, True)])
def test_of_another_host_silence_decides(tmp_path: Path, silence: float, free: bool) -> None:
    lease_of(tmp_path, 0, f"elsewhere {os.getpid()}\n", age=silence)
    assert (owner(tmp_path) is None) == free
    assert state(tmp_path) == ("interrupted" if free else "running")
    assert (claim(tmp_path) is not None) == free


@pytest.mark.parametrize("offset", [-3600.0, 3600.0])
def test_this_host_s_clock_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: float) -> None:
    """With a host's clock an hour off the file server's, fresh leases stay fresh and stale leases stay stale.

    Both hosts' files carry the time stamps of the file server.
    """
    lease_of(tmp_path / "fresh", 0, "elsewhere 7\n")
    lease_of(tmp_path / "stale", 0, "elsewhere 7\n", age=STALE_SECONDS + 10)
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + offset)
    assert owner(tmp_path / "fresh") == Owner("elsewhere", 7)
    assert owner(tmp_path / "stale") is None


def test_a_folder_that_takes_no_file_is_read_by_this_host_s_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease_of(tmp_path, 0, "elsewhere 7\n")

    def full(path: Path, mode: int = 0o666, exist_ok: bool = True) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "touch", full)
    assert owner(tmp_path) == Owner("elsewhere", 7)
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + STALE_SECONDS + 10)
    assert owner(tmp_path) is None


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_lease_that_is_an_hour_off(tmp_path: Path, ahead: float) -> None:
    """Read leases of another host: one of the past is stale, one of the future is not.

    None of a dead process of this host holds.
    """
    lease_of(tmp_path / "other", 0, "elsewhere 7\n", age=-ahead)
    assert (owner(tmp_path / "other") is None) == (ahead < 0)
    dead = python("pass")
    dead.communicate(timeout=30)
    lease_of(tmp_path / "this", 0, f"{Owner.this_process().host} {dead.pid}\n", age=-ahead)
    assert owner(tmp_path / "this") is None


@pytest.mark.parametrize("content", GARBAGE)
def test_garbage_in_a_lease_counts_as_somebody_until_it_is_stale(tmp_path: Path, content: str) -> None:
    path = lease_of(tmp_path, 0, content)
    assert owner(tmp_path) == Owner("an unknown host", 0)
    assert state(tmp_path) == "running"
    assert claim(tmp_path) is None
    then = time.time() - STALE_SECONDS - 10
    os.utime(path, (then, then))
    assert owner(tmp_path) is None
    assert claim(tmp_path) is not None


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    lease_of(tmp_path, 0, "")
    (tmp_path / "lease.0").write_bytes(b"\xff\xfe\x00 12\n")
    assert state(tmp_path) == "running"


def test_generations_are_counted_not_sorted_as_text(tmp_path: Path) -> None:
    for generation in range(10):
        lease_of(tmp_path, generation, "elsewhere 7\nreleased\n")
    (tmp_path / "lease.old").write_text("a user's own copy")
    tenth = claim(tmp_path)
    assert tenth is not None
    assert tenth.path.name == "lease.10"
    assert owner(tmp_path) == Owner.this_process()
    tenth.release()
    eleventh = claim(tmp_path)
    assert eleventh is not None
    assert eleventh.path.name == "lease.11"


def test_every_state(tmp_path: Path) -> None:
    assert state(tmp_path / "never") == "open"
    assert not (tmp_path / "never").exists(), "looking made a folder"
    lease = claim(tmp_path)
    assert lease is not None
    assert state(tmp_path) == "running"
    lease.release()
    assert state(tmp_path) == "interrupted"
    for _ in range(2):
        lease = claim(tmp_path)
        assert lease is not None
        assert state(tmp_path) == "running"
        lease.fail()
        lease.release()
        assert state(tmp_path) == "failed"
    (tmp_path / "result.json").write_text("{}")
    assert state(tmp_path) == "done"


def test_a_lease_is_kept_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "BEAT_SECONDS", 0.02)
    lease = claim(tmp_path)
    assert lease is not None
    long_ago = time.time() - STALE_SECONDS - 10
    os.utime(lease.path, (long_ago, long_ago))
    deadline = time.monotonic() + 10
    while lease.path.stat().st_mtime < long_ago + STALE_SECONDS and time.monotonic() < deadline:
        time.sleep(0.01)
    assert owner(tmp_path) == Owner.this_process()


HOLDER = """
import sys, time
from pathlib import Path
from seglab.running import ledger
ledger.BEAT_SECONDS = 0.05
ledger.claim(Path(sys.argv[1]))
print("claimed", flush=True)
time.sleep(60)
"""


def test_a_frozen_worker_that_was_overtaken_ends_itself(tmp_path: Path) -> None:
    frozen = python(HOLDER, tmp_path)
    assert frozen.stdout is not None
    assert frozen.stdout.readline() == "claimed\n"
    frozen.send_signal(signal.SIGSTOP)
    lease_of(tmp_path, 1, "elsewhere 7\n")
    frozen.send_signal(signal.SIGCONT)
    assert frozen.wait(timeout=30) == 70
    frozen.communicate()
    assert owner(tmp_path) == Owner("elsewhere", 7)


STUMBLING = HOLDER.replace(
    'print("claimed"',
    """
true, calls = ledger.os.utime, []
def stumbles(path):
    calls.append(path)
    if len(calls) < 3:
        raise OSError(116, "Stale file handle")
    true(path)
ledger.os.utime = stumbles
print("claimed\"""",
)


def test_a_file_server_that_stumbles_does_not_end_the_beat(tmp_path: Path) -> None:
    holder = python(STUMBLING, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "claimed\n"
    lease = tmp_path / "lease.0"
    long_ago = time.time() - 1000
    os.utime(lease, (long_ago, long_ago))
    deadline = time.monotonic() + 20
    while lease.stat().st_mtime < long_ago + 500 and time.monotonic() < deadline:
        time.sleep(0.02)
    beats = lease.stat().st_mtime > long_ago + 500
    holder.kill()
    _, errors = holder.communicate()
    assert beats, errors


def test_of_many_notes_those_that_matter_are_shown(tmp_path: Path) -> None:
    runs = [Run("study", "l2", seed) for seed in range(40)]
    for run in runs:
        lease_of(run.directory(tmp_path), 0, "elsewhere 7\nfailed\nreleased\n" if run.seed == 30 else "elsewhere 7\nreleased\n")
    (runs[30].directory(tmp_path) / "failure.json").write_text('{"error": "OSError: disk full"}')
    (notes,) = status_table(tmp_path, runs).columns[-1].cells
    assert str(notes).splitlines()[0] == "seed 30 failed: OSError: disk full"
    assert str(notes).splitlines()[-1] == "… and 28 more"


def test_failures_are_counted_until_they_are_forgiven(tmp_path: Path) -> None:
    assert failures(tmp_path / "never") == 0
    for tries in (1, 2):
        lease = claim(tmp_path)
        assert lease is not None
        lease.fail()
        lease.release()
        assert failures(tmp_path) == tries
    (tmp_path / "failure.json").write_text("{}")
    forget_failures(tmp_path)
    assert failures(tmp_path) == 0
    assert state(tmp_path) == "interrupted"
    assert not (tmp_path / "failure.json").exists()
    lease = claim(tmp_path)
    assert lease is not None
    assert lease.path.name == "lease.2"
    lease.release()
    assert failures(tmp_path) == 0, "a try that was interrupted is no failure"


@pytest.mark.parametrize("line", ["node1 17", "node1 17 42/0", "node1 17 42/13", "node1 17 42.3/1", "node1 17 42[3].server/0"])
def test_an_owner_is_read_as_it_was_written(line: str) -> None:
    assert Owner.read(line).line == line


def test_a_lease_is_released_at_the_end_of_its_block(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    assert lease is not None
    with lease:
        assert state(tmp_path) == "running"
    assert state(tmp_path) == "interrupted"
    assert failures(tmp_path) == 0


@pytest.mark.parametrize(("kind", "failed"), [(RuntimeError, 1), (KeyboardInterrupt, 0), (Interrupted, 0)])
def test_an_error_in_the_block_is_a_failure_of_the_run(tmp_path: Path, kind: type[BaseException], failed: int) -> None:
    """An interruption is none."""
    lease = claim(tmp_path)
    assert lease is not None
    with pytest.raises(kind), lease:
        raise kind
    assert failures(tmp_path) == failed
    assert state(tmp_path) == ("failed" if failed else "interrupted")
