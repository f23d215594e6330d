"""First process of a job: `python -m seglab.cluster.job CONTEXT COMMAND...` runs a command, then requeues if necessary.

With `--workers K`, it runs the command K times at once.

No torch.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from seglab.cluster.cluster import JobContext
from seglab.cluster.command import words_here
from seglab.cluster.here import CONTEXT, job_here
from seglab.exit_codes import BAD_INPUT, DONE, FAILED
from seglab.interruption import LIFELINE, SIGNALS
from seglab.processors import SHARE

FINISHED = (DONE, FAILED, BAD_INPUT)
"""Exit codes of a command that has nothing left to do. All other exit codes are larger."""

POLL_SECONDS = 0.1


def main(words: Sequence[str]) -> int:
    """Run a command in the job that this process is in, and return the job's exit code."""
    parser = argparse.ArgumentParser(prog="python -m seglab.cluster.job", description=__doc__)
    parser.add_argument("--stop-after", type=float, help="seconds after which the command receives SIGUSR1")
    parser.add_argument("--workers", type=int, default=1, help="number of processes that run the command at the same time")
    parser.add_argument("context", help="import path of the JobContext that describes the job")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(words)
    os.environ[CONTEXT] = given.context
    context = job_here()
    if context is None:
        print(f"error: this process runs in no job that {given.context} knows", file=sys.stderr)
        return BAD_INPUT
    code, heard = run(given.command, context, given.workers, given.stop_after)
    if not heard or code in FINISHED or not context.should_requeue(heard):
        return code
    try:
        return context.requeue()
    except ValueError as error:
        print(
            f"the runs of this job are saved, but it cannot queue itself again: {error}; `launch` again goes on with them", file=sys.stderr
        )
        return code


def run(command: Sequence[str], context: JobContext, workers: int = 1, stop_after: float | None = None) -> tuple[int, set[int]]:
    """Run `command` in each of `workers` processes; return their largest exit code and the signals that came meanwhile.

    Each process receives each signal once, and has an equal share of the job's cores.
    """
    pass_on = not context.signals_reach_all
    heard: set[int] = set()

    def hear(number: int, frame: FrameType | None) -> None:
        heard.add(number)
        if pass_on:
            send_to_all(number)

    def time_is_up(number: int, frame: FrameType | None) -> None:
        heard.add(signal.SIGUSR1)
        send_to_all(signal.SIGUSR1)

    def send_to_all(number: int) -> None:
        for process in processes:
            process.send_signal(number)

    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # inherited by the command, which unblocks them after it has installed handlers
    share = str(max(1, context.cores // workers))
    environment = {"OMP_NUM_THREADS": share, **os.environ, LIFELINE: "1", **({} if workers == 1 else {SHARE: share})}
    processes = [subprocess.Popen(words_here(command), stdin=subprocess.PIPE, env=environment) for _ in range(workers)]
    for number in SIGNALS:
        signal.signal(number, hear)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if stop_after is not None:
        signal.signal(signal.SIGALRM, time_is_up)
        signal.setitimer(signal.ITIMER_REAL, stop_after)
    with contextlib.ExitStack() as ended:
        for process in processes:
            ended.enter_context(process)
        while None in [process.poll() for process in processes]:  # a dead process is reaped at once, so that another takes over its run
            time.sleep(POLL_SECONDS)
    codes = [process.returncode for process in processes]
    for code in codes:
        if code < 0:
            print(
                f"a worker of this job was killed by {_death(-code)}; another worker, or `launch` again, goes on with its run",
                file=sys.stderr,
            )
    return max(code if code >= 0 else 128 - code for code in codes), heard


def _death(number: int) -> str:
    """Return the name of the signal that has killed a process, and its usual cause."""
    if number == signal.SIGKILL:
        return "SIGKILL, as the system does when memory runs out"
    return signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
