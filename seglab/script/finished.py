"""Answer `run` of a finished study before the script imports torch, if the same command has finished it before.

No torch.

The answer is the comparison, which needs the results alone. The check that script, data and settings are still those of
the folder needs torch; it follows, in `main`. So a changed script is refused as ever, a few seconds after the
comparison of what is there.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

from seglab.records import Run, read_record, write_json
from seglab.running.ledger import settled
from seglab.running.status import count
from seglab.script.reading import Wanted, show_comparison, terminal

FILE = "finished.json"
"""Name of the file in a study's folder with the words of the last `run` that left nothing to do."""


def answer(folder: Path, words: Sequence[str]) -> None:
    """Print the comparison of the study in `folder`, if the command line `words` has finished it before and all its
    results are there.
    """
    try:
        runs = _finished(folder, words)
        if runs:
            console = terminal()
            console.print(
                f"{folder}: {count(len(runs), 'run')}, all done: this command has finished the study before",
                highlight=False,
                soft_wrap=True,
            )
            show_comparison_once(folder)
            console.print("\nchecking that script, data and settings are still those of the folder", highlight=False)
    except ValueError:
        return  # a damaged file, which `main` reports


def record_finished(folder: Path, words: Sequence[str]) -> None:
    """Record that the command line `words` leaves nothing to do. Do nothing if the folder belongs to another user."""
    if _words(folder) == list(words):
        return
    try:
        write_json(folder / FILE, {"words": list(words)})
    except OSError:
        return


@functools.cache
def show_comparison_once(folder: Path) -> None:
    """Print the comparison of a study that this process does not change, unless it has printed it already."""
    console = terminal()
    console.print()
    show_comparison(folder, Wanted(), console)


def _finished(folder: Path, words: Sequence[str]) -> list[Run]:
    """Return the declared runs of the study; none if one has no result, or if another command finished the study."""
    record = read_record(folder) if _words(folder) == list(words) else None
    if record is None or (declared := record.analysis) is None:
        return []
    runs = [Run(record.study, arm, seed) for seed in (*declared.seeds, *declared.added_seeds) for arm in declared.arms]
    return runs if all(settled(run.directory(folder)) for run in runs) else []


def _words(folder: Path) -> list[str] | None:
    try:
        found: list[str] = json.loads((folder / FILE).read_bytes())["words"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found
