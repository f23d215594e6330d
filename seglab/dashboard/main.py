"""The commands `seglab sync`, `seglab dashboard` and `seglab report`. wandb is imported once the folder is checked."""

import re
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from seglab.dashboard.local import logs_below, lost, rescored, without_log
from seglab.dashboard.missing import with_missing, with_scores
from seglab.dashboard.notices import unlogged
from seglab.dashboard.server import Server
from seglab.dashboard.sync import Attempts, ask, claimed, plan, read_attempts, rows_of_table, send
from seglab.exit_codes import DONE, FAILED
from seglab.interruption import sigterm_as_ctrl_c
from seglab.running.status import count

CHECK_SECONDS = 10.0
"""Longest wait until the server counts the rows that it has just got."""


def sync(given: Namespace, console: Console) -> int:
    """Run `seglab sync FOLDER`. Return 1 if something could not be uploaded.

    Raises:
        ValueError, OSError: the folder holds no log, nobody is logged in, the server does not answer, or the folder
            cannot be written.
    """
    folder = Path(given.folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; expected a study's folder, such as runs/regularization, or the folder of several")
    if given.jobs < 1:
        raise ValueError(f"-n {given.jobs}: must be 1 or more")
    with sigterm_as_ctrl_c():
        problems: list[str] = []
        logs = logs_below(folder)
        deleted, without, joined = lost(folder, logs), without_log(folder, logs), rescored(folder)
        if not logs and not deleted and not joined:
            kept = "; metrics.csv and result.json of each run hold all numbers" if without else ""
            raise ValueError(f"{folder}: no run below it has a log of Weights & Biases; runs make one unless W&B is disabled{kept}")
        found, running = read_attempts(logs, problems)
        for run in running:
            console.print(f"skipped, still running: {run}", highlight=False, markup=False, soft_wrap=True)
        runs = len({log.run for log in logs})
        console.print(f"{folder}: {count(runs, 'run')} with a log, {len(found)} not marked as uploaded", highlight=False, soft_wrap=True)
        if without:
            console.print(unlogged(without), highlight=False, soft_wrap=True)
        if given.dry_run:
            for one in found:
                names = ", ".join(log.path.parent.name for log, _ in one.logs if not log.is_uploaded)
                console.print(f"would upload: {one.run} ({names})", highlight=False, markup=False, soft_wrap=True)
            for runs_, why in ((deleted, "its log was deleted; from its own files"), (joined, "the scores that have joined its result")):
                for run in runs_:
                    console.print(f"would upload: {run} ({why})", highlight=False, markup=False, soft_wrap=True)
        elif found or deleted or joined:
            server = Server()
            with claimed([*(one.run for one in found), *deleted, *joined], problems) as claims:
                ours = [one for one in found if one.run in claims]
                ours = with_missing(ours, [run for run in deleted if run in claims], problems)
                if ours:
                    _upload(server, ours, given.jobs, problems, console)
                if done := with_scores([run for run in joined if run in claims], problems):
                    console.print(
                        f"{count(len(done), 'run')}: the scores that have joined the result uploaded to {server.address}", highlight=False
                    )
        elif not running and not problems:
            console.print("nothing to upload", highlight=False)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return FAILED if problems else DONE


def _upload(server: Server, attempts: Sequence[Attempts], jobs: int, problems: list[str], console: Console) -> None:
    """Upload what the server does not have, and compare its numbers of rows with the logs'."""
    served = ask(server, attempts)
    for one in attempts:
        plan(one, served.get((*one.place, one.id)))
        for log in one.complete:
            log.marker.touch()
    parts = [part for one in attempts for part in one.parts]
    if not parts:
        console.print(f"nothing to upload: {server.address} has everything", highlight=False)
        return
    columns = (TextColumn("uploading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(parts))
        said = send(parts, jobs, lambda done: bar.update(task, completed=done))
    problems += dict.fromkeys(said)
    left = [part.log for part in parts if not part.log.is_uploaded]
    refused = any(re.search("entity .* not found", line) for line in said)
    then = "`wandb sync --entity NAME` and this folder send it to another entity" if refused else "the same command goes on with it"
    problems += [f"{log.path.parent}: not uploaded as a whole; {then}" for log in left]
    sent = [one for one in attempts if one.parts and not any(part.log in left for part in one.parts)]
    problems += _differences(server, sent)
    console.print(f"{count(len(sent), 'run')} uploaded to {server.address}", highlight=False)


def _differences(server: Server, attempts: Sequence[Attempts]) -> list[str]:
    """Return a line for each run of which the server has not as many rows as the logs, or as `metrics.csv`."""
    deadline = time.monotonic() + CHECK_SECONDS  # the server may count a moment later
    while True:
        served = ask(server, attempts)
        rows = {one.run: run.rows if (run := served.get((*one.place, one.id))) is not None else 0 for one in attempts}
        wrong = [one for one in attempts if rows[one.run] != one.rows]
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(1.0)
    lines = [f"{one.run}: {server.address} has {count(rows[one.run], 'row')} of it, and its logs have {one.rows}" for one in wrong]
    for one in attempts:
        expected = rows_of_table(one.run)
        if one not in wrong and expected is not None and rows[one.run] != expected:
            lines.append(f"{one.run}: {server.address} has {count(rows[one.run], 'row')} of it, and metrics.csv has {expected}")
    return lines
