"""A fit continued from a checkpoint equals an uninterrupted one bit for bit, or is refused, naming the difference."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from tests.fitting.fits import CONFIG, OF_THE_LAST_STEP, Ended, checkpoint, files, fit, rows, seglab, user_folder, version, what_counts
from tests.fitting.mine import by_closure
from tests.schedulers import FEW, SCHEDULERS, Case

LAST = "runs/fit/version_{}/checkpoints/last.ckpt"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return user_folder(tmp_path)


def refusal(ended: Ended) -> str:
    """The one line of an error, with nothing printed beside it."""
    assert ended.code == 2, ended
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


def test_what_each_checkpoint_holds(place: Path) -> None:
    """`last.ckpt` is the last step, also if the last validation is not the best."""
    ended = fit(place, "--model.optimizer.lr", 0.3)
    assert ended.code == 0, ended
    run = version(place, 0)
    scores = {int(row["step"]) + 1: float(row["val/miou"]) for row in what_counts(run)["rows"] if "val/miou" in row}
    assert list(scores) == [3, 6, 9, 12]
    best = max(scores, key=lambda step: scores[step])
    last, top = checkpoint(run / "checkpoints" / "last.ckpt"), checkpoint(run / "checkpoints" / "best.ckpt")
    assert last["global_step"] == 12
    assert top["global_step"] == best
    for held in (last, top):
        assert held["callbacks"]["FitCheckpoints"]["step"] == best
        assert held["callbacks"]["FitCheckpoints"]["score"] == pytest.approx(scores[best], rel=1e-6)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert f"step 12; best.ckpt: val/miou {scores[best]:.4f} after step {best}" in ended.out
    tested = seglab(place, "test", "runs/fit/version_0")
    assert tested.code == 0, tested


@pytest.mark.parametrize(
    ("step", "by"),
    [
        ("5", "SIGTERM"),
        pytest.param("6", "SIGINT", marks=pytest.mark.weekly),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("1:0", "SIGHUP"), ("11", "SIGUSR1"))),
    ],
)
def test_interrupted_it_goes_on(place: Path, step: str, by: str) -> None:
    """Interrupt within an epoch, at its end, in a validation, before the last step; continue by the printed command."""
    assert fit(place, "--model.scheduler", "mine.cosine").code == 0
    ended = fit(place, "--model.scheduler", "mine.cosine", DIE_AT=step, DIE_BY=by)
    assert ended.code == 75, ended
    command = ended.err.splitlines()[-1].partition("to go on: seglab ")[2].split()
    assert command == ["fit", "--config", "runs/fit/version_1/config.yaml", "--ckpt_path", LAST.format(1)]
    resumed = seglab(place, *command)
    assert resumed.code == 0, resumed
    assert what_counts(version(place, 2)) == what_counts(version(place, 0))
    assert what_counts(version(place, 2), "best.ckpt") | {"rows": 0} == what_counts(version(place, 0), "best.ckpt") | {"rows": 0}


LOSS = """  network: {class_path: mine.Network}
  loss:
    class_path: seglab.WeightedSum
    init_args:
      losses: {ce: {class_path: seglab.CrossEntropy}, dice: {class_path: seglab.Dice}}
      weights: {ce: 1.0, dice: {class_path: seglab.LinearWarmup, init_args: {fraction: 0.9}}}
"""


def test_a_loss_that_changes_is_evaluated_as_at_the_step_of_the_checkpoint(place: Path) -> None:
    """Interrupted within a validation, and tested by another process."""
    (place / "c.yaml").write_text(CONFIG.replace("num_val: 4", "num_val: 8").replace("  network: {class_path: mine.Network}\n", LOSS))
    assert fit(place).code == 0
    assert fit(place, DIE_AT="2:0").code == 75
    assert fit(place, "--ckpt_path", LAST.format(1)).code == 0
    assert what_counts(version(place, 2)) == what_counts(version(place, 0))
    assert seglab(place, "test", "runs/fit/version_0").code == 0
    (row,) = [row for row in rows(version(place, 3)) if "test/loss" in row]
    loss, ce, dice = (float(row[f"test/loss{term}"]) for term in ("", "/ce", "/dice"))
    assert loss == pytest.approx(ce + dice, rel=1e-6)


@pytest.mark.parametrize("name", ["last.ckpt", pytest.param("best.ckpt", marks=pytest.mark.slow)])
def test_a_longer_training_goes_on(place: Path, name: str) -> None:
    assert fit(place, "--trainer.max_epochs", 6).code == 0
    assert fit(place).code == 0
    ended = fit(place, "--trainer.max_epochs", 6, "--ckpt_path", version(place, 1) / "checkpoints" / name)
    assert ended.code == 0, ended
    assert "planned 12 steps, and this training has 18" in ended.err
    assert what_counts(version(place, 2), without=OF_THE_LAST_STEP) == what_counts(version(place, 0), without=OF_THE_LAST_STEP)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [5, 6])
def test_after_max_steps_a_longer_training_goes_on(place: Path, steps: int) -> None:
    """Also within an epoch, which Lightning counts as complete."""
    assert fit(place).code == 0
    assert fit(place, "--trainer.max_steps", steps).code == 0
    ended = fit(place, "--ckpt_path", LAST.format(1))
    assert ended.code == 0, ended
    assert what_counts(version(place, 2), without=OF_THE_LAST_STEP) == what_counts(version(place, 0), without=OF_THE_LAST_STEP)


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("--trainer.max_steps", 10), "1:0"),
        pytest.param(("--trainer.val_check_interval", 2), "1:0", marks=pytest.mark.slow),
        pytest.param(("--trainer.max_steps", 10), "", marks=pytest.mark.slow),
    ],
)
def test_behind_a_validation_the_steps_of_the_log_go_on(place: Path, words: tuple[object, ...], step: str) -> None:
    """Stopped before the batch that follows a validation; without a stop, continued from `best.ckpt`, saved there."""
    assert fit(place, *words).code == 0
    assert fit(place, *words, DIE_AT=step).code == (75 if step else 0)
    assert fit(place, *words, "--ckpt_path", LAST.format(1).replace("last", "last" if step else "best")).code == 0
    assert what_counts(version(place, 2)) == what_counts(version(place, 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("--trainer.accumulate_grad_batches", 2), ("--trainer.val_check_interval", 2), ("--data.num_workers", 1)]
)
def test_other_trainings_go_on_too(place: Path, words: tuple[object, ...]) -> None:
    assert fit(place, *words).code == 0
    assert fit(place, *words, DIE_AT=5).code == 75
    assert fit(place, *words, "--ckpt_path", LAST.format(1)).code == 0
    assert what_counts(version(place, 2)) == what_counts(version(place, 0))


@pytest.mark.slow
def test_the_best_of_the_whole_training(place: Path) -> None:
    """The first validation is the best one: the rate is far too large afterwards."""
    words = ("--model.scheduler", "mine.by_steps", "--model.optimizer.lr", 2.0)
    assert fit(place, *words).code == 0
    whole = checkpoint(version(place, 0) / "checkpoints" / "best.ckpt")
    step = whole["global_step"]
    assert step < 12, "the case needs a best validation that is not the last"
    assert fit(place, *words, DIE_AT=min(11, step + 2)).code == 75
    for earlier in (1, 2):
        ended = fit(place, *words, "--ckpt_path", LAST.format(earlier), DIE_AT=11 if earlier == 1 else "")
        assert ended.code == (75 if earlier == 1 else 0), ended
        best = checkpoint(version(place, earlier + 1) / "checkpoints" / "best.ckpt")
        assert best["global_step"] == step
        assert all((best["state_dict"][name] == value).all() for name, value in whole["state_dict"].items())
    (version(place, 1) / "checkpoints" / "best.ckpt").unlink()
    ended = fit(place, *words, "--ckpt_path", LAST.format(1))
    assert ended.code == 0
    assert f"after step {step}, is not beside it" in ended.err


OTHERS = {
    "lr": (("--model.optimizer.lr", 0.1), "optimizer.lr: 0.001 → 0.1"),
    "decay": (("--model.optimizer.weight_decay", 0.1), "optimizer.weight_decay: 0.0 → 0.1"),
    "betas": (("--model.optimizer.betas", "[0.8,0.99]"), "optimizer.betas: [0.9, 0.999] → [0.8, 0.99]"),
    "optimizer": (
        ("--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", 0.1),
        "optimizer.class: torch.optim.AdamW → torch.optim.SGD",
    ),
    "scheduler": (("--model.scheduler", "mine.by_steps"), "scheduler: None → StepLR"),
    "batch": (("--data.batch_size", 2), "data.batch_size: 4 → 2"),
    "data": (("--data.source.num_train", 16), "data.source.num_train: 12 → 16"),
    "augmentation": (("--data.augmentation", "null"), "data.augmentation: "),
    "accumulation": (("--trainer.accumulate_grad_batches", 2), "trainer.accumulate_grad_batches: 1 → 2"),
    "clipping": (("--trainer.gradient_clip_val", 1.0), "trainer.gradient_clip_val: None → 1.0"),
    "precision": (("--trainer.precision", "bf16-mixed"), "trainer.precision: 32-true → bf16-mixed"),
    "batches": (("--trainer.limit_train_batches", 2), "trainer.limit_train_batches: 1.0 → 2"),
    "validations": (("--trainer.check_val_every_n_epoch", 2), "trainer.check_val_every_n_epoch: 1 → 2"),
    "loss": (("--model.loss", "seglab.Dice"), "loss"),
    "smoothing": (("--model.loss.label_smoothing", 0.1), "loss.label_smoothing: "),
    "penalty": (("--model.regularizer", "seglab.L2", "--model.regularizer.strength", 0.1), "regularizer: None → L2"),
    "freezing": (("--model.freeze", "mine.SlowStart"), "freeze: None → SlowStart"),
    "batch norm": (("--model.batch_norm", "frozen"), "module.batch_norm: train → frozen"),
    "seed": (("--seed_everything", 1), "seed: 0 → 1"),
    "network": (("--model.network.width", 9), "network"),
    "mean": (("--model.mean", "[0.5,0.5,0.5]"), "mean: [0.485"),
    "ignored": (("--model.ignore_index", 254), "module.ignore_index: 255 → 254"),
}
"""Flags that a checkpoint would override, and how they are named."""


@pytest.fixture(scope="module")
def half_way(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = user_folder(tmp_path_factory.mktemp("half") / "way")
    assert fit(place, DIE_AT=5).code == 75
    return place


@pytest.mark.parametrize("other", [name if name == "lr" else pytest.param(name, marks=pytest.mark.slow) for name in OTHERS])
def test_what_the_checkpoint_would_override_is_refused(half_way: Path, other: str) -> None:
    words, named = OTHERS[other]
    before = files(half_way)
    line = refusal(fit(half_way, *words, "--ckpt_path", LAST.format(0)))
    assert LAST.format(0) in line
    assert named in line
    assert files(half_way) == before


HARMLESS = (
    ("--data.num_workers", 1),
    ("--data.cache", "true"),
    ("--trainer.log_every_n_steps", 2),
    ("--model.boundary_iou", "true"),
    ("--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"),
    ("--trainer.logger", "false"),
    ("--trainer.default_root_dir", "elsewhere"),
)


@pytest.mark.slow
@pytest.mark.parametrize("words", HARMLESS, ids=lambda words: words[0])
def test_what_changes_no_number_is_accepted(tmp_path: Path, half_way: Path, words: tuple[object, ...]) -> None:
    place = user_folder(tmp_path)
    ended = fit(place, *words, "--ckpt_path", half_way / LAST.format(0))
    assert ended.code == 0, ended
    assert fit(half_way).code == 0
    newest = max((half_way / "runs" / "fit").iterdir(), key=lambda path: int(path.name.removeprefix("version_")))
    weights = [
        checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
        for folder in (*place.glob("*/version_0"), *place.glob("*/*/version_0"), newest)
    ]
    assert len(weights) == 2
    assert all((weights[0][name] == value).all() for name, value in weights[1].items())


def test_edited_code_is_said(tmp_path: Path, half_way: Path) -> None:
    place = user_folder(tmp_path)
    text = (place / "mine.py").read_text()
    (place / "mine.py").write_text(text.replace("nn.Dropout(0.3)", "nn.Dropout(0.3 if True else 0.2)"))
    ended = fit(place, "--ckpt_path", half_way / LAST.format(0))
    assert ended.code == 0, ended
    assert "the code of mine.Network has been edited since this checkpoint" in ended.err


@pytest.mark.slow
def test_a_finished_training_is_finished(place: Path) -> None:
    assert fit(place).code == 0
    line = refusal(fit(place, "--ckpt_path", LAST.format(0)))
    assert "has done 12 steps, and this training ends after 12: give a larger --trainer.max_epochs" in line
    assert not version(place, 1).exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--model.freeze", "mine.SlowStart"), "the freezing schedule"),
        (
            (
                "--model.regularizer",
                "seglab.Scheduled",
                "--model.regularizer.inner",
                "seglab.L2",
                "--model.regularizer.inner.strength",
                0.01,
                "--model.regularizer.factor",
                "seglab.LinearWarmup",
            ),
            "the factor of Scheduled",
        ),
    ],
)
@pytest.mark.slow
def test_other_functions_of_the_length(place: Path, words: tuple[object, ...], named: str) -> None:
    assert fit(place, *words, DIE_AT=5).code == 75
    line = refusal(fit(place, *words, "--trainer.max_epochs", 8, "--ckpt_path", LAST.format(0)))
    assert f"steps: 12 → 24, on which {named} depends" in line
    assert fit(place, *words, "--ckpt_path", LAST.format(0)).code == 0


LENGTHS = {"same": 4, "longer": 6, "shorter": 3}

CASES = SCHEDULERS | {"a closure": Case(by_closure, by_closure, ("mine.by_closure",))}


def after(case: Case, updates: int, total: int) -> Any:
    """The state of a scheduler, and its learning rates, after this number of updates in a training of `total`."""
    optimizer = AdamW([nn.Parameter(torch.zeros(1))], lr=0.01)
    scheduler = case.by_hand(optimizer, total)
    for _ in range(updates):
        optimizer.step()
        scheduler.step()
    return str(scheduler.state_dict()), [group["lr"] for group in optimizer.param_groups]


def depends_on_length(case: Case) -> bool:
    """Return whether the scheduler is another one in a training of another length. A `ReduceLROnPlateau` never is."""
    if case.words[0].endswith("ReduceLROnPlateau"):
        return False
    states = [[part.partition(" at 0x")[0] for part in after(case, 5, total)[0].split("<")] for total in (12, 18)]
    return states[0] != states[1] or after(case, 5, 12)[1] != after(case, 5, 18)[1]


def test_the_lengths_on_which_schedulers_depend() -> None:
    depending = {name for name, case in CASES.items() if depends_on_length(case)}
    assert {"PolynomialLR", "CosineAnnealingLR", "OneCycleLR", "SequentialLR", "a closure"} <= depending
    assert not {"StepLR", "ExponentialLR", "CosineAnnealingLR, length", "OneCycleLR, length", "ReduceLROnPlateau"} & depending


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in FEW else pytest.mark.weekly) for name in ("none", *CASES)]
)
def test_each_scheduler(place: Path, name: str) -> None:
    """Stop within an epoch and at its end, and continue with the same, a longer and a shorter length.

    The training is also continued with another learning rate.
    """
    case = CASES.get(name)
    words = ("--model.optimizer.lr", 0.01, *(() if case is None else case.flags("model.scheduler")))
    whole, number = {}, 0
    for length, epochs in LENGTHS.items():
        assert fit(place, *words, "--trainer.max_epochs", epochs).code == 0
        whole[length], number = what_counts(version(place, number), without=OF_THE_LAST_STEP), number + 1
    for step in (5, 6):
        assert fit(place, *words, DIE_AT=step).code == 75
        stopped, number = LAST.format(number), number + 1
        for length, epochs in LENGTHS.items():
            ended = fit(place, *words, "--trainer.max_epochs", epochs, "--ckpt_path", stopped)
            if length != "same" and case is not None and depends_on_length(case):
                assert "scheduler" in refusal(ended) or "rates" in refusal(ended)
            else:
                assert ended.code == 0, (length, ended)
                assert what_counts(version(place, number), without=OF_THE_LAST_STEP) == whole[length], (name, step, length)
                number += 1
        assert "optimizer.lr: 0.01 → 0.02" in refusal(fit(place, *words, "--model.optimizer.lr", 0.02, "--ckpt_path", stopped))
