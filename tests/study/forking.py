"""Fork workers as `run` does, and print how it went: `python tests/study/forking.py main MODE`, from the tests."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from seglab.garbage import collect_as_usual
from seglab.interruption import SIGNALS
from seglab.running.forks import ForkServer
from seglab.running.threads import worker_environment

HERE = str(Path(__file__))


def worker() -> int:
    """Print what a process can see of itself, compute on all threads, and do what the last word says."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    number = torch.ones(1 << 20, requires_grad=True)
    (number * number).sum().backward()
    torch.mm(torch.ones(600, 600), torch.ones(600, 600))
    print(sys.argv[1:], os.environ.get("GIVEN"), os.environ.get("HOME"), os.getsid(0) == os.getpid(), flush=True)
    print(set(SIGNALS) <= blocked, signal.SIGINT in blocked, threading.current_thread() is threading.main_thread(), flush=True)
    if sys.argv[-1] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[-1] == "waits":
        sys.exit(len(sys.stdin.read()) + 5)  # until the lifeline is cut
    return 7


def prepare() -> None:
    """Do what only the worker does that is forked ahead."""
    os.environ["GIVEN"] = "is replaced"
    sys.modules["ahead"] = sys  # as an import would
    if sys.argv[-1] == "fails":
        raise ImportError


def worker_ahead() -> int:
    """Print whether this process was forked ahead, and take some time to end after the work."""
    print("ahead" in sys.modules, os.environ.get("GIVEN"), flush=True)
    atexit.register(print, "ended", flush=True)
    atexit.register(time.sleep, 1)
    return 3


def ahead(mode: str) -> None:
    """Start two workers, and print whether the process of the first still runs when its work is done."""
    held = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, held)  # as matplotlib does where it may not write into HOME
    server = ForkServer.started((HERE,), worker_ahead, prepare)
    assert server is not None
    environment = worker_environment(1)
    if mode == "killed":
        time.sleep(1)
        (fork,) = (int(child) for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
        (before,) = (int(child) for child in Path(f"/proc/{fork}/task/{fork}/children").read_text().split())
        os.kill(before, signal.SIGKILL)
        time.sleep(1)
    if mode == "environment":
        environment["HF_HOME"] = "/elsewhere"
    with tempfile.TemporaryFile() as log:
        for word in ("first", "second"):
            server.wait()
            worker = server.start(["python", HERE, "work", word], environment, log.fileno())
            assert worker is not None
            with worker:
                code = worker.wait()
            process = Path(f"/proc/{worker.pid}")
            print(code, process.exists())
        server.wait()
        print(process.exists(), Path(held).exists())
        log.seek(0)
        print(log.read().decode(), end="")


def main(mode: str) -> None:
    held = tempfile.TemporaryDirectory() if mode == "folder" else None
    if mode == "computes":
        (torch.ones(1 << 20) * 2).sum()  # starts the threads of OpenMP, which a fork would wait for
    if mode == "thread":
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    collect_as_usual()  # as `main` of a script
    server = ForkServer.started((HERE,), worker, prepare)
    if server is None:
        print("no server")
        return
    environment = {**worker_environment(1), "GIVEN": "yes"}
    del environment["HOME"]
    if mode == "environment":
        environment["OMP_NUM_THREADS"] = "3"
    with tempfile.TemporaryFile() as log:
        found = [server.start(["python", HERE, "work", word], environment, log.fileno()) for word in ("plain", "killed", "waits")]
        if None in found:
            print("no worker")
            return
        plain, killed, waits = (one for one in found if one is not None)
        print(plain.wait(), killed.wait(), waits.poll())
        with waits:
            pass
        print(waits.poll())
        log.seek(0)
        print(log.read().decode(), end="")
    del held


if __name__ == "__main__":
    main(sys.argv[2]) if sys.argv[1] == "main" else ahead(sys.argv[2])
