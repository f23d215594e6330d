"""Comparing thousands of results takes time and memory in proportion to their number."""

import resource
import time
from pathlib import Path

import pytest

from seglab.compare import Criteria, Metric, analyse, compare, read_folder, to_csv, to_table
from tests.benchmarks.reading import write_study
from tests.compare.drawn import result

ARMS, SEEDS = 40, 50
SECONDS = 30.0
"""Limit on the CPU time in seconds: about ten times the time on a quiet core. A busy machine passes, and work that
grows with the square fails.
"""


@pytest.mark.slow
def test_two_thousand_results_are_compared_in_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    write_study(folder, ARMS, SEEDS, epochs=0)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = analyse(read_folder(folder))
    to_table(found.comparison)
    text = to_csv(found.comparison)
    assert time.process_time() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024  # KiB
    assert len(text.splitlines()) == 1 + ARMS
    assert {len(arm.scores) for arm in found.comparison.arms} == {SEEDS}


def test_time_grows_with_the_number_of_results() -> None:
    """Four times the arms: work that compares each run with each other would take sixteen times as long."""

    def seconds(arms: int) -> float:
        results = [result(f"arm-{arm}", seed, 0.5 + 0.001 * (arm * seed % 17)) for arm in range(arms) for seed in range(12)]
        criteria = Criteria(Metric("test", "miou"), "arm-0")
        began = time.process_time()
        compare(results, criteria)
        return time.process_time() - began

    seconds(10)  # imports and caches
    assert seconds(200) < 8 * max(seconds(50), 0.05)
