"""A resumed training equals an uninterrupted one bit for bit.

The weights that penalties refer to come from the checkpoint, whatever the new start.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from seglab.regularizers import (
    L1,
    L2,
    Anchored,
    Cosine,
    Decoupled,
    FixedNorm,
    LinearWarmup,
    PerStage,
    Proximal,
    Regularizer,
    Relative,
    Scheduled,
    SmoothL1,
    Spectral,
    Sum,
)
from tests.nets import Small, adamw, fixed_module, loader, momentum
from tests.trainers import quiet_trainer

REGULARIZERS: list[Regularizer] = [
    Anchored(L2(0.3)),
    Anchored(Proximal(L1(0.05)), new=SmoothL1(0.1, kappa=0.3)),
    SmoothL1(0.3, kappa=0.5),
    Relative(L2(1.0), 0.3, after=0.0, steps=2),
    Relative(Proximal(L1(1.0)), 0.3, after=0.2, steps=3),  # the measurement is cut in two
    Spectral(0.3),
    Decoupled(Spectral(0.3)),
    Sum([Decoupled(L2(0.5)), FixedNorm()]),
    Scheduled(L2(0.5), Cosine(0.0, 2.0)),
    PerStage({"network": Sum([Scheduled(SmoothL1(0.3, kappa=0.5), LinearWarmup(0.7)), Anchored(Spectral(0.1))])}),
]


pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed")  # each training writes into its own


def module_for(regularizer: Regularizer, optimizer: Any, seed: int) -> Any:
    module = fixed_module(regularizer, optimizer, seed=seed)
    module.network.pretrained = frozenset(["first.weight", "last.bias"])
    return module


def fitted(module: Any, folder: Path, precision: Any = "32-true", **settings: Any) -> dict[str, Tensor]:
    """The weights after two epochs of three steps, with a checkpoint after each; `ckpt_path` continues one."""
    torch.manual_seed(5)
    checkpoints = ModelCheckpoint(folder, "{epoch}", save_top_k=-1, every_n_epochs=1, save_on_train_epoch_end=True)
    trainer = quiet_trainer(enable_checkpointing=True, callbacks=[checkpoints], precision=precision)
    trainer.fit(module, loader(), loader(), **settings)
    return {name: value.detach().clone() for name, value in module.network.state_dict().items()}


@pytest.mark.parametrize("optimizer", [momentum, adamw])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_resumed_is_uninterrupted(regularizer: Regularizer, optimizer: Any, tmp_path: Path) -> None:
    whole = fitted(module_for(regularizer, optimizer, 0), tmp_path)
    at = tmp_path / "epoch=0.ckpt"
    for seed in (0, 1):  # the start rebuilt, and another start that the checkpoint must win over
        resumed = fitted(module_for(regularizer, optimizer, seed), tmp_path / str(seed), ckpt_path=at, weights_only=True)
        for name, value in whole.items():
            assert torch.equal(resumed[name], value), (seed, name)


@pytest.mark.parametrize("regularizer", [L1(0.1), Relative(Anchored(L2(1.0)), 0.3, after=0.0, steps=2)], ids=repr)
def test_no_weight_of_64_bits_is_rounded(regularizer: Regularizer, tmp_path: Path) -> None:
    whole = fitted(module_for(regularizer, adamw, 0), tmp_path, "64-true")
    resumed = fitted(
        module_for(regularizer, adamw, 0), tmp_path / "again", "64-true", ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True
    )
    assert whole["first.weight"].dtype == torch.float64
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_the_two_starts_differ() -> None:
    first, second = (module_for(L2(0.1), momentum, seed).network for seed in (0, 1))
    assert isinstance(first, Small)
    assert not torch.equal(first.first.weight, second.first.weight)


def test_the_checkpoint_is_plain_data(tmp_path: Path) -> None:
    fitted(module_for(REGULARIZERS[-1], momentum, 0), tmp_path)
    state = torch.load(tmp_path / "epoch=0.ckpt", weights_only=True)["callbacks"]["StepOrder"]
    (of_the_sum,) = state["applied"].values()
    assert state["regularizer"] == repr(REGULARIZERS[-1])
    assert set(of_the_sum) == {"0", "1"}
    assert set(of_the_sum["1"]["anchors"]) == {"first.weight"}
    assert all(isinstance(beta, float) for beta in of_the_sum["0"]["regularizer"]["betas"])


def test_anchors_of_other_weights_are_refused(tmp_path: Path) -> None:
    fitted(module_for(Anchored(L2(0.3)), momentum, 0), tmp_path)
    module = module_for(Anchored(L2(0.3)), momentum, 0)
    module.network.pretrained = frozenset(["last.weight"])
    with pytest.raises(ValueError, match="made with another regularizer or network"):
        fitted(module, tmp_path / "again", ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True)


@pytest.mark.parametrize("other", [None, L2(0.2), SmoothL1(0.3, kappa=0.6), Sum([SmoothL1(0.3, kappa=0.5)])], ids=repr)
def test_a_training_goes_on_with_the_regularizer_it_began_with(other: Regularizer | None, tmp_path: Path) -> None:
    fitted(module_for(SmoothL1(0.3, kappa=0.5), momentum, 0), tmp_path)
    with pytest.raises(ValueError, match=r"was trained with the regularizer SmoothL1\(strength=0.3, kappa=0.5"):
        fitted(fixed_module(other, momentum), tmp_path / "again", ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True)
