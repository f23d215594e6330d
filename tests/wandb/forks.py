"""Processes that share the imports of torch and wandb: forked after the imports, they run as separate scripts."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Forks:
    """Starts processes of a script that calls `words_of_a_child`.

    Args:
        module: the script, such as `tests.wandb.logged`.
    """

    def __init__(self, module: str) -> None:
        command = [sys.executable, "-m", module]
        environment = {**os.environ, "WANDB_ERROR_REPORTING": "false"}  # else wandb starts a thread, which a child does not have
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, words: list[str], environment: Mapping[str, str], printed: Path) -> int:
        """Start a process, whose output goes into the file `printed`, and return its id."""
        return self._asked([words, dict(environment), str(printed)])

    def wait(self, child: int) -> int:
        """Return the exit code of a process, once it has ended."""
        return self._asked(child)

    def close(self) -> None:
        self.process.communicate()

    def _asked(self, question: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


def words_of_a_child() -> list[str]:
    """Fork children as `Forks` asks on the standard input.

    Return the words of its command line in a child, and none at the end.
    """
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            print(os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1]), flush=True)
            continue
        words, environment, printed = asked
        if (child := os.fork()) == 0:
            os.environ.clear()
            os.environ.update(environment)
            file = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for descriptor in (1, 2):
                os.dup2(file, descriptor)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            return list(words)
        print(child, flush=True)
    return []
