"""Garbage collection in a process that imports seglab."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc
usual = gc.get_threshold()
import seglab
put_off = gc.get_threshold() != usual
many = [[] for _ in range(2_200_000)]
print(put_off, gc.get_threshold() == usual, len(gc.callbacks))
"""


@pytest.mark.parametrize(("verb", "put_off"), [("run", True), ("other", False)])
def test_a_script_without_a_study_collects_as_usual_after_a_while(verb: str, put_off: bool) -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT, verb], capture_output=True, text=True, check=True).stdout
    assert said == f"{put_off} True 0\n"
