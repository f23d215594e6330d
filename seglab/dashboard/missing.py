"""Give W&B the parts of a run that no local log holds.

These are rows that an outage or a kill has lost, and the final tables and summary.
"""

from collections.abc import Sequence
from pathlib import Path

from seglab.dashboard.local import lacks_scores, logs_below
from seglab.dashboard.sync import Attempts, read_attempts


def with_missing(attempts: Sequence[Attempts], deleted: Sequence[Path], problems: list[str]) -> list[Attempts]:
    """Log what W&B lacks of finished runs, from their own files, and return all runs with the logs that they have then.

    Args:
        attempts: runs of which a log is not marked as uploaded.
        deleted: folders of runs whose logs were deleted before they were complete.
        problems: gets a line for each run that could not be completed.
    """
    from seglab.tracking import lacks_rows, log_missing  # imports torch

    whole = [one for one in attempts if not lacks_rows(one.run)]
    found = list(whole)
    for run in (*(one.run for one in attempts if one not in whole), *deleted):
        try:
            if lacks_rows(run):  # else another process has just logged them
                log_missing(run)
        except (ValueError, OSError) as error:
            problems.append(str(error))
        found += read_attempts(logs_below(run), problems)[0]
    return found


def with_scores(runs: Sequence[Path], problems: list[str]) -> list[Path]:
    """Give W&B the scores that have joined the results of finished runs.

    Return the folders of the runs whose scores W&B then has.

    Args:
        runs: folders of the runs. A run that waits in a local log is left alone.
        problems: gets a line for each run whose scores could not be uploaded.
    """
    from seglab.tracking import log_scores  # imports torch

    for run in runs:
        try:
            log_scores(run)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    return [run for run in runs if not lacks_scores(run)]
