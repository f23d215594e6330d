"""Workers on this machine, as processes."""

import sys
from pathlib import Path

from seglab.running.local import Ended, Local


def test_a_worker_that_has_ended_is_reaped_while_others_work(tmp_path: Path) -> None:
    """A process that nobody has waited for counts as alive, and its run would wait for the end of its lease."""
    logs, there = tmp_path / "logs", list[bool]()

    def watch() -> None:
        printed = (logs / "worker-1.log").read_text().split()
        if printed:
            there.append(Path("/proc", printed[0]).exists())

    lasting = [sys.executable, "-c", "import time; time.sleep(3)"]
    short = [sys.executable, "-c", "import os; print(os.getpid())"]
    ended = Local().launch([lasting, short], logs, watch)
    assert ended == [Ended(0, logs / "worker-0.log"), Ended(0, logs / "worker-1.log")]
    assert there.count(False) > 2


def test_launches_at_the_same_time_have_logs_of_their_own(tmp_path: Path) -> None:
    inner: list[Ended] = []

    def watch() -> None:
        if not inner and (tmp_path / "worker-0.log").read_text():
            inner.extend(Local().launch([[sys.executable, "-c", "import sys; print('inner'); sys.exit(3)"]], tmp_path, lambda: None))

    outer = [sys.executable, "-c", "import time; print('outer', flush=True); time.sleep(3); print('end')"]
    for _ in range(2):
        assert Local().launch([outer], tmp_path, watch) == [Ended(0, tmp_path / "worker-0.log")]
        assert inner == [Ended(3, tmp_path / "worker-1.log")]
        assert (tmp_path / "worker-0.log").read_text() == "outer\nend\n"
        assert (tmp_path / "worker-1.log").read_text() == "inner\n"
        inner.clear()
