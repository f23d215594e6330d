"""Studies on a real Slurm: an array, preemption, the time limit, scancel, a node that dies.

Whatever happens, results are the local ones.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from seglab.cluster.jobs import submissions
from seglab.running.ledger import Owner, state
from seglab.script.main import main
from tests.cluster.slurm_cluster import SlurmCluster
from tests.cluster.studies import Script, numbers, the_job, wait_for_training
from tests.cluster.waiting import wait
from tests.study import several_experiment

LAUNCH = ("launch", "--launcher", "Slurm", "--launcher.partition", "main", "--launcher.cpus", "2", "--accelerator", "cpu")
ONE = ("--arm", "l2", "--seed", "1")
SPREAD = ("--dropout", "0", "--data.batch_size", "4", "--data.source.num_val", "4", "--data.source.num_test", "5")
WITHOUT_SCONTROL = ("--launcher.setup", '["mkdir -p only", "ln -sf $(command -v srun) only/srun", "export PATH=$PWD/only"]')


@pytest.fixture
def script(slurm: SlurmCluster, run_script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Runs the experiment on the cluster. Afterwards the queue is empty."""
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    yield run_script
    slurm.ask("scancel", "--user", "root")
    wait("an empty queue", lambda: not slurm.ask("squeue", "-h").strip())


def goes_on(slurm: SlurmCluster, job: str) -> None:
    """A job that was queued again starts in three seconds, instead of in two minutes, and ends well."""
    wait("the job to be queued again", lambda: slurm.job(job).get("Restarts") == "1" and slurm.job(job).get("JobState") == "PENDING")
    slurm.ask("scontrol", "update", f"jobid={job}", "StartTime=now+3", "TimeLimit=60")  # at once, its credential would still be revoked
    ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
    wait("the job to end", lambda: slurm.job(job).get("JobState") in ends, 400)
    assert slurm.job(job)["JobState"] == "COMPLETED", slurm.log(job)


def test_an_array_gives_the_local_results(script: Script, folder: Path, local: Path, slurm: SlurmCluster) -> None:
    (folder / "none").mkdir(parents=True)
    shutil.copytree(local / "none" / "seed-0", folder / "none" / "seed-0")
    shutil.copy(local / "study.json", folder)
    shown = script(*LAUNCH, "--launcher.jobs", "2", "--dry_run")
    assert not (folder / "jobs").exists(), "a dry run wrote something"
    printed = script(*LAUNCH, "--launcher.jobs", "2", step=1.0)
    assert "4 runs, 1 done, 3 to do" in printed
    (submission,) = submissions(folder)
    assert f"submitted 2 jobs: {submission.ids[0]} to {submission.ids[1]}" in printed
    (sent,) = submission.folder.glob("job.sh")
    assert sent.read_text().replace(submission.folder.name, "TIME") in shown
    wait("the first job to run", lambda: slurm.job(submission.ids[0])["JobState"] == "RUNNING")
    assert re.search(rf"running on n[12]: .*{submission.ids[0]}", script("status"))
    assert "nothing submitted" in script(*LAUNCH, "--launcher.jobs", "2")
    wait("the study to end", lambda: not slurm.ask("squeue", "-h").strip(), 400)
    for run in ("none/seed-0", "none/seed-1", "l2/seed-0", "l2/seed-1"):
        assert numbers(folder / run) == numbers(local / run), run
        assert not (folder / run / "lease.1").exists(), "one run was done twice"
    jobs = {Owner.read(path.read_text().splitlines()[0]).job for path in folder.glob("*/*/lease.0")} - {""}
    assert len(jobs) == 2, "one job did all"
    assert "none of its jobs is in the queue" in script("status")


def test_a_preempted_job_is_queued_again_and_goes_on(script: Script, folder: Path, local: Path, slurm: SlurmCluster) -> None:
    script(*LAUNCH, *ONE, step=3)
    job = the_job(folder)
    wait_for_training(folder / "l2/seed-1")
    slurm.ask("sbatch", "-p", "urgent", "-N2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
    goes_on(slurm, job)
    assert numbers(folder / "l2/seed-1") == numbers(local / "l2/seed-1")
    assert "released" in (folder / "l2/seed-1/lease.0").read_text(), "it was killed before it could stop in order"


def test_a_run_on_two_nodes_is_preempted_and_ends_as_on_one(script: Script, folder: Path, slurm: SlurmCluster) -> None:
    """Four processes, two on each node, started by srun; they save at one step. Without dropout, which each process
    draws for itself.
    """
    script("run", *ONE, *SPREAD, "--name", "alone", "--accelerator", "cpu")
    script(*LAUNCH, *ONE, *SPREAD, "--num_nodes", "2", "--devices", "2", step=3)
    job, run = the_job(folder), folder / "l2/seed-1"
    wait_for_training(run)
    assert slurm.job(job)["NodeList"] == "n[1-2]"
    slurm.ask("sbatch", "-p", "urgent", "-N2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
    goes_on(slurm, job)
    assert "released" in (run / "lease.0").read_text(), "it was killed before it could stop in order"
    scores, weights = numbers(run)
    scores_alone, weights_alone = numbers(folder.parent / "alone/l2/seed-1")
    assert scores == scores_alone
    torch.testing.assert_close(weights, weights_alone, rtol=1e-5, atol=1e-6)


def test_a_job_of_two_runs_at_a_time_is_preempted_and_goes_on(script: Script, folder: Path, local: Path, slurm: SlurmCluster) -> None:
    shown = script(*LAUNCH, "--arm", "l2", "--runs_per_device", "2", "--dry_run")
    assert "-m seglab.cluster.job --workers 2 " in shown
    assert "--array" not in shown, "two runs are one job"
    assert "2 runs at a time in each" in script(*LAUNCH, "--arm", "l2", "--runs_per_device", "2", step=3)
    job, runs = the_job(folder), [folder / "l2/seed-0", folder / "l2/seed-1"]
    for run in runs:
        wait_for_training(run)
    assert [state(run) for run in runs] == ["running", "running"]
    assert len({Owner.read((run / "lease.0").read_text().splitlines()[0]).pid for run in runs}) == 2
    assert "nothing submitted" in script(*LAUNCH, "--arm", "l2", "--runs_per_device", "2")
    slurm.ask("sbatch", "-p", "urgent", "-N2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
    goes_on(slurm, job)
    for run in runs:
        assert "released" in (run / "lease.0").read_text(), "it was killed before it could stop in order"
        again = Owner.read((run / "lease.1").read_text().splitlines()[0])
        assert (again.job, again.restarts) == (job, 1)
        assert json.loads((run / "environment.json").read_text())["threads"] == 1
        assert numbers(run) == numbers(local / "l2" / run.name)


def test_at_the_time_limit_a_job_is_queued_again_and_goes_on(script: Script, folder: Path, local: Path, slurm: SlurmCluster) -> None:
    script(*LAUNCH, *ONE, "--launcher.time", "00:30:00", step=3)
    job = the_job(folder)
    wait_for_training(folder / "l2/seed-1")
    slurm.ask("scontrol", "update", f"jobid={job}", "TimeLimit=2")  # so that the warning, two minutes before, is due
    goes_on(slurm, job)
    assert numbers(folder / "l2/seed-1") == numbers(local / "l2/seed-1")
    assert "released" in (folder / "l2/seed-1/lease.0").read_text(), "it was killed before it could stop in order"


def test_the_last_task_of_an_array_is_queued_again_alone(script: Script, folder: Path, local: Path, slurm: SlurmCluster) -> None:
    """Slurm gives it the number of the array, and would queue all of its tasks again."""
    script(*LAUNCH, "--arm", "l2", "--launcher.time", "00:30:00", step=4)
    (submission,) = submissions(folder)
    first, last = submission.ids
    for seed in (0, 1):
        wait_for_training(folder / f"l2/seed-{seed}")
    slurm.ask("scontrol", "update", f"jobid={last}", "TimeLimit=2")
    goes_on(slurm, last)
    wait("the other task to end", lambda: slurm.job(first).get("JobState") == "COMPLETED", 240)
    assert slurm.job(first)["Restarts"] == "0"
    for seed in (0, 1):
        assert numbers(folder / f"l2/seed-{seed}") == numbers(local / f"l2/seed-{seed}")
    jobs = {Owner.read(path.read_text().splitlines()[0]).job for path in folder.glob("l2/*/lease.*")}
    assert jobs == {first, last}


def test_variables_of_the_shell_and_odd_names_change_nothing(
    script: Script, folder: Path, local: Path, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = folder.parents[1] / "50%j of 'all' \"runs\""
    odd.mkdir()
    monkeypatch.chdir(odd)
    of_the_shell = {"SBATCH_PARTITION": "urgent", "SBATCH_TIMELIMIT": "7", "SBATCH_OUTPUT": "/nowhere", "SQUEUE_STATES": "SUSPENDED"}
    of_a_job = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "100", "SLURM_MEM_PER_GPU": "100"}
    for name, value in {**of_the_shell, **of_a_job}.items():
        monkeypatch.setenv(name, value)
    script(*LAUNCH, *ONE, "--name", "a,b=c@d+e", "--launcher.memory", "1")
    (submission,) = submissions(odd / "runs" / "a,b=c@d+e")
    (job,) = submission.ids
    assert f": {job}" in script("status", "--name", "a,b=c@d+e")
    said = slurm.job(job)
    assert (said["Partition"], said["TimeLimit"]) == ("main", "12:00:00")
    wait("the run to end", lambda: slurm.job(job)["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"), 240)
    assert slurm.job(job)["JobState"] == "COMPLETED"
    monkeypatch.delenv("SQUEUE_STATES")
    assert submission.log(job).is_file()
    assert numbers(submission.folder.parents[1] / "l2/seed-1")[1] == numbers(local / "l2/seed-1")[1]


def test_a_cancelled_job_stays_cancelled(script: Script, folder: Path, slurm: SlurmCluster) -> None:
    script(*LAUNCH, *ONE, step=3)
    job = the_job(folder)
    wait_for_training(folder / "l2/seed-1")
    assert "would cancel 1 job" in script("cancel", "--dry_run")
    assert slurm.job(job)["JobState"] == "RUNNING"
    assert "cancelled 1 job" in script("cancel")
    wait("the job to go", lambda: not slurm.ask("squeue", "-h").strip())
    assert slurm.job(job)["JobState"] == "CANCELLED"
    assert slurm.job(job)["Restarts"] == "0"
    assert state(folder / "l2/seed-1") == "interrupted"
    assert "released" in (folder / "l2/seed-1/lease.0").read_text(), "it was killed before it could stop in order"
    assert "seed 1: interrupted" in script("status")


def test_the_runs_of_a_dead_node_go_on_elsewhere(script: Script, folder: Path, local: Path, slurm: SlurmCluster) -> None:
    script(*LAUNCH, *ONE, step=3)
    job = the_job(folder)
    wait_for_training(folder / "l2/seed-1")
    node = slurm.job(job)["NodeList"]
    slurm.kill(node)
    try:
        goes_on(slurm, job)
        assert slurm.job(job)["NodeList"] != node
    finally:
        slurm.boot(node)
    assert numbers(folder / "l2/seed-1") == numbers(local / "l2/seed-1")
    assert "released" not in (folder / "l2/seed-1/lease.0").read_text(), "the node did not die"


def test_what_slurm_refuses_is_explained(script: Script, folder: Path) -> None:
    asked = [word if word != "main" else "nope" for word in LAUNCH]
    said = script(*asked, code=2)
    assert said.endswith(
        "invalid partition specified: nope; Batch job submission failed: Invalid partition name specified."
        " --launcher.partition: this cluster has main, urgent\n"
    )
    said = script(*LAUNCH[:-2], *SPREAD, "--launcher.cpus", "4", "--devices", "4", "--name", "wide", code=2)
    assert "Requested node configuration is not available" in said
    assert "No node has what one job asks for (4 GPUs, 4 CPUs); there are main: 2 nodes of 4 CPUs, 8000 MB, generic resources gpu:2" in said
    assert not list(folder.parent.glob("*/jobs"))


def test_a_job_without_scontrol_saves_and_says_that_it_cannot_queue_itself_again(
    script: Script, folder: Path, local: Path, slurm: SlurmCluster
) -> None:
    """Hide scontrol, as in a container that has none of Slurm's commands."""
    script(*LAUNCH, *ONE, "--launcher.time", "00:30:00", *WITHOUT_SCONTROL, step=3)
    job = the_job(folder)
    wait_for_training(folder / "l2/seed-1")
    slurm.ask("scontrol", "update", f"jobid={job}", "TimeLimit=2")
    wait("the job to end", lambda: not slurm.ask("squeue", "-h").strip(), 120)
    assert slurm.job(job)["Restarts"] == "0"
    (submission,) = submissions(folder)
    said = [line for line in submission.log(job).read_text().splitlines() if "cannot queue itself again" in line]
    assert said == [
        "the runs of this job are saved, but it cannot queue itself again: there is no scontrol in its PATH, "
        "as in a container without Slurm's commands; `launch` again goes on with them"
    ]
    assert state(folder / "l2/seed-1") == "interrupted"
    assert "released" in (folder / "l2/seed-1/lease.0").read_text(), "it was killed before it could stop in order"
    script(*LAUNCH, *ONE)
    wait("the run to end", lambda: not slurm.ask("squeue", "-h").strip(), 240)
    assert numbers(folder / "l2/seed-1") == numbers(local / "l2/seed-1")


def test_each_study_of_a_script_gets_its_own_array(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])

    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", [several_experiment.__file__, *words])
        with pytest.raises(SystemExit) as ended:
            main(several_experiment.study)
        printed = "".join(capfd.readouterr())
        assert ended.value.code == 0, printed
        return printed

    assert said(*LAUNCH, "--launcher.jobs", "2", "--seeds", "1").count("submitted 2 jobs") == 2
    status = said("status")
    assert status.count("running") >= 2  # a column of each table
    wait("both studies to end", lambda: not slurm.ask("squeue", "-h").strip(), 400)
    assert sorted(path.parents[1].name for path in tmp_path.glob("runs/l2-*/*/*/result.json")) == ["l2", "l2", "none", "none"]
    assert "mean over 2 data sets" in said("compare").replace("\n", " ")
    assert (tmp_path / "runs" / "report-sets-l2-few-l2-many.html").is_file()
