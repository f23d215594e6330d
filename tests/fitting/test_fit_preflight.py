"""`seglab fit` tries its module before it makes its folder."""

from pathlib import Path

import pytest

from tests.fitting.fits import files, fit, user_folder

FAULTS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "evaluation": (
        ("--model.network", "mine.Evaluates"),
        ("evaluating 1 image of 3×16×16: KeyError: 'evaluation' (mine.py:", "correct it there; the traceback is in "),
    ),
    "output": (
        ("--model.network", "mine.Named"),
        ("training on 2 images of 3×16×16: Named returns a dict of out; expected logits (N,C,H,W) alone",),
    ),
    "loss": (
        ("--model.loss", "mine.NotANumber"),
        ("training on 4 images of 3×16×16: the loss is nan; expected a finite number",),
    ),
    "size": (
        ("--model.network", "seglab.network", "--model.network.architecture", "PAN", "--model.network.num_classes", 4),
        ("training on 2 images of 3×16×16: RuntimeError: ", "Output size is too small; give images of a size that the network takes"),
    ),
}


@pytest.mark.parametrize("fault", [pytest.param(name, marks=pytest.mark.slow) if name == "size" else name for name in FAULTS])
def test_a_module_that_cannot_train_is_refused(tmp_path: Path, fault: str) -> None:
    place = user_folder(tmp_path)
    before = files(place)
    words, expected = FAULTS[fault]
    ended = fit(place, *words)
    assert ended.code == 2, ended
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("error: ")
    for text in expected:
        assert text in ended.err
    assert files(place) == before
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_a_fit_without_a_validation_evaluates_nothing(tmp_path: Path) -> None:
    place = user_folder(tmp_path)
    ended = fit(place, "--model.network", "mine.Evaluates", "--trainer.limit_val_batches", 0, "--trainer.max_epochs", 1)
    assert ended.code == 0, ended
