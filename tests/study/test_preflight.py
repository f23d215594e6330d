"""Faults that would end every run of an arm are found before any writing, with one line of advice for each arm."""

import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from seglab import CrossEntropy, Sample, SegmentationDataModule, SegmentationModule, Shapes, network
from seglab.interruption import Interruption
from seglab.running.trial import TrialSettings, trial_images, try_training
from seglab.script.main import main
from seglab.stage import Progress
from tests.study import faulty_experiment
from tests.study.test_clusters import OWN


class Said(NamedTuple):
    """End of a command, and what it printed."""

    code: object
    out: str
    err: str


Here = Callable[..., Said]
COMMANDS = {
    "run": ("run", "--wandb", "disabled"),
    "run --dry_run": ("run", "--dry_run"),
    "launch": ("launch", "--launcher", "paper.Paper", "--accelerator", "cpu"),
    "launch --dry_run": ("launch", "--launcher", "paper.Paper", "--accelerator", "cpu", "--dry_run"),
}
STEP, EVALUATION = "training on 2 images of 3×32×32: ", "evaluating 1 image of 3×32×32: "
WHOLE = "training on 4 images of 3×32×32: "
IN_THE_SCRIPT = "faulty_experiment.py:"
ONE = ("--data.batch_size", "1")

FAULTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dict": ((), (STEP, "Given returns a dict of out, aux; expected logits (N,C,H,W) alone", "as in self.network(image)['out']")),
    "tuple": ((), (STEP, "Given returns a tuple of 2; expected logits", "as in self.network(image)[0]")),
    "none": ((), (STEP, "Given returns a NoneType; expected logits")),
    "vector": ((), (STEP, "Given returns a tensor of shape (2, 4); expected logits")),
    "half": ((), (STEP, "the network gives logits of 16×16 for images of 32×32: resize the logits in its forward")),
    "classes": ((), (STEP, "the network gives 6 logits per pixel for 4 classes: build it with num_classes=4")),
    "fewer": ((), ("the module has num_classes=3, and the data have 4 classes (background, disc, square, triangle): build",)),
    "more": ((), ("the module has num_classes=5, and the data have 4 classes",)),
    "objects": ((), ("a checkpoint would keep objects under 'mine' (datetime.datetime), and could not be loaded",)),
    "channels": ((), (STEP, "to have 4 channels, but got 3 channels instead; build the network with in_channels")),
    "smp channels": ((), ("the images have 3 channels of uint8, and the network takes 4: build it with in_channels=3",)),
    "mean": ((), ("mean has 2 values: give SegmentationModule mean and std of 3 values",)),
    "fixed": (("--data.crop", "16,16"), (EVALUATION, "The size of tensor a (32) must match", "--data.size and --data.crop")),
    "weights": ((), ("nowhere.pth",)),
    "pan": ((), (STEP, "Output size is too small; give images of a size that the network takes, by --data.size")),
    "deeplab": (ONE, ("training on 1 image of 3×32×32: ValueError: Expected more than 1 value", "--data.batch_size 2 or more")),
    "swin": ((), (STEP, "Input height (32) doesn't match model (224); give images of a size that the network takes")),
    "dpt": ((), (STEP, "Input height (32) doesn't match model (224); give images of a size that the network takes")),
    "nan": ((), (WHOLE, "the loss is nan; expected a finite number: correct the loss (`seglab check` tries it)")),
    "nan gradient": ((), (WHOLE, "weights are NaN or infinite after one step")),
    "raises": ((), (STEP, "KeyError: 'raises'", IN_THE_SCRIPT, "correct it there; the traceback is in ")),
    "pixels": ((), (STEP, "Value returns (2, 32, 32) torch.float32; expected a 0-dim floating tensor")),
    "constant": ((), (STEP, "does not require grad", "the loss depends on no parameter that trains")),
    "evaluation": ((), (EVALUATION, "KeyError: 'evaluation'", IN_THE_SCRIPT)),
    "penalty": ((), (STEP, "KeyError: 'penalty'", IN_THE_SCRIPT)),
    "nan penalty": ((), (WHOLE, "weights are NaN or infinite after one step", "the penalty or the optimizer")),
    "optimizer": ((), ("KeyError: 'optimizer'", IN_THE_SCRIPT, "in broken_optimizer")),
}
"""For each fault, flags that bring it out, and words of the line that tells it."""
LARGE = ("swin", "dpt")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """Run the script in an empty folder, in this process. Its temporary files go to another folder."""
    place, temporary = tmp_path / "here", tmp_path / "temporary"
    place.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    (tmp_path / "paper.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(sys, "argv", [str(Path(faulty_experiment.__file__)), *words])
        with pytest.raises(SystemExit) as ended:
            main(faulty_experiment.study)
        return Said(ended.value.code, *capfd.readouterr())

    yield run
    sys.modules.pop("paper", None)


@pytest.mark.parametrize("fault", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in FAULTS])
def test_an_arm_that_cannot_train_is_refused(here: Here, fault: str) -> None:
    flags, words = FAULTS[fault]
    said = here(*COMMANDS["run"], "--faults", fault, *flags)
    assert said.code == 2, said
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith(f"error: arm {fault.replace(' ', '-')}: ")
    for word in words:
        assert word in said.err
    assert list(Path().iterdir()) == [], "something was written"


@pytest.mark.parametrize("command", list(COMMANDS))
def test_all_arms_are_tried_and_each_failure_is_a_line(here: Here, command: str) -> None:
    said = here(*COMMANDS[command], "--faults", "dict,nan,smp channels")
    assert said.code == 2, said
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in lines] == ["arm smp-channels", "arm dict", "arm nan"]
    assert "arm dict" not in said.out
    assert list(Path().iterdir()) == [], "something was written"


@pytest.mark.parametrize("command", list(COMMANDS))
def test_weights_that_do_not_exist(here: Here, command: str) -> None:
    said = here(*COMMANDS[command], "--faults", "weights,optimizer")
    assert said.code == 2, said
    assert "arm weights: " in said.err
    assert "arm optimizer: KeyError" in said.err
    assert list(Path().iterdir()) == [], "something was written"


@pytest.mark.parametrize("command", ["run --dry_run", "launch --dry_run"])
@pytest.mark.parametrize("fault", ["many", "later"])
def test_arms_that_can_train_pass(here: Here, command: str, fault: str) -> None:
    """Also a loss that is finite on a whole batch, and a loss that fails in a later step."""
    said = here(*COMMANDS[command], "--faults", fault)
    assert said.code == 0, said
    assert "tried a step of 2 arms in " in said.err
    assert "tried" not in said.out
    assert list(Path().iterdir()) == [], "something was written"


def test_arms_that_fail_alike_share_a_line(here: Here) -> None:
    said = here(*COMMANDS["run"], "--faults", "raises,dict,also raises")
    assert said.code == 2
    assert [line.split(": ")[1] for line in said.err.splitlines()] == ["arms raises, also-raises", "arm dict"]


@pytest.mark.parametrize("command", ["run", "launch"])
def test_ctrl_c(here: Here, command: str) -> None:
    said = here(*COMMANDS[command], "--faults", "stop")
    assert said.code == 75, said
    assert said.err == "interrupted; the same command again goes on\n"
    assert list(Path().iterdir()) == [], "something was written"


def test_an_arm_that_needs_a_gpu_is_refused_only_on_a_cpu(here: Here) -> None:
    said = here(*COMMANDS["run"], "--faults", "gpu", "--accelerator", "cpu")
    assert said.code == 2, said
    assert "arm gpu: training on 2 images" in said.err
    said = here("run", "--dry_run", "--faults", "gpu")
    assert said.code == 0, said
    assert "not tried, as it needs a GPU: arm gpu: " in said.err


def test_the_batch_of_a_device_decides(here: Here) -> None:
    """One image on each of two devices: its norms see both, unless each device has its own statistics."""
    two = ("run", "--dry_run", "--faults", "deeplab", "--data.batch_size", "2", "--devices", "2", "--accelerator", "cpu")
    assert here(*two).code == 0
    said = here(*two, "--sync_batchnorm", "false")
    assert said.code == 2
    assert "arm deeplab: training on 1 image of 3×32×32: ValueError: Expected more than 1 value" in said.err


def test_it_can_be_left_out(here: Here) -> None:
    said = here("run", "--dry_run", "--faults", "dict", "--try_arms", "false")
    assert said.code == 0, said
    assert "tried" not in said.err


@pytest.mark.slow
def test_a_run_with_other_classes_than_the_data_fails_before_its_training(here: Here) -> None:
    """No result could hold its scores, so that a training would be lost."""
    said = here(*COMMANDS["run"], "--faults", "more", "--arm", "more", "--try_arms", "false")
    assert said.code == 1, said
    failure = json.loads(Path("runs/faulty/more/seed-0/failure.json").read_text())
    assert failure["error"].startswith("ValueError: the module has num_classes=5, and the data have 4 classes")
    assert not list(Path().rglob("metrics.csv"))


@pytest.mark.slow
def test_an_arm_is_tried_once(here: Here) -> None:
    """Arms that the folder holds have been tried; a new one is tried when it joins."""
    said = here(*COMMANDS["run"], "--faults", "draws")
    assert said.code == 0, said
    assert "tried a step of 2 arms in " in said.out
    shutil.rmtree("runs/faulty/draws")
    said = here(*COMMANDS["run"], "--faults", "draws")
    assert said.code == 0, said
    assert "tried" not in said.out
    said = here(*COMMANDS["run"], "--faults", "draws,dict", "--amend", "one more arm")
    assert said.code == 2
    assert "arm dict: " in said.err
    assert not Path("runs/faulty/dict").exists()
    assert "dict" not in Path("runs/faulty/study.json").read_text()


@pytest.mark.weekly
def test_no_number_depends_on_it(here: Here) -> None:
    weights = []
    for words in ("true", "false"):
        assert here(*COMMANDS["run"], "--faults", "draws", "--try_arms", words, "--root", words).code == 0
        paths = sorted(Path(words).rglob("last.ckpt"))
        weights.append([torch.load(path, weights_only=True)["state_dict"] for path in paths])
    assert len(weights[0]) == 2
    for one, other in zip(*weights, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def data_of(size: int) -> SegmentationDataModule:
    return SegmentationDataModule(Shapes(num_train=4, num_val=2, num_test=2, image_size=size), batch_size=4, num_workers=0)


def tried(architecture: str, encoder: str, size: int) -> None:
    data = data_of(size)

    def build() -> SegmentationModule:
        return SegmentationModule(
            network(architecture, encoder, num_classes=data.num_classes), CrossEntropy(), num_classes=data.num_classes
        )

    try_training(build, trial_images(data, 0), TrialSettings(Progress(0, 10, 1)), Interruption())


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("Unet", 20),
        ("UnetPlusPlus", 20),
        ("MAnet", 20),
        ("Linknet", 20),
        ("FPN", 20),
        ("PSPNet", 20),
        ("PAN", 128),
        ("DeepLabV3", 20),
        ("DeepLabV3Plus", 20),
        ("UPerNet", 20),
        ("Segformer", 20),
    ],
)
def test_every_architecture_passes(architecture: str, size: int) -> None:
    tried(architecture, "resnet18", size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "encoder", "size"),
    [("DPT", "tu-vit_tiny_patch16_224", 224), ("Unet", "tu-swin_tiny_patch4_window7_224", 224), ("Unet", "mit_b0", 100)],
)
def test_transformers_pass_at_their_size(architecture: str, encoder: str, size: int) -> None:
    tried(architecture, encoder, size)


def test_random_states_and_data_stay_as_they_are() -> None:
    """Draws after a trial are those without one, and no image is kept."""
    draws: list[tuple[float, float, float]] = []
    for tries in (False, True):
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        if tries:
            tried("Unet", "resnet18", 32)
        draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))  # noqa: NPY002
    assert draws[0] == draws[1]


def test_only_the_images_of_a_trial_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a source that is kept in memory, and with balanced images."""
    data = SegmentationDataModule(
        Shapes(num_train=40, num_val=20, num_test=2, image_size=16), batch_size=4, num_workers=0, cache=True, balanced_images=0.5
    )
    read: list[int] = []
    dataset: type[Any] = type(data.used("train"))
    original = dataset.__getitem__

    def counted(self: Any, index: int) -> Sample:
        read.append(index)
        sample: Sample = original(self, index)
        return sample

    monkeypatch.setattr(dataset, "__getitem__", counted)
    images = trial_images(data, 0)
    assert len(read) == 4 + 1
    assert len(images.train.name) == 4


def test_an_image_larger_than_a_window_is_cut() -> None:
    data = SegmentationDataModule(
        Shapes(num_train=4, num_val=2, num_test=2, image_size=64), batch_size=2, num_workers=0, crop=(16, 16), window=(32, 24)
    )
    val = trial_images(data, 0).val
    assert val is not None
    assert (val.image.shape, val.mask.shape) == ((1, 3, 32, 24), (1, 32, 24))
    assert (val.image_size.tolist(), val.mask_size.tolist()) == ([[32, 24]], [[32, 24]])
