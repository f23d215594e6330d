"""The commands `seglab dashboard` and `seglab report --wandb`."""

import os
import secrets
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from seglab.dashboard import report as reports
from seglab.dashboard import workspace
from seglab.dashboard.drawn import Gallery, drawn, upload
from seglab.dashboard.logged import Logged, read_logged
from seglab.dashboard.notices import left_over, sync_command
from seglab.dashboard.server import NotLoggedIn, Server
from seglab.exit_codes import DONE
from seglab.wandb_names import id_of


def dashboard(given: Namespace, console: Console) -> int:
    """Run `seglab dashboard FOLDER`.

    Raises:
        ValueError, OSError: the folder is no study's, the package is missing, or W&B does not answer.
    """
    folder = Path(given.folder)
    logged = read_logged(folder)
    workspace.check_installed()
    server = None if given.dry_run else _server(logged)
    made = workspace.workspaces(logged, os.environ.get("WANDB_ENTITY", "") if server is None else server.entity)
    if given.dry_run:
        print(workspace.as_json(made, []), end="")
        return DONE
    urls = workspace.saved_before(folder)
    path = workspace.write(folder, workspace.as_json(made, urls))  # first, so that nothing is saved at W&B of which the folder cannot know
    if server is not None:
        with server.answering():
            urls = workspace.save(made, folder)
        workspace.write(folder, workspace.as_json(made, urls))
    _say(console, folder, path, [] if server is None else urls)
    return DONE


def report(given: Namespace, console: Console) -> int:
    """Run `seglab report --wandb FOLDER`.

    Raises:
        ValueError, OSError: the folder is no study's, nothing is finished, the package is missing, or W&B does not
            answer.
    """
    folder = Path(given.folder)
    if not given.wandb:
        raise ValueError(f"report: add --wandb for a report at Weights & Biases; `seglab compare {folder}` writes report.html")
    logged = read_logged(folder)
    found = reports.findings(folder)
    workspace.check_installed()
    server = None if given.dry_run else _server(logged)
    saved = reports.saved_before(folder)
    gallery = Gallery(_pictures_run(saved.pictures, logged, server), drawn(found) if server or given.dry_run else [])
    made = reports.report(found, logged, None, gallery)
    if given.dry_run:
        print(reports.as_json(made, reports.Saved()), end="")
        return DONE
    if server is not None:
        saved = replace(saved, pictures=gallery.run_id)
    path = reports.write(folder, reports.as_json(made, saved))  # first, as above
    if server is not None:
        made = reports.report(found, logged, server.entity, gallery)
        with server.answering():
            if gallery.pictures:
                upload(gallery, logged)
            saved = replace(saved, url=reports.save(made, folder))
            text = reports.as_json(made, saved)  # asks the server for the id of the project
        reports.write(folder, text)
    _say(console, folder, path, [] if server is None or saved.url is None else [saved.url])
    return DONE


def _pictures_run(before: str | None, logged: Logged, server: Server | None) -> str:
    """Return the id of the run that holds the pictures of the report: the earlier one, unless it was deleted at W&B."""
    if before is not None and (server is None or server.runs(logged.entity, logged.project, [before])):
        return before
    return id_of(f"{logged.record.study}-report-{secrets.token_hex(4)}")


def _server(logged: Logged) -> Server | None:
    """Return the server; None if nobody is logged in.

    Raises:
        ValueError: the server does not answer, or has no run of the study.
    """
    try:
        server = Server()
    except NotLoggedIn:
        return None
    if not server.runs(logged.entity, logged.project, logged.runs):
        raise ValueError(
            f"{logged.folder}: none of its runs is at {server.address}, so there is nothing to show there; "
            f"{sync_command(logged.folder)} uploads them, then repeat the command"
        )
    return server


def _say(console: Console, folder: Path, path: Path, urls: list[str]) -> None:
    for url in urls:
        console.print(f"saved: {url}", highlight=False, markup=False, soft_wrap=True)
    if not urls:
        console.print("nobody is logged in to Weights & Biases, so nothing was saved there: `wandb login`, then the same command")
    console.print(f"JSON: {path}", highlight=False, markup=False, soft_wrap=True)
    if urls and (line := left_over(folder)) is not None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
