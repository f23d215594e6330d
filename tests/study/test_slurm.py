"""Slurm without Slurm: the script, what a cluster may be asked for, what is refused. On a real one: tests/cluster."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seglab.cluster import jobs
from seglab.cluster.cluster import JobArray, Needs, QueuedJob, Submission
from seglab.cluster.slurm import Slurm
from seglab.cluster.slurm_job import SlurmJob
from seglab.records import Run
from seglab.running import ledger
from seglab.script.main import main
from tests.cluster.waiting import wait
from tests.study import tiny_experiment
from tests.study.scripts import Command

Script = Callable[..., tuple[object, str, str]]
SLURM = "seglab.cluster.slurm.Slurm"
GOLDEN = """\
#!/bin/bash
#SBATCH --job-name=tiny
#SBATCH --output=HERE/runs/tiny/jobs/TIME/%A_%a.log
#SBATCH --open-mode=append
#SBATCH --array=0-5%3
#SBATCH --partition=gpu
#SBATCH --account=vision
#SBATCH --qos=long
#SBATCH --constraint='a100|h100'
#SBATCH --time=90
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=2
#SBATCH --cpus-per-task=8
#SBATCH --mem=64GB
#SBATCH --signal=USR2@120
#SBATCH --requeue
#SBATCH --reservation=course
module load cuda
source env.sh
srun --unbuffered --cpus-per-task=8 PYTHON -u -m seglab.cluster.job seglab.cluster.slurm_job.SlurmJob python tiny.py work """


@pytest.fixture
def without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Script:
    """The experiment on a machine that has none of Slurm's commands; in this process, for torch is here already."""

    def run(*words: str) -> tuple[object, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(sys, "argv", ["tiny.py", *words])
        with pytest.raises(SystemExit) as ended:
            main(tiny_experiment.study)
        return ended.value.code, *capfd.readouterr()

    return run


def test_the_script_that_sbatch_would_get(without_slurm: Script, tmp_path: Path) -> None:
    words = (
        "--launcher.partition gpu --launcher.account vision --launcher.qos long --launcher.constraint a100|h100 --launcher.time 01:29:30"
    )
    more = "--launcher.cpus 8 --launcher.memory 64 --launcher.array_parallelism 3 --devices 2 --retries 1"
    lists = ["--launcher.setup", '["module load cuda", "source env.sh"]', "--launcher.options", '{"reservation": "course"}']
    code, out, err = without_slurm("launch", "--launcher", "Slurm", *words.split(), *more.split(), *lists, "--dry_run")
    assert code == 0, err
    script = out[out.index("#!/bin/bash") :]
    assert script.replace(str(tmp_path), "HERE").replace(sys.executable, "PYTHON").startswith(GOLDEN)
    assert script.endswith("--retries 1\n")
    assert list(tmp_path.iterdir()) == [], "a dry run wrote something"


def test_without_sbatch_nothing_is_written(without_slurm: Script, tmp_path: Path) -> None:
    code, _, err = without_slurm("launch", "--launcher", "Slurm")
    assert code == 2
    assert err.startswith("error: there is no sbatch on this machine; launch from a login node of the cluster")
    assert list(tmp_path.iterdir()) == []


def test_retries_below_zero(without_slurm: Script) -> None:
    assert without_slurm("run", "--retries", "-1") == (2, "", "error: --retries -1: must be 0 or more\n")


@pytest.mark.parametrize(
    ("time", "minutes"), [("12:00:00", 720), ("00:10:00", 10), ("00:10:01", 11), ("48:00:00", 2880), ("0:59:59", 60), ("1:00:00", 60)]
)
def test_time_limits(time: str, minutes: int) -> None:
    assert Slurm(time=time).minutes == minutes


@pytest.mark.parametrize("time", ["", "12", "90:00", "1:60:00", "1:00:60", "1-00:00:00", "-1:00:00", "1:0:0", "1 hour"])
def test_what_is_no_time_limit(time: str) -> None:
    with pytest.raises(ValueError, match=r"--launcher.time .*: expected hours:minutes:seconds"):
        Slurm(time=time)


def test_a_limit_that_leaves_no_time() -> None:
    with pytest.raises(ValueError, match=r"must be longer than the --launcher.warning of 120 seconds"):
        Slurm(time="00:02:00")


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"cpus": 0}, {"gpus": -1}, {"memory": 0}, {"array_parallelism": 0}, {"warning": 0}])
def test_numbers_that_mean_nothing(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=rf"--launcher.{next(iter(wrong))} .*: must be [01] or more"):
        Slurm(**wrong)  # type: ignore[arg-type]


def test_gpus_are_those_of_a_run() -> None:
    assert Slurm().for_run(Needs(4)).gpus == 4
    assert Slurm().for_run(Needs(4, cpu=True)).gpus == 0
    assert Slurm(gpus=0).for_run(Needs()).gpus == 0, "a partition without GPUs"
    with pytest.raises(ValueError, match=r"--launcher.gpus 2: a run computes on 4"):
        Slurm(gpus=2).for_run(Needs(4))


def test_nodes_and_cores_are_those_of_a_run() -> None:
    assert Slurm().for_run(Needs(4, nodes=2)).nodes == 2
    with pytest.raises(ValueError, match=r"--launcher.nodes 3: a run computes on 2, as --num_nodes says"):
        Slurm(nodes=3).for_run(Needs(nodes=2, cpu=True))
    with pytest.raises(ValueError, match=r"--launcher.cpus 4: a run has 8 processes on each node"):
        Slurm().for_run(Needs(8))
    with pytest.raises(ValueError, match=r"--launcher.cpus 4: 3 runs at a time have 6 processes on each node"):
        Slurm().for_run(Needs(2, runs=3))
    assert Slurm().for_run(Needs(2, runs=2)).gpus == 2, "the runs of a job share its GPUs"


def test_jobs_at_work_are_those_of_the_command(tmp_path: Path) -> None:
    mine, others = ("python", "x.py", "work"), ("python", "x.py", "work", "--arm", "l1")
    submitted = [Submission(tmp_path, ("7_0", "7_1", "7_2"), mine, SLURM), Submission(tmp_path, ("8",), others, SLURM, workers=3)]
    queue = [
        QueuedJob("7_0", "running", "n1"),
        QueuedJob("7_1", "pending", "(Priority)"),
        QueuedJob("7_2", "completing", "n1", ending=True),
        QueuedJob("8", "running", "n2"),
    ]
    assert jobs.at_work(queue, submitted, mine) == [1, 1]
    assert jobs.at_work(queue, submitted, others) == [3]
    assert jobs.at_work([], submitted, mine) == []


def test_submissions_are_kept(tmp_path: Path) -> None:
    assert jobs.submissions(tmp_path) == []
    for number in (2, 1):
        folder = tmp_path / "jobs" / str(number)
        folder.mkdir(parents=True)
        Submission(folder, (f"{number}_0",), ("python",), f"my.Cluster{number}", workers=number).write()
    assert [submission.workers for submission in jobs.submissions(tmp_path)] == [1, 2]
    (tmp_path / "jobs" / "2" / "jobs.json").write_text('{"cluster": "my.Cluster2", "ids": ["2_0"], "command": ["python"]}')  # of seglab 0.3
    assert [submission.workers for submission in jobs.submissions(tmp_path)] == [1, 1]
    assert [submission.ids for submission in jobs.submissions(tmp_path)] == [("1_0",), ("2_0",)]
    assert [submission.cluster for submission in jobs.submissions(tmp_path)] == ["my.Cluster1", "my.Cluster2"]
    (tmp_path / "jobs" / "1" / "jobs.json").write_text("{")
    with pytest.raises(ValueError, match=r"jobs.json: damaged, so its jobs are not known"):
        jobs.submissions(tmp_path)


def test_status_without_slurm_says_so(without_slurm: Script, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "tiny"
    (folder / "none" / "seed-0").mkdir(parents=True)
    (folder / "jobs" / "1").mkdir(parents=True)
    Submission(folder / "jobs" / "1", ("7_0",), ("python",), SLURM).write()
    code, out, err = without_slurm("status")
    assert code == 0, err
    assert "its jobs: there is no squeue on this machine" in out


RECORDER = f"""#!{sys.executable}
# a command of Slurm that writes down its words and its variables
import json, os, sys
json.dump([sys.argv[1:], dict(os.environ), sys.stdin.read()], open("asked.json", "w"))
if sys.argv[0].endswith("sbatch"):
    print(17)
"""


def asked(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> tuple[list[str], dict[str, str]]:
    """Return the words and the variables with which `act` calls a command of Slurm, whose standard input is empty."""
    (folder / command).write_text(RECORDER)
    (folder / command).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.chdir(folder)
    act()
    words, variables, given = json.loads((folder / "asked.json").read_text())
    assert given == ""
    return words, variables


def test_flags_of_launch_are_stronger_than_variables_of_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm obeys SBATCH_PARTITION instead of a line of the script, and a word of the command line instead of both."""
    monkeypatch.setenv("SBATCH_ACCOUNT", "default")
    cluster = Slurm(partition="gpu", constraint="a100|h100", options={"exclusive": ""})
    array = JobArray("tiny", 2, tmp_path / "50%j of 'all'", ("python", "x.py"))
    words, variables = asked(tmp_path, "sbatch", monkeypatch, lambda: cluster.send(tmp_path / "job.sh", array))
    assert {"--partition=gpu", "--constraint=a100|h100", "--array=0-1", "--time=720", "--exclusive", "--requeue"} <= set(words)
    assert f"--output={tmp_path}/50%%j of 'all'/%A_%a.log" in words, "Slurm would fill in the %j of the folder"
    assert not any(word.startswith("--account") for word in words)
    assert words[-1] == str(tmp_path / "job.sh")
    assert variables["SBATCH_ACCOUNT"] == "default", "it holds where no flag is given"


def test_a_job_inherits_nothing_of_the_job_that_launches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"SLURM_CONF": "/etc/slurm.conf", "SLURM_HINT": "nomultithread"}
    of_a_job = {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_CPU": "100", "SLURM_CPU_BIND": "quiet,mask_cpu:0x1"}
    for name, value in {**kept, **of_a_job}.items():
        monkeypatch.setenv(name, value)
    array = JobArray("tiny", 1, tmp_path / "jobs", ("python", "x.py"))

    def slurm_variables() -> dict[str, str]:
        variables = asked(tmp_path, "sbatch", monkeypatch, lambda: Slurm().send(tmp_path / "job.sh", array))[1]
        return {name: value for name, value in variables.items() if name.startswith("SLURM_")}

    assert slurm_variables() == {"SLURM_CONF": "/etc/slurm.conf"}
    for name in of_a_job:
        monkeypatch.delenv(name)
    assert slurm_variables() == kept, "a login shell's own variables stay"


@pytest.mark.parametrize(
    ("command", "act"), [("squeue", lambda: Slurm.queued({"7_0", "7_1"})), ("scancel", lambda: Slurm.cancel({"7_0", "7_1"}))]
)
def test_filters_of_the_users_own_hide_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, act: Callable[[], object]
) -> None:
    for name in ("SQUEUE_STATES", "SQUEUE_PARTITION", "SCANCEL_STATE", "SCANCEL_INTERACTIVE"):
        monkeypatch.setenv(name, "1")
    variables = asked(tmp_path, command, monkeypatch, act)[1]
    assert not [name for name in variables if name.startswith(("SQUEUE_", "SCANCEL_"))]


STAND_IN = """#!/bin/sh
# what scontrol answers on the cluster that a test is on
case "$*" in
  "show config") echo "ProctrackType           = proctrack/{tracking}";;
  *job*) echo "JobId=7 JobState={state} StartTime=2030-01-01T10:00:00 PreemptTime={preempted}";;
  requeue*) echo "$@" >> requeued;;
esac
"""
COMMAND = """
import os, signal, sys, time
from pathlib import Path
heard = []
def hear(number, frame):
    heard.append(number)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, hear)
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2))
Path("ready").touch()
while not heard:
    time.sleep(0.02)
time.sleep(0.2)
Path("heard").write_text(" ".join(map(str, heard)))
sys.exit({code})
"""


@pytest.mark.parametrize("tracking", ["cgroup", "linuxproc"])
@pytest.mark.parametrize(
    ("number", "state", "preempted", "code", "requeued"),
    [
        (signal.SIGUSR2, "RUNNING", "None", 75, True),  # the time is up
        (signal.SIGTERM, "RUNNING", "2030-01-01T10:05:00", 75, True),  # preempted
        (signal.SIGTERM, "RUNNING", "2030-01-01T09:55:00", 75, False),  # once, before it started again
        (signal.SIGTERM, "CANCELLED", "None", 75, False),
        (signal.SIGUSR2, "CANCELLED", "None", 75, False),  # cancelled while it was saving
        (signal.SIGTERM, "PENDING", "2030-01-01T10:05:00", 75, False),  # Slurm has done it already
        (signal.SIGUSR2, "RUNNING", "None", 0, False),  # nothing is left to do
    ],
)
def test_a_job_that_is_asked_to_stop(
    tmp_path: Path, tracking: str, number: signal.Signals, state: str, preempted: str, code: int, requeued: bool
) -> None:
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(STAND_IN.format(tracking=tracking, state=state, preempted=preempted))
    scontrol.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    command = COMMAND.format(code=code)
    words = [sys.executable, "-m", "seglab.cluster.job", "seglab.cluster.slurm_job.SlurmJob", sys.executable, "-c", command]
    job = subprocess.Popen(words, cwd=tmp_path, env=environment, start_new_session=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if tracking == "cgroup":  # Slurm signals the first process alone
        job.send_signal(number)
    else:
        os.killpg(job.pid, number)
    ended = job.wait(timeout=30)
    assert (tmp_path / "heard").read_text() == str(int(number)), "the command has to hear of it once"
    assert (tmp_path / "requeued").exists() == requeued
    assert ended == code


WORKER = """
import os, signal, sys, time
from pathlib import Path
heard = []
caught = signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2
for number in caught:
    signal.signal(number, lambda number, frame: heard.append(number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, caught)
place = Path(str(os.getpid()))
place.write_text(os.environ["OMP_NUM_THREADS"])
while not heard:
    time.sleep(0.02)
time.sleep(0.2)
place.with_suffix(".heard").write_text(" ".join(map(str, heard)))
for code in Path().glob("code-*"):
    try:
        code.unlink()
        sys.exit(int(code.name.split("-")[2]))
    except FileNotFoundError:
        pass
"""


@pytest.mark.parametrize("tracking", ["cgroup", "linuxproc"])
@pytest.mark.parametrize(
    ("codes", "killed", "ended", "requeued"),
    [
        ((0, 75, 1), False, 75, True),
        ((0, 0, 1), False, 1, False),  # nothing is left to do
        ((75, 75, 75), True, 75, True),
    ],
)
def test_a_job_of_several_workers_that_is_asked_to_stop(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], tracking: str, codes: tuple[int, ...], killed: bool, ended: int, requeued: bool
) -> None:
    """Each worker hears of it once, has its share of the job's 7 cores, and ends with a code of its own.

    A worker that is killed is gone at once, and no zombie whose lease would stay valid.
    """
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(STAND_IN.format(tracking=tracking, state="RUNNING", preempted="None"))
    scontrol.chmod(0o755)
    for number, code in enumerate(codes):
        (tmp_path / f"code-{number}-{code}").touch()
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "7"}
    words = [sys.executable, "-m", "seglab.cluster.job", "--workers", "3", "seglab.cluster.slurm_job.SlurmJob", "python", "-c", WORKER]
    job = subprocess.Popen(words, cwd=tmp_path, env=environment, start_new_session=True)

    def workers() -> list[Path]:
        return [path for path in tmp_path.iterdir() if path.name.isdigit() and path.read_text()]

    wait("three workers", lambda: len(workers()) == 3, 30)
    assert [path.read_text() for path in workers()] == ["2", "2", "2"]
    if killed:
        victim = max(workers(), key=lambda path: int(path.name))
        os.kill(int(victim.name), signal.SIGKILL)
        wait("the killed worker to be reaped", lambda: not Path("/proc", victim.name).exists(), 10)
    if tracking == "cgroup":
        job.send_signal(signal.SIGUSR2)
    else:
        os.killpg(job.pid, signal.SIGUSR2)
    assert job.wait(timeout=30) == ended
    heard = [path.read_text() for path in tmp_path.glob("*.heard")]
    assert heard == [str(int(signal.SIGUSR2))] * (2 if killed else 3)
    assert (tmp_path / "requeued").exists() == requeued
    said = "a worker of this job was killed by SIGKILL, as the system does when memory runs out"
    assert (said in capfd.readouterr().err) == killed


ARRAY = """#!/bin/sh
# what scontrol answers of an array whose last task, 7_1, has the number of the array, and whose first task is done
case "$*" in
  "show config") echo "ProctrackType           = proctrack/linuxproc";;
  "--oneliner show job 7") echo "JobId=7 JobState=RUNNING"; echo "JobId=8 JobState=COMPLETED";;
  "--oneliner show job 7_1") echo "JobId=7 JobState=RUNNING";;
  requeue*) echo "$@" >> requeued;;
esac
"""


def test_the_last_task_of_an_array_asks_for_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm takes its number for that of all tasks: it would queue those again that are done or still work."""
    (tmp_path / "scontrol").write_text(ARRAY)
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}.items():
        monkeypatch.setenv(name, value)
    job = SlurmJob.current()
    assert job is not None
    assert job.id == "7_1", "the id that `status` shows"
    assert job.should_requeue({signal.SIGUSR2})
    assert job.requeue() == 75
    assert (tmp_path / "requeued").read_text() == "requeue 7_1\n"


def test_a_job_that_starts_again_has_its_own_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job runs in one place at a time: leases from before a requeue are free at once, on any node."""
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "lease.0").write_text("node1 17 42/0\n")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    assert ledger.owner(tmp_path) is not None, "another process of the same job"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert ledger.owner(tmp_path) is None
    monkeypatch.setenv("SLURM_JOB_ID", "43")
    assert str(ledger.owner(tmp_path)) == "process 17 on node1, job 42"
    monkeypatch.delenv("SLURM_JOB_ID")
    assert ledger.owner(tmp_path) is not None


def fails_in(run: Path) -> int:
    """Return how often a run has been tried."""
    return sum("failed" in path.read_text() for path in run.glob("lease.*"))


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "tries"), [((), 1), pytest.param(("--retries", "2"), 3, marks=pytest.mark.weekly)])
def test_what_fails_is_tried_as_often_as_asked(experiment: Command, tmp_path: Path, flags: tuple[str, ...], tries: int) -> None:
    folder = tmp_path / "runs" / "tiny"
    words = ("--broken", "true", "--seeds", "1", "--accelerator", "cpu")
    done = experiment("run", *words, "--jobs", "2", *flags)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = Run("tiny", "broken", 0).directory(folder)
    assert fails_in(broken) == tries
    assert ledger.state(broken) == "failed"
    assert len(list(folder.glob("*/*/result.json"))) == 3, "the others go on"
    assert re.search(r"failed: tiny/broken/s0: NonFiniteLossError", done.stdout)
    if not flags:
        assert experiment("run", *words, "--arm", "broken").returncode == 1
        assert fails_in(broken) == 2, "asked for again, it is tried again"
