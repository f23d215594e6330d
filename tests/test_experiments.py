"""Every arm of every experiment trains, and under one seed all arms share initial weights and batches."""

import importlib.util
import inspect
import json
import tempfile
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import lightning as L
import pytest
import torch
from torch import Tensor

from seglab import Batch, SegmentationDataModule, SegmentationModule, Shapes, Study, Tuned
from seglab.networks import description, network, pretrained_parameters
from seglab.study.arms import Arm

SCRIPTS = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))
TINY = "tu-test_resnet"  # 0.4 million parameters
STEPS = 14  # a relative strength is measured over the first eleven


def imported(script: Path) -> ModuleType:
    """Import a script as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"experiment_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def study_of(script: Path) -> Study:
    """The script's study, on 8 drawn images of 32×32 and with the smallest encoder, if it takes one."""
    module = imported(script)
    wanted: dict[str, Any] = {
        "data": SegmentationDataModule(
            Shapes(num_train=8, num_val=2, num_test=2, image_size=32, num_shapes=3), batch_size=4, num_workers=0
        ),
        "encoder": TINY,
    }
    taken = inspect.signature(module.study).parameters
    assert "data" in taken, "an experiment's data are a flag"
    if "weights" in taken:
        wanted["weights"] = encoder_weights()
    found: Study = module.study(**{name: value for name, value in wanted.items() if name in taken})
    return found


@cache
def encoder_weights() -> str:
    """A file of weights for the encoder, as drawn under a seed of its own."""
    torch.manual_seed(1234)
    path = Path(tempfile.mkdtemp()) / "encoder.pt"
    torch.save(network("Unet", TINY, num_classes=2).get_submodule("encoder").state_dict(), path)
    return str(path)


def factories(script: Path) -> dict[str, Arm]:
    """Each arm's; the second setting of a tuned arm, as its first may be no penalty at all."""
    arms = study_of(script).arms
    found: dict[str, Arm] = {}
    for name, arm in arms.items():
        assert callable(arm) or isinstance(arm, Tuned), "one tuning of each arm"
        found[name] = list(arm.settings.values())[1] if isinstance(arm, Tuned) else arm
    return found


class FirstSteps(NamedTuple):
    """Initial weights, samples and trained weights of one arm."""

    network: str
    """Its description, and what of it is pretrained."""
    before: dict[str, Tensor]
    batches: list[Batch]
    after: dict[str, Tensor]
    loss: float

    @property
    def new(self) -> dict[str, Tensor]:
        """Return the initial weights of decoder and head, into which no weights are loaded."""
        return {name: value for name, value in self.before.items() if not name.startswith("encoder.")}


class Recorder(L.Callback):
    """Keeps the batches and the losses of a training."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch)
        self.losses.append(float(outputs["loss"]))


@cache
def first_steps(script: Path, arm: str, seed: int) -> FirstSteps:
    """Seed, build, train: in the order of `execute`, with a real Trainer."""
    study = study_of(script)
    L.seed_everything(seed, workers=True, verbose=False)
    module: SegmentationModule = factories(script)[arm]()
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    recorder = Recorder()
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        precision=study.precision,
        gradient_clip_val=study.gradient_clip,
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )
    trainer.fit(module, datamodule=study.data.with_seed(seed))
    assert trainer.global_step == STEPS
    start = json.dumps([description(module.network), sorted(pretrained_parameters(module.network))], sort_keys=True)
    return FirstSteps(start, before, recorder.batches, module.network.state_dict(), recorder.losses[0])


def arms_of(script: Path) -> list[str]:
    return list(study_of(script).arms)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_there_are_experiments() -> None:
    assert SCRIPTS


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_arm_trains(script: Path) -> None:
    for arm in arms_of(script):
        step = first_steps(script, arm, 0)
        assert torch.isfinite(torch.tensor(step.loss)), arm
        assert all(torch.isfinite(value).all() for value in step.after.values()), arm
        assert not same(step.before, step.after), f"{arm}: nothing has changed"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_one_seed_gives_all_arms_the_same_start(script: Path) -> None:
    """The same weights for all arms of one network, another seed other weights."""
    alike = defaultdict(list)
    for arm in arms_of(script):
        alike[first_steps(script, arm, 0).network].append(arm)
    assert max(map(len, alike.values())) >= 2, "no two arms have the same network, so there is nothing to compare"
    for arms in alike.values():
        for arm in arms:
            assert same(first_steps(script, arms[0], 0).before, first_steps(script, arm, 0).before), (arms[0], arm)
    baseline = study_of(script).baseline
    new = [first_steps(script, arm, 0).new for arm in arms_of(script)]
    assert all(same(first, other) for first, other in pairwise(new)), "decoder and head begin alike, whatever the encoder begins with"
    assert not same(first_steps(script, baseline, 0).new, first_steps(script, baseline, 1).new)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_one_seed_gives_all_arms_the_same_batches(script: Path) -> None:
    baseline = study_of(script).baseline
    expected = first_steps(script, baseline, 0).batches
    assert len(expected) == STEPS
    for arm in arms_of(script):
        for batch, wanted in zip(first_steps(script, arm, 0).batches, expected, strict=True):
            assert batch.name == wanted.name
            assert torch.equal(batch.image, wanted.image)
            assert torch.equal(batch.mask, wanted.mask)
    assert not torch.equal(first_steps(script, baseline, 1).batches[0].image, expected[0].image)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_arms_differ_afterwards(script: Path) -> None:
    """Two arms that do the same are no comparison."""
    steps = {arm: first_steps(script, arm, 0) for arm in arms_of(script)}
    names = list(steps)
    for place, arm in enumerate(names):
        for other in names[place + 1 :]:
            assert not same(steps[arm].after, steps[other].after), f"{arm} and {other} do the same"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_asks_and_how_it_is_run(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    doc = text.split('"""')[1]
    assert "?" in doc.splitlines()[0], "the first line of an experiment is its question"
    assert f"python experiments/{script.name} run" in doc
    study = study_of(script)
    assert study.name == script.stem.replace("_", "-") or study.name == script.stem


def test_all_penalties_are_tuned_among_the_same_settings() -> None:
    script = next(script for script in SCRIPTS if script.stem == "regularization")
    arms = study_of(script).arms
    tuned = {name: arm for name, arm in arms.items() if isinstance(arm, Tuned)}
    settings = {name: list(arm.settings) for name, arm in tuned.items()}
    assert len(settings) == len(arms) >= 6
    baseline = settings.pop("none")
    assert all(found == settings["l2"] for found in settings.values())
    assert [setting.split(",")[0] for setting in settings["l2"]] == baseline
    assert settings["l2"][0].endswith("ratio=0")
    assert [arm.settings[settings[name][0]]().regularizer for name, arm in tuned.items() if name != "none"] == [None] * len(settings)
    assert all(
        arm.settings[setting]().regularizer is not None for name, arm in tuned.items() if name != "none" for setting in settings[name][1:]
    )


def test_too_few_settings_for_a_sequential_search_are_refused_by_their_flag() -> None:
    module = imported(next(script for script in SCRIPTS if script.stem == "regularization"))
    with pytest.raises(ValueError, match="--settings 2: --search sequential proposes settings in 3 rounds"):
        module.study(settings=2, search="sequential")


@pytest.mark.parametrize("name", ["freezing", "regularization"])
def test_every_number_of_settings_and_tunings_can_be_drawn(name: str) -> None:
    """Learning rates that a name of three digits does not tell apart are among them."""
    module = imported(next(script for script in SCRIPTS if script.stem == name))
    for settings in (4, 8, 16):
        for tuned in module.study(settings=settings, tunings=20, seeds=20).tuned.values():
            assert len(tuned.settings) == settings


def test_penalties_and_schedules_cross() -> None:
    module = imported(next(script for script in SCRIPTS if script.stem == "freezing"))
    data = SegmentationDataModule(Shapes(num_train=8, num_val=2, num_test=2, image_size=32), batch_size=4, num_workers=0)
    settings = {"data": data, "encoder": TINY, "weights": encoder_weights()}
    crossed = module.study(**settings, penalties=["none", "l2", "l2-sp"], arms=["full", "frozen", "l2-sp"])
    assert crossed.factors == ("penalty", "schedule")
    assert list(crossed.arms) == [f"{penalty}+{schedule}" for penalty in ("none", "l2", "l2-sp") for schedule in ("full", "frozen")]
    built = {name: arm() for name, arm in crossed.arms.items()}
    assert [built[name].regularizer is None for name in crossed.arms] == [True, True, False, False, False, False]
    assert type(built["l2+frozen"].freeze_schedule).__name__ == "FrozenEncoder"
    with pytest.raises(ValueError, match=r"--arms: there is no 'frozn'; there are full, scratch"):
        module.study(**settings, arms=["full", "frozn"])
    with pytest.raises(ValueError, match=r"--penalties \['l2'\]: expected each name once, and 'none' among them"):
        module.study(**settings, penalties=["l2"])
