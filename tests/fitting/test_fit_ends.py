"""Ends of `seglab fit`, `test` and `validate`: exit codes, last lines, and what is left behind.

Real processes and signals.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seglab.interruption import ECHO_SECONDS
from tests.fitting.fits import CONFIG, Ended, checkpoint, files, fit, rows, seglab, started, user_folder, version

ROOT = Path(__file__).parents[2]
LAST = "runs/fit/version_0/checkpoints/last.ckpt"
SIGNALS = ["SIGTERM", "SIGINT", *(pytest.param(name, marks=pytest.mark.weekly) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"))]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return user_folder(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = user_folder(tmp_path_factory.mktemp("trained") / "fit")
    assert fit(place).code == 0
    return place


def refusal(ended: Ended) -> str:
    """The one line of an error."""
    assert ended.code == 2, ended
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


def command(place: Path, *words: str) -> "subprocess.Popen[str]":
    """The real command, as a user starts it."""
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("seglab")), *words],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def long_config(place: Path) -> None:
    (place / "c.yaml").write_text(CONFIG.replace("max_epochs: 4", "max_epochs: 100000"))


def wait_for(place: Path, pattern: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not any(place.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern}"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_the_real_command_saves_and_ends_with_75(place: Path, number: str) -> None:
    long_config(place)
    process = command(place, "fit", "--config", "c.yaml")
    wait_for(place, "runs/fit/version_0/checkpoints/best.ckpt")
    process.send_signal(getattr(signal, number))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, (out, err)
    assert err == f"interrupted; to go on: seglab fit --config runs/fit/version_0/config.yaml --ckpt_path {LAST}\n"
    assert checkpoint(place / LAST)["global_step"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_the_imports(place: Path, number: str) -> None:
    process = command(place, "fit", "--config", "c.yaml")
    time.sleep(1.5)
    process.send_signal(getattr(signal, number))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (75, ""), err
    assert "interrupted" in err
    assert err.count("\n") == 1, err
    assert not (place / "runs").exists()


@pytest.mark.parametrize("by", ["SIGINT SIGINT", pytest.param("SIGUSR1 SIGTERM", marks=pytest.mark.slow)])
def test_a_second_ctrl_c_stops_at_once(place: Path, by: str) -> None:
    """A scheduler's signal that comes twice within a second counts once."""
    ended = fit(place, DIE_AT=5, DIE_BY=by)
    assert ended.code == 75, ended
    at_once = by == "SIGINT SIGINT"
    assert (place / LAST).exists() != at_once
    assert ("best.ckpt" if at_once else "last.ckpt") in ended.err
    assert ECHO_SECONDS > 0


@pytest.mark.parametrize(("verb", "by"), [("test", "SIGTERM"), pytest.param("validate", "SIGINT", marks=pytest.mark.slow)])
def test_an_interrupted_evaluation(place: Path, verb: str, by: str) -> None:
    assert fit(place, "--trainer.max_epochs", 1).code == 0
    before = files(place)
    words = (verb, "--config", "c.yaml", "--ckpt_path", LAST)
    ended = seglab(place, *words, DIE_AT="test" if verb == "test" else "0:0", DIE_BY=by)
    assert (ended.code, ended.err) == (75, "interrupted\n")
    assert files(place) == before
    assert seglab(place, *words).code == 0
    (row,) = rows(version(place, 1))
    assert 0 <= float(row["test/miou" if verb == "test" else "val/miou"]) <= 1


def test_two_at_once(place: Path) -> None:
    """Three, which all find the same folders taken."""
    processes = [started(place, "fit", "--config", "c.yaml", "--trainer.max_epochs", 1) for _ in range(3)]
    for process in processes:
        process.join(timeout=240)
    assert [process.exitcode for process in processes] == [0] * 3, (place / "err.txt").read_text()
    assert sorted(path.name for path in (place / "runs" / "fit").iterdir()) == [f"version_{number}" for number in range(3)]
    for number in range(3):
        assert checkpoint(version(place, number) / "checkpoints" / "last.ckpt")["global_step"] == 3
        assert len([row for row in rows(version(place, number)) if "val/miou" in row]) == 1


@pytest.mark.slow
def test_all_is_in_one_folder(place: Path) -> None:
    assert fit(place, "--trainer.max_epochs", 1, WANDB_MODE="offline").code == 0
    assert [path.name for path in (place / "runs" / "fit").iterdir()] == ["version_0"]
    assert sorted(path.name for path in version(place, 0).iterdir()) == ["checkpoints", "config.yaml", "metrics.csv", "wandb"]


REFUSED: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "no source": (
        ("--data.source", "ImageMaskFolder", "--data.source.root", "x", "--data.source.num_classes", 3),
        ("x/train/images: no such folder",),
    ),
    "no class names": (("--data.source", "mine.Nameless"), ("Nameless has no class_names",)),
    "bad sample": (
        ("--data.source", "mine.Wrong"),
        ("sample 1 of _Failing: KeyError: 'b' (mine.py:", "in __getitem__): correct it there; the traceback is in "),
    ),
    "no batch": (("--trainer.limit_train_batches", 0), ("there is no batch to train on: 12 training samples, --data.batch_size 4",)),
    "no length": (("--trainer.max_epochs", -1), ("--trainer.max_epochs -1", "expected a training with an end")),
    "no step": (("--trainer.max_epochs", 0), ("--trainer.max_epochs 0", "of a step or more")),
    "no metric": (
        ("--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor", "val/mIoU"),
        ("EarlyStopping: there is no metric 'val/mIoU' to monitor; this training logs train/loss", "val/miou", "val/iou/background"),
    ),
    "double decay": (
        ("--model.optimizer.weight_decay", 0.1, "--model.regularizer", "seglab.L2", "--model.regularizer.strength", 0.1),
        ("weights would decay twice",),
    ),
    "own optimizer": (
        ("--optimizer", "torch.optim.SGD", "--optimizer.lr", 0.1),
        ("--optimizer", "--model.optimizer"),
    ),
    "no network": (
        ("--model.network", "mine.Refuses"),
        ("RuntimeError: no such thing and a second line (mine.py:", "in __init__): correct it there; the traceback is in"),
    ),
    "other classes": (("--model.network.num_classes", 3), ("the network gives 3 logits per pixel for 4 classes",)),
    "own mistake": (
        ("--model.loss", "mine.Unpacks"),
        ("ValueError: not enough values to unpack", "(mine.py:", "the traceback is in "),
    ),
    "no GPU": (("--trainer.accelerator", "gpu"), ("gpu",)),
    "no devices": (("--trainer.devices", 0), ("devices", "0")),
    "no checkpoint": (("--ckpt_path", "nowhere.ckpt"), ("--ckpt_path nowhere.ckpt is no file", "last.ckpt")),
    "garbage": (("--ckpt_path", "c.yaml"), ("--ckpt_path c.yaml: is damaged or no checkpoint",)),
    "torch's": (("--ckpt_path", "weights.pt"), ("--ckpt_path weights.pt: is no checkpoint of seglab",)),
    "relative": (
        (
            "--model.regularizer",
            "seglab.Relative",
            "--model.regularizer.inner",
            "seglab.L2",
            "--model.regularizer.inner.strength",
            1,
            "--model.regularizer.ratio",
            0.1,
            "--model.regularizer.steps",
            20,
        ),
        ("this training has 12",),
    ),
    "schedule": (("--model.freeze", "seglab.Surgical", "--model.freeze.stages", "[nothing]"), ("nothing",)),
    "W&B": ((), ("W&B is to be online (WANDB_MODE): ", "wandb login", "WANDB_MODE=offline")),
}
QUICK = ("bad sample", "own mistake", "garbage")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("--trainer.fast_dev_run", "true"), []),
        (("--trainer.enable_checkpointing", "false"), ["runs/fit/version_0/config.yaml", "runs/fit/version_0/metrics.csv"]),
    ],
)
def test_a_fit_without_checkpoints_validates_and_ends(place: Path, words: tuple[str, ...], left: list[str]) -> None:
    before = files(place)
    ended = fit(place, *words)
    assert (ended.code, ended.err) == (0, "")
    assert "val/miou" in ended.out
    assert files(place) == sorted([*before, *left])


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="one case needs a machine without a GPU")  # noqa: PTH110
@pytest.mark.parametrize("case", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in REFUSED])
def test_what_is_refused_leaves_nothing(place: Path, case: str) -> None:
    import torch

    torch.save({"weight": torch.zeros(2)}, place / "weights.pt")
    words, expected = REFUSED[case]
    before = files(place)
    ended = fit(place, *words, **({"WANDB_MODE": "online", "HOME": place} if case == "W&B" else {}))
    line = refusal(ended)
    for part in expected:
        assert part in line
    assert files(place) == before
    assert not (place / "runs").exists()
    if (found := re.search(r"the traceback is in (\S+)", line)) is not None:
        assert "Traceback" in Path(found[1]).read_text()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "--config c.yaml: is empty"),
        (b"model:\n\tloss: 1\n", "--config c.yaml: Problems parsing config: while scanning"),
        (b"model: \xff\xfe\n", "--config c.yaml: 'utf-8' codec can't decode byte 0xff"),
        (
            CONFIG.replace("batch_size", "batchsize").encode(),
            "has the key data.batchsize, and `fit` has no such flag (did you mean data.batch_size",
        ),
        (
            CONFIG.replace("max_epochs", "max_epoch").encode(),
            "trainer.max_epoch, and `fit` has no such flag (did you mean trainer.max_epochs",
        ),
    ],
    ids=["empty", "tab", "encoding", "key", "trainer's key"],
)
def test_a_configuration_that_cannot_be_read(place: Path, content: bytes, expected: str) -> None:
    (place / "c.yaml").write_bytes(content)
    assert expected in refusal(fit(place))
    assert not (place / "runs").exists()


def test_a_metric_that_is_missing_without_a_validation(place: Path) -> None:
    words = ("--trainer.callbacks+", "ModelCheckpoint", "--trainer.callbacks.monitor", "val/miou")
    line = refusal(fit(place, "--trainer.limit_val_batches", 0, *words))
    assert "ModelCheckpoint: there is no metric 'val/miou' to monitor; this training logs train/loss\n" in line
    assert not (place / "runs").exists()
    assert fit(place, *words).code == 0


@pytest.mark.slow
def test_a_callback_that_logs_may_log_anything(place: Path) -> None:
    words = ("--trainer.callbacks+", "mine.Logs", "--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor")
    assert fit(place, *words, "mine/own").code == 0
    ended = fit(place, *words, "mine/other")
    assert ended.code == 1, ended
    assert "mine/other" in ended.err
    assert ended.err.count("\n") == 1


def test_what_fails_in_the_middle_keeps_its_folder(place: Path) -> None:
    ended = fit(place, "--model.loss", "mine.FailsInTheMiddle")
    assert ended.code == 1, ended
    line = 1 + (place / "mine.py").read_text().splitlines().index('            raise KeyError("middle")')
    assert ended.err == (
        f"failed: KeyError: 'middle' (mine.py:{line}, in forward): correct it there; the traceback is in runs/fit/version_0/failure.txt\n"
    )
    assert "raise KeyError" in (version(place, 0) / "failure.txt").read_text()
    assert fit(place, "--model.loss", "mine.BecomesNaN").code == 1


@pytest.mark.parametrize("verb", ["test", pytest.param("validate", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--data.source.num_shapes", 2), "was trained for 4 classes (background, disc, square, triangle), and these data have 3"),
        (("--model.network.width", 9), "network/layers/0/weight: [8, 3, 3, 3] → [9, 3, 3, 3]"),
        (("--model.mean", "[0.5,0.5,0.5]"), "mean: [0.48"),
    ],
)
def test_a_checkpoint_of_something_else(trained: Path, verb: str, words: tuple[object, ...], expected: str) -> None:
    before = files(trained)
    line = refusal(seglab(trained, verb, "--config", "c.yaml", *words, "--ckpt_path", LAST))
    assert f"--ckpt_path {LAST}: " in line
    assert expected in line
    assert files(trained) == before


OTHERS_VARIABLES: dict[str, dict[str, object]] = {
    "torchrun": {
        "RANK": 3,
        "LOCAL_RANK": 3,
        "WORLD_SIZE": 4,
        "LOCAL_WORLD_SIZE": 4,
        "GROUP_RANK": 1,
        "MASTER_ADDR": "nowhere",
        "MASTER_PORT": 1,
        "TORCHELASTIC_RUN_ID": "x",
        "TORCHELASTIC_RESTART_COUNT": 0,
    },
    "slurm": {
        "SLURM_JOB_ID": 1,
        "SLURM_NTASKS": 4,
        "SLURM_PROCID": 2,
        "SLURM_LOCALID": 2,
        "SLURM_NODEID": 1,
        "SLURM_JOB_NAME": "job",
        "SLURM_STEP_ID": 0,
        "SLURM_NTASKS_PER_NODE": 4,
        "SLURM_JOB_NODELIST": "a,b",
    },
    "mpi": {"OMPI_COMM_WORLD_RANK": 2, "OMPI_COMM_WORLD_SIZE": 4, "PMI_RANK": 2, "PMI_SIZE": 4, "JSM_NAMESPACE_RANK": 2},
    "kubeflow": {"KUBERNETES_PORT": "x", "MASTER_ADDR": "nowhere", "MASTER_PORT": 1, "WORLD_SIZE": 4, "RANK": 2},
    "lightning": {"NODE_RANK": 1, "PL_GLOBAL_SEED": 7, "SEGLAB_FIT_PROCESS": 1},
    "wandb": {"WANDB_RUN_ID": "other", "WANDB_RESUME": "must", "WANDB_DIR": "/nowhere"},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [name if name in ("torchrun", "slurm") else pytest.param(name, marks=pytest.mark.weekly) for name in OTHERS_VARIABLES]
)
def test_variables_of_other_launchers_mean_nothing(place: Path, launcher: str) -> None:
    assert fit(place, "--trainer.max_epochs", 1, WANDB_MODE="offline").code == 0
    ended = fit(place, "--trainer.max_epochs", 1, WANDB_MODE="offline", **OTHERS_VARIABLES[launcher])
    assert (ended.code, ended.err) == (0, "")
    assert rows(version(place, 0)) == rows(version(place, 1))
    assert [files(version(place, number))[:3] for number in (0, 1)] == [
        ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml"]
    ] * 2
    assert len(list(version(place, 1).glob("wandb/offline-run-*"))) == 1
    assert not list(version(place, 1).glob("wandb/offline-run-*-other"))


@pytest.mark.weekly
def test_two_devices(place: Path) -> None:
    """Lightning starts the second rank; both stop at the same step, and go on."""

    def run(*words: str, **environment: str) -> Ended:
        process = subprocess.run(
            [str(Path(sys.executable).with_name("seglab")), *words],
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", "SLURM_NTASKS": "4"} | environment,
        )
        return Ended(process.returncode, process.stdout, process.stderr)

    words = ("fit", "--config", "c.yaml", "--trainer.devices", "2")
    assert run(*words).code == 0
    ended = run(*words, DIE_AT="5")
    assert ended.code == 75, ended
    ended = run(*words, "--ckpt_path", "runs/fit/version_1/checkpoints/last.ckpt")
    assert ended.code == 0, ended
    one, other = (checkpoint(version(place, number) / "checkpoints" / "last.ckpt")["state_dict"] for number in (0, 2))
    assert all((one[name] == value).all() for name, value in other.items())


def test_it_is_quiet(place: Path) -> None:
    """Only its own lines, without escape codes."""
    ended = fit(place, "--trainer.max_epochs", 2)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == (
        "training Network (276 parameters) with CrossEntropy on Shapes: 12 images, 4 classes; 2 epochs of 3 steps, in runs/fit/version_0"
    )
    assert [line.partition(":")[0] for line in lines[2:]] == ["epoch 1, step 3", "epoch 2, step 6", "results", "next"]
    assert lines[1] == "images of 16×16 are trained at their own size; --data.size sets another size"
    assert "val/miou 0." in lines[2]
    assert lines[-1] == "next: seglab test runs/fit/version_0"
    tested = seglab(place, "test", "runs/fit/version_0", WANDB_MODE="offline")
    assert (tested.code, tested.err) == (0, "")
    assert "\x1b" not in ended.out + tested.out
    assert tested.out.splitlines()[-1] == "scores: runs/fit/version_1/metrics.csv"
