"""The scheduler interface, tested without a scheduler: Grid Engine's script and a user's own cluster.

Each scheduler's words stand in its own files.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import seglab
from seglab.cluster.cluster import Needs
from seglab.cluster.gridengine import GridEngine, queued_job
from seglab.script.main import main
from tests.study import tiny_experiment

Script = Callable[..., tuple[object, str, str]]

GOLDEN = """\
#!/bin/bash
#$ -N tiny
#$ -S /bin/bash
#$ -cwd
#$ -V
#$ -j y
#$ -o /dev/null
#$ -t 1-6
#$ -tc 3
#$ -q all.q
#$ -P vision
#$ -pe threads 8
#$ -r y
#$ -notify
#$ -w e
#$ -p -100
#$ -l h_rt=5370
#$ -l gpu=2
#$ -l mem_free=16G
exec >> HERE/runs/tiny/jobs/TIME/$JOB_ID.$SGE_TASK_ID.log 2>&1
module load cuda
exec PYTHON -u -m seglab.cluster.job --stop-after 5250 seglab.cluster.gridengine_job.GridEngineJob python tiny.py work """

OWN = '''
"""A scheduler of files: a job waits as a file, until somebody takes it."""

from dataclasses import dataclass
from pathlib import Path

from seglab.cluster import Cluster, JobContext, QueuedJob


class PaperJob(JobContext):
    @classmethod
    def current(cls):
        return None

    id = "paper"

    def should_requeue(self, signals):
        return False

    def requeue(self):
        raise ValueError("paper has no queue")


@dataclass(frozen=True)
class Paper(Cluster):
    colour: str = "white"
    jobs: int = 4
    context = PaperJob

    def check(self):
        pass

    def for_run(self, needs):
        if needs.gpus:
            raise ValueError("paper has no GPUs; use --accelerator cpu")
        return self

    def script(self, array):
        return " ".join(["on", self.colour, "paper:", *self.job_words(array)])

    def send(self, script, array):
        if self.colour == "black":
            raise ValueError("nobody could read it")
        for job in range(array.count):
            Path(f"queue.{job}").touch()
        return [str(job) for job in range(array.count)]

    @classmethod
    def queued(cls, ids):
        return [QueuedJob(path.suffix[1:], "pending") for path in Path().glob("queue.*") if path.suffix[1:] in ids]

    @classmethod
    def cancel(cls, ids):
        for job in ids:
            Path(f"queue.{job}").unlink()
'''


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Script:
    """The experiment in a folder with a user's own cluster, `paper.Paper`, on a machine without a scheduler."""
    (tmp_path / "paper.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    def run(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(sys, "argv", ["tiny.py", *words])
        sys.modules.pop("paper", None)
        with pytest.raises(SystemExit) as ended:
            main(tiny_experiment.study)
        return ended.value.code, *capfd.readouterr()

    return run


def test_the_script_that_qsub_would_get(script: Script, tmp_path: Path) -> None:
    words = "--launcher.queue all.q --launcher.project vision --launcher.parallel_environment threads --launcher.cpus 8"
    more = "--launcher.time 01:29:30 --launcher.array_parallelism 3 --devices 2"
    lists = [
        "--launcher.setup",
        '["module load cuda"]',
        "--launcher.resources",
        '{"mem_free": "16G"}',
        "--launcher.options",
        '{"p": "-100"}',
    ]
    code, out, err = script("launch", "--launcher", "GridEngine", *words.split(), *more.split(), *lists, "--dry_run")
    assert code == 0, err
    shown = out[out.index("#!/bin/bash") :]
    assert shown.replace(str(tmp_path), "HERE").replace(sys.executable, "PYTHON").startswith(GOLDEN)
    assert not (tmp_path / "runs").exists(), "a dry run wrote something"


def test_without_qsub_nothing_is_written(script: Script, tmp_path: Path) -> None:
    code, _, err = script("launch", "--launcher", "GridEngine")
    assert code == 2
    assert err.startswith("error: there is no Grid Engine (qsub, qconf) on this machine; launch from a submit host")
    assert not (tmp_path / "runs").exists()


def test_a_qsub_of_another_scheduler_is_not_taken_for_grid_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qsub").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="there is no Grid Engine"):
        GridEngine().check()
    (tmp_path / "qconf").touch(mode=0o755)
    GridEngine().check()


def test_what_a_run_needs_of_grid_engine() -> None:
    assert GridEngine().for_run(Needs(4)).gpus == 4
    assert GridEngine().for_run(Needs(4, cpu=True)).gpus == 0
    with pytest.raises(ValueError, match=r"--num_nodes 2: a job of Grid Engine has one node"):
        GridEngine().for_run(Needs(nodes=2))
    with pytest.raises(ValueError, match=r"--launcher.gpus 2: a run computes on 4"):
        GridEngine(gpus=2).for_run(Needs(4))
    with pytest.raises(ValueError, match=r"--launcher.cpus 4: a run has 8 processes"):
        GridEngine().for_run(Needs(8))
    with pytest.raises(ValueError, match=r"must be longer than the --launcher.warning of 120 seconds"):
        GridEngine(time="00:02:00")
    with pytest.raises(ValueError, match=r"--launcher.cpus 0: must be 1 or more"):
        GridEngine(cpus=0)


@pytest.mark.parametrize(
    ("letters", "state", "ending"),
    [
        ("r", "running", False),
        ("t", "running", False),
        ("Rr", "running", False),
        ("qw", "pending", False),
        ("Rq", "pending", False),
        ("hqw", "held", False),
        ("S", "suspended", False),
        ("Eqw", "in error", False),
        ("dr", "being deleted", True),
        ("dRr", "being deleted", True),
    ],
)
def test_states_of_grid_engine(letters: str, state: str, ending: bool) -> None:
    """The letters are those of qstat(1)."""
    job = queued_job({"JB_job_number": "7", "tasks": "2", "state": letters, "queue_name": ""})
    assert (job.id, job.state, job.ending) == ("7.2", state, ending)


@pytest.mark.parametrize(
    ("number", "code", "ended"),
    [
        (signal.SIGUSR1, 75, 99),  # the time is up, or a suspension comes
        (signal.SIGUSR2, 75, 75),  # deleted
        (signal.SIGTERM, 75, 75),
        (signal.SIGUSR1, 0, 0),  # nothing is left to do
        (None, 75, 99),  # no signal: the job's own clock
    ],
)
def test_a_job_of_grid_engine_that_is_asked_to_stop(tmp_path: Path, number: signal.Signals | None, code: int, ended: int) -> None:
    """The command ends with `code` on the first signal."""
    command = (
        "import pathlib, signal, sys, time\n"
        "caught = signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2\n"
        f"[signal.signal(each, lambda *_: sys.exit({code})) for each in caught]\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, caught)\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(60)\n"
    )
    limit = ["--stop-after", "1"] if number is None else []
    words = [sys.executable, "-m", "seglab.cluster.job", *limit, "seglab.cluster.gridengine_job.GridEngineJob", "python", "-c", command]
    environment = {**os.environ, "JOB_ID": "7", "SGE_TASK_ID": "1", "RESTARTED": "0"}
    job = subprocess.Popen(words, cwd=tmp_path, env=environment, start_new_session=True)
    if number is not None:
        while not (tmp_path / "ready").exists() and job.poll() is None:
            pass
        os.killpg(job.pid, number)
    assert job.wait(timeout=60) == ended


def test_a_cluster_of_the_users_own(script: Script, tmp_path: Path) -> None:
    """launch, status, a second launch and cancel by a class in the working directory."""
    words = ("--launcher", "paper.Paper", "--launcher.colour", "blue", "--launcher.jobs", "2", "--accelerator", "cpu")
    code, out, err = script("launch", *words, "--dry_run")
    assert code == 0, err
    assert "on blue paper: " in out
    assert "seglab.cluster.job paper.PaperJob python tiny.py work" in out
    code, out, err = script("launch", *words)
    assert code == 0, err
    assert "submitted 2 jobs: 0 to 1" in out
    assert "2 jobs pending: 0, 1" in script("status")[1]
    assert "nothing submitted" in script("launch", *words)[1]
    assert "cancelled 2 jobs" in script("cancel")[1]
    assert not list(tmp_path.glob("queue.*"))


def test_jobs_of_several_runs_at_a_time(script: Script) -> None:
    """Six runs are three jobs of two; jobs in the queue count by the runs that they do at a time."""
    words = ("launch", "--launcher", "paper.Paper", "--accelerator", "cpu", "--runs_per_device")
    code, out, err = script(*words, "2", "--dry_run")
    assert code == 0, err
    assert "seglab.cluster.job --workers 2 paper.PaperJob python tiny.py work" in out
    code, out, err = script(*words, "4", "--launcher.jobs", "1")
    assert code == 0, err
    assert "submitted 1 job: 0, 4 runs at a time in each" in out
    assert "nothing submitted" in script(*words, "4", "--launcher.jobs", "1")[1]
    assert "submitted 1 job: 0, 2 runs at a time in each" in script(*words, "2")[1], "two of six runs were left"
    script("cancel")
    assert "submitted 3 jobs: 0 to 2, 2 runs at a time in each" in script(*words, "2")[1]
    script("cancel")


def test_a_refusal_leaves_nothing(script: Script, tmp_path: Path) -> None:
    code, _, err = script("launch", "--launcher", "paper.Paper", "--launcher.colour", "black", "--accelerator", "cpu")
    assert (code, err) == (2, "error: the scheduler refuses: nobody could read it\n")
    assert not (tmp_path / "runs").exists(), "a record without a run would bind the next request to its settings"
    code, _, err = script("launch", "--launcher", "paper.Paper")
    assert (code, err) == (2, "error: paper has no GPUs; use --accelerator cpu\n")


def test_a_refusal_leaves_the_record_of_a_study_that_has_jobs(script: Script, tmp_path: Path) -> None:
    words = ("launch", "--launcher", "paper.Paper", "--accelerator", "cpu")
    assert script(*words, "--launcher.jobs", "1")[0] == 0
    before = (tmp_path / "runs" / "tiny" / "study.json").read_bytes()
    assert script(*words, "--launcher.colour", "black")[0] == 2
    assert (tmp_path / "runs" / "tiny" / "study.json").read_bytes() == before
    script("cancel")


def test_status_without_the_users_file_says_so(script: Script, tmp_path: Path) -> None:
    script("launch", "--launcher", "paper.Paper", "--accelerator", "cpu")
    (tmp_path / "paper.py").unlink()
    code, out, _ = script("status")
    assert code == 0
    assert "its jobs: paper.Paper cannot be imported (No module named 'paper')" in out


def test_the_file_for_pbs_in_the_docs(script: Script, tmp_path: Path) -> None:
    """Its script, line by line; no PBS is here to run it."""
    page = (Path(seglab.__file__).parents[1] / "docs" / "howto" / "schedulers.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_cluster.py").write_text(code)
    sys.modules.pop("my_cluster", None)
    words = ("--launcher", "my_cluster.PBS", "--launcher.queue", "gpu", "--launcher.hours", "1", "--devices", "2")
    status, out, err = script("launch", *words, "--dry_run")
    assert status == 0, err
    shown = out[out.index("#!/bin/bash") :].replace(str(tmp_path), "HERE").replace(sys.executable, "PYTHON").splitlines()
    assert shown[:-1] == [
        "#!/bin/bash",
        "#PBS -N tiny",
        "#PBS -l select=1:ncpus=4:ngpus=2",
        "#PBS -l walltime=1:00:00",
        "#PBS -V",
        "#PBS -r y",
        "#PBS -j oe",
        "#PBS -o /dev/null",
        "#PBS -q gpu",
        "#PBS -J 1-6",
        'cd "$PBS_O_WORKDIR"',
        'exec >> HERE/runs/tiny/jobs/TIME/"$PBS_JOBID".log 2>&1',
    ]
    assert shown[-1].startswith("exec PYTHON -u -m seglab.cluster.job --stop-after 3480 my_cluster.PBSJob python tiny.py work ")


WORDS = re.compile(
    r"SLURM_|\b(sbatch|srun|salloc|squeue|scancel|scontrol|sinfo|submitit)\b|\b(qsub|qstat|qdel|qconf|qmod|qacct)\b|SGE_", re.IGNORECASE
)
MAY_NAME = {
    "seglab/running/process.py": "srun",  # Lightning's warning of that name is silenced
}


def test_words_of_schedulers_stand_in_their_own_files() -> None:
    root = Path(seglab.__file__).parents[1]
    found: dict[str, set[str]] = {}
    for path in root.glob("seglab/**/*.py"):
        if not re.match(r"slurm|gridengine", path.name):
            words = {match[0] for match in WORDS.finditer(path.read_text(encoding="utf-8"))}
            found |= {str(path.relative_to(root)): words} if words else {}
    assert found == {name: {word} for name, word in MAY_NAME.items()}
    own = {name: (root / "seglab/cluster" / f"{name}.py").read_text() for name in ("slurm", "slurm_job", "gridengine", "gridengine_job")}
    assert all(WORDS.search(text) for text in own.values()), "the search finds nothing"
