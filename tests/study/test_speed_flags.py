"""Flags that change speed: what they refuse, which numbers they change, and that interrupted runs end the same."""

import dataclasses
import json
import signal
import sys
from pathlib import Path

import pytest
import torch

from seglab import L1, L2, AdamW, Decoupled, FreezeSchedule, GroupLasso, Orthogonality, Progress, Proximal, Regularizer, Spectral, Stage
from seglab.callbacks import FiniteLoss
from seglab.callbacks.finite import NonFiniteLossError
from seglab.running.network import check_compiler, lay_out
from seglab.running.resources import Resources
from seglab.study.differences import differences
from seglab.study.identity import shared
from tests.freezing.deep import Deep
from tests.nets import Staged, adamw, batches, fixed_module, trained
from tests.study.attempts import attempt, leftovers, what_counts
from tests.study.tiny_experiment import study

REGULARIZERS: list[Regularizer] = [
    L2(0.1),
    Decoupled(L2(0.3)),
    Proximal(L1(0.02)),
    Proximal(GroupLasso(0.02)),
    Orthogonality(0.1),
    Spectral(0.1),
]
FLAGS = {
    "precision": Resources(precision="bf16-mixed"),
    "channels_last": Resources(channels_last=True),
    "compile": Resources(compile=True),
}


class HeadAlone(FreezeSchedule):
    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return float(stage.part == "head")


def test_without_the_flags_a_study_is_the_same() -> None:
    assert Resources().applied_to(study()).precision == "32-true"
    assert not {"channels_last", "compile"} & set(shared(Resources().applied_to(study())))
    assert Resources().repeating_flags == []


@pytest.mark.parametrize("name", FLAGS)
def test_each_is_another_setting_of_the_study(name: str) -> None:
    plain, asked = shared(study()), shared(FLAGS[name].applied_to(study()))
    (line,) = differences(plain, asked)
    assert line.startswith(f"{name}: ")
    assert f"--{name}" in FLAGS[name].repeating_flags


def test_half_precision_without_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a GPU, and the runs compute on the CPU; choose bf16-mixed"):
        Resources(accelerator="cpu", precision="16-mixed").applied_to(study())
    with pytest.raises(ValueError, match="--precision 16-mixed"):
        Resources(accelerator="cpu").applied_to(dataclasses.replace(study(), precision="16-mixed"))


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_penalties_act_in_bf16_as_in_float32(regularizer: Regularizer) -> None:
    """The penalty's part of the update is in float32, so that it is the same up to the data loss's rounding."""
    full, half, none = (
        trained(fixed_module(which, adamw, net=Staged), precision=precision)
        for which, precision in ((regularizer, "32-true"), (regularizer, "bf16-mixed"), (None, "bf16-mixed"))
    )
    moved = sum(float((full[name] - half[name]).float().abs().sum()) for name in full)
    by_penalty = sum(float((none[name] - half[name]).float().abs().sum()) for name in full)
    assert all(value.dtype == full[name].dtype for name, value in half.items())
    assert 0 < moved < 0.2 * by_penalty


def test_a_translation_for_the_cpu_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = dataclasses.replace(study(), compile=True)
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(
        ValueError, match=r"--compile: needs a C\+\+ compiler, and there is no no-such-compiler -O2: install it, name another in CXX"
    ):
        check_compiler(asked, on_gpu=False)
    check_compiler(asked, on_gpu=True)
    check_compiler(study(), on_gpu=False)
    monkeypatch.setenv("CXX", f"{sys.executable} -O2")
    check_compiler(asked, on_gpu=False)


def test_channels_last_keeps_names_and_numbers_up_to_rounding() -> None:
    for regularizer in REGULARIZERS:
        plain = trained(fixed_module(regularizer, adamw, net=Staged))
        module = fixed_module(regularizer, adamw, net=Staged)
        lay_out(module.network, dataclasses.replace(study(), channels_last=True))
        torch.testing.assert_close(trained(module), plain, rtol=1e-3, atol=1e-4)


def test_frozen_stages_stay_as_they_are_in_bf16() -> None:
    module = fixed_module(None, adamw, net=Deep, freeze=HeadAlone())
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    after = trained(module, precision="bf16-mixed")
    changed = {name.partition(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"segmentation_head"}


def test_a_fused_optimizer_takes_the_same_steps_and_is_another_setting() -> None:
    plain = trained(fixed_module(Proximal(L1(0.02)), AdamW(1e-2, eps=1e-3), net=Staged))
    fused = trained(fixed_module(Proximal(L1(0.02)), AdamW(1e-2, eps=1e-3, fused=True), net=Staged))
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)
    weight = torch.nn.Parameter(torch.ones(1))
    assert AdamW(fused=True)([weight]).param_groups[0]["fused"] is True
    assert AdamW()([weight]).param_groups[0]["fused"] is None


def test_a_loss_that_is_not_finite_stops_a_training_in_bf16() -> None:
    given = [batch._replace(image=batch.image * float("nan")) for batch in batches()]

    with pytest.raises(NonFiniteLossError):
        trained(fixed_module(None, adamw, net=Staged), given, precision="bf16-mixed", callbacks=[FiniteLoss()])


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--precision", "bf16-mixed"),
        pytest.param(("--channels_last", "true"), marks=pytest.mark.weekly),
        pytest.param(("--compile", "true"), marks=pytest.mark.weekly),
    ],
    ids=["bf16", "channels last", "compiled"],
)
def test_an_interrupted_run_ends_as_the_whole_one(tmp_path: Path, flags: tuple[str, str]) -> None:
    """With a freezing schedule. A folder in float32 refuses to go on otherwise."""
    one = ("--arm", "gradual", "--seed", 0, "--wandb", "disabled", "--accelerator", "cpu", *flags)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    assert attempt(whole, "run", *one) == 0, (whole / "printed.txt").read_text()
    (cut / "runs" / "fragile").mkdir(parents=True)
    (cut / "runs" / "fragile" / "study.json").write_bytes((whole / "runs" / "fragile" / "study.json").read_bytes())
    assert attempt(cut, "work", *one, "--checkpoint_minutes", 0, DIE_AT=11) == -signal.SIGKILL
    assert attempt(cut, "work", *one) == 0, (cut / "printed.txt").read_text()
    runs = [place / "runs" / "fragile" / "gradual" / "seed-0" for place in (whole, cut)]
    ours, theirs = map(what_counts, runs)
    assert ours == theirs
    assert leftovers(cut) == []
    assert attempt(whole, "run", *one[:-2]) == 2
    assert f"{flags[0].removeprefix('--')}: " in (whole / "printed.txt").read_text().splitlines()[-1]


@pytest.mark.weekly
def test_two_processes_train_in_bf16(tmp_path: Path) -> None:
    """Both end with equal weights, which every training on several devices checks, and with finite scores."""
    one = ("--arm", "gradual", "--seed", 0, "--wandb", "disabled", "--accelerator", "cpu", "--precision", "bf16-mixed", "--devices", 2)
    assert attempt(tmp_path, "run", *one) == 0, (tmp_path / "printed.txt").read_text()
    result = json.loads((tmp_path / "runs" / "fragile" / "gradual" / "seed-0" / "result.json").read_text())
    assert 0 <= result["test"]["miou"] <= 1
