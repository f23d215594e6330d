"""Workers on this machine, as processes."""

import sys
from pathlib import Path

from seglab.running.local import Local


def test_a_worker_that_has_ended_is_reaped_while_others_work(tmp_path: Path) -> None:
    """A process that nobody has waited for counts as alive, and its run would wait for the end of its lease."""
    logs, there = tmp_path / "logs", list[bool]()

    def watch() -> None:
        printed = (logs / "worker-1.log").read_text().split()
        if printed:
            there.append(Path("/proc", printed[0]).exists())

    lasting = [sys.executable, "-c", "import time; time.sleep(3)"]
    short = [sys.executable, "-c", "import os; print(os.getpid())"]
    assert Local().launch([lasting, short], logs, watch) == [0, 0]
    assert there.count(False) > 2
