"""Studies on a real Grid Engine: an array, the time limit, a suspension, qdel, refusals.

Whatever happens, results are the local ones.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seglab.cluster.jobs import submissions
from seglab.running.ledger import Owner, state
from tests.cluster.gridengine_cluster import GridEngineCluster
from tests.cluster.studies import Script, numbers, the_job, wait_for_training
from tests.cluster.waiting import wait

LAUNCH = ("launch", "--launcher", "GridEngine", "--launcher.queue", "main", "--launcher.cpus", "1", "--accelerator", "cpu")
ONE = ("--arm", "l2", "--seed", "1")


@pytest.fixture
def script(gridengine: GridEngineCluster, run_script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Runs the experiment on the cluster. Afterwards the queue is empty."""
    for name, value in gridengine.variables.items():
        monkeypatch.setenv(name, value)
    yield run_script
    gridengine.ask("qdel", "-u", "*")
    wait("an empty queue", lambda: not gridengine.ask("qstat").strip(), 120)


def goes_on(gridengine: GridEngineCluster, job: str) -> None:
    """Wait until a job has been queued again and has ended well."""
    wait("the job to end", lambda: not gridengine.ask("qstat").strip(), 360)
    wait("the accounts of both times", lambda: len(gridengine.accounts(job)) == 2)
    first, last = gridengine.accounts(job)
    assert first["exit_status"].split()[0] == "99", first
    assert "rescheduling" in first["failed"], first
    assert (last["exit_status"].split()[0], last["failed"].split()[0]) == ("0", "0"), last


def test_an_array_gives_the_local_results(script: Script, folder: Path, local: Path, gridengine: GridEngineCluster) -> None:
    shown = script(*LAUNCH, "--launcher.jobs", "2", "--dry_run")
    assert not folder.exists(), "a dry run wrote something"
    printed = script(*LAUNCH, "--launcher.jobs", "2", step=1.0)
    (submission,) = submissions(folder)
    assert f"submitted 2 jobs: {submission.ids[0]} to {submission.ids[1]}" in printed
    assert (submission.folder / "job.sh").read_text().replace(submission.folder.name, "TIME") in shown
    wait("the first job to run", lambda: " r " in gridengine.ask("qstat"))
    assert re.search(rf"running on main@.*: {re.escape(submission.ids[0])}", script("status"))
    assert "nothing submitted" in script(*LAUNCH, "--launcher.jobs", "2")
    wait("the study to end", lambda: not gridengine.ask("qstat").strip(), 400)
    for run in ("none/seed-0", "none/seed-1", "l2/seed-0", "l2/seed-1"):
        assert numbers(folder / run) == numbers(local / run), run
        assert not (folder / run / "lease.1").exists(), "one run was done twice"
    jobs = {Owner.read(path.read_text().splitlines()[0]).job for path in folder.glob("*/*/lease.0")}
    assert jobs == set(submission.ids), "one job did all"
    assert "none of its jobs is in the queue" in script("status")


def test_at_the_time_limit_a_job_is_queued_again_and_goes_on(
    script: Script, folder: Path, local: Path, gridengine: GridEngineCluster
) -> None:
    """Stop after a minute of the job's two, in a training of a minute and a half."""
    script(*LAUNCH, *ONE, "--launcher.time", "00:02:00", "--launcher.warning", "60", step=6)
    goes_on(gridengine, the_job(folder))
    assert numbers(folder / "l2/seed-1") == numbers(local / "l2/seed-1")
    assert "released" in (folder / "l2/seed-1/lease.0").read_text(), "it was killed before it could stop in order"


def test_a_job_that_is_to_be_suspended_is_queued_again_and_goes_on(
    script: Script, folder: Path, local: Path, gridengine: GridEngineCluster
) -> None:
    script(*LAUNCH, *ONE, step=3)
    job = the_job(folder)
    wait_for_training(folder / "l2/seed-1")
    gridengine.ask("qmod", "-sj", job)
    wait("the job to stop", lambda: len(gridengine.accounts(job)) == 1, 120)
    gridengine.ask("qmod", "-usj", job)
    goes_on(gridengine, job)
    assert numbers(folder / "l2/seed-1") == numbers(local / "l2/seed-1")
    assert "released" in (folder / "l2/seed-1/lease.0").read_text(), "it was killed before it could stop in order"


def test_a_job_of_two_runs_at_a_time_is_queued_again_and_goes_on(
    script: Script, folder: Path, local: Path, gridengine: GridEngineCluster
) -> None:
    two = ("--arm", "l2", "--runs_per_device", "2", "--launcher.cpus", "2")
    shown = script(*LAUNCH, *two, "--dry_run")
    assert " --workers 2 seglab.cluster" in shown
    assert re.search("^#[$] -t 1-1$", shown, re.MULTILINE), "two runs are one job"
    assert "2 runs at a time in each" in script(*LAUNCH, *two, step=3)
    job, runs = the_job(folder), [folder / "l2/seed-0", folder / "l2/seed-1"]
    for run in runs:
        wait_for_training(run)
    assert [state(run) for run in runs] == ["running", "running"]
    gridengine.ask("qmod", "-sj", job)
    wait("the job to stop", lambda: len(gridengine.accounts(job)) == 1, 120)
    gridengine.ask("qmod", "-usj", job)
    goes_on(gridengine, job)
    for run in runs:
        assert "released" in (run / "lease.0").read_text(), "it was killed before it could stop in order"
        assert Owner.read((run / "lease.1").read_text().splitlines()[0]).job == job
        assert json.loads((run / "environment.json").read_text())["threads"] == 1
        assert numbers(run) == numbers(local / "l2" / run.name)


def test_odd_names_have_their_log(
    script: Script, folder: Path, local: Path, gridengine: GridEngineCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = folder.parents[1] / "all: 'of' \"it\""
    odd.mkdir()
    monkeypatch.chdir(odd)
    script(*LAUNCH, *ONE, "--name", "a,b=c@d+e", "--launcher.setup", '["echo set up"]')
    (submission,) = submissions(odd / "runs" / "a,b=c@d+e")
    (job,) = submission.ids
    wait("the run to end", lambda: not gridengine.ask("qstat").strip(), 240)
    assert submission.log(job).read_text().startswith("set up\n")
    assert numbers(submission.folder.parents[1] / "l2/seed-1")[1] == numbers(local / "l2/seed-1")[1]


def test_a_cancelled_job_stays_cancelled(script: Script, folder: Path, gridengine: GridEngineCluster) -> None:
    script(*LAUNCH, *ONE, step=3)
    job = the_job(folder)
    wait_for_training(folder / "l2/seed-1")
    assert "would cancel 1 job" in script("cancel", "--dry_run")
    assert " r " in gridengine.ask("qstat")
    assert "cancelled 1 job" in script("cancel")
    assert not gridengine.ask("qstat").strip()
    wait("the accounts", lambda: len(gridengine.accounts(job)) == 1)
    assert state(folder / "l2/seed-1") == "interrupted"
    assert "released" in (folder / "l2/seed-1/lease.0").read_text(), "it was killed before it could stop in order"
    assert "seed 1: interrupted" in script("status")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--launcher.queue", "nope"),
            'Job was rejected because job requests unknown queue "nope". --launcher.queue: this cluster has main',
        ),
        (
            ("--launcher.cpus", "2", "--launcher.parallel_environment", "nope"),
            'job rejected: the requested parallel environment "nope" does not exist. --launcher.parallel_environment: this cluster has smp',
        ),
        (
            ("--launcher.cpus", "9"),
            "no suitable queues. No queue has what one job asks for (9 slots, 0 GPUs, 12:00:00); there are main: 2 slots",
        ),
        (
            ("--accelerator", "auto"),
            'unknown resource "gpu". --launcher.gpu_resource and --launcher.resources: this cluster counts slots',
        ),
    ],
)
def test_what_grid_engine_refuses_is_explained(script: Script, folder: Path, flags: tuple[str, ...], said: str) -> None:
    assert script(*LAUNCH, *flags, code=2).endswith(f"error: qsub refuses: {said}\n")
    assert not (folder / "jobs").exists()
