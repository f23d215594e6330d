"""The README's code is run, so that it stays true."""

import importlib.util
import math
import re
import shlex
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seglab
from seglab.data import SegmentationDataModule, SegmentationDataset, Shapes
from seglab.losses import CrossEntropy, ratio_over_ranks
from seglab.module import SegmentationModule
from seglab.networks import unet
from seglab.regularizers import Regularizer
from seglab.script.parser import parser_of
from seglab.stage import Progress, Stage
from seglab.study.study import Study
from tests.trainers import quiet_trainer

README = Path(__file__).parents[1] / "README.md"
ENCODER = "tu-test_resnet"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def block(beginning: str) -> dict[str, Any]:
    """Run the block that defines `beginning`, with the names that a reader would import."""
    (code,) = [text for text in blocks() if beginning in text]
    module = types.ModuleType("readme_block")
    names = (
        dataclass,
        Sequence,
        Tensor,
        nn,
        torch,
        Regularizer,
        Stage,
        Progress,
        seglab.FreezeSchedule,
        SegmentationDataModule,
        SegmentationDataset,
        Path,
        ratio_over_ranks,
    )
    module.__dict__.update({getattr(thing, "__name__", "").rpartition(".")[2]: thing for thing in names})
    sys.modules["readme_block"] = module
    exec(compile(code, str(README), "exec"), module.__dict__)
    return module.__dict__


def steps(**settings: Any) -> SegmentationModule:
    torch.manual_seed(0)
    loss = settings.pop("loss", CrossEntropy())
    module = SegmentationModule(unet(ENCODER, 4), loss, num_classes=4, **settings)
    data = Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=3, batch_size=4, num_workers=0)
    quiet_trainer(max_epochs=2).fit(module, datamodule=data)
    return module


def test_the_loss_is_the_mean_squared_error_of_valid_pixels() -> None:
    loss = block("class SquaredError")["SquaredError"]()
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    mask = torch.randint(0, 3, (2, 4, 4))
    mask[0, 0] = 255
    probabilities = logits.softmax(1).detach().numpy()
    expected = [
        sum((probabilities[n, c, y, x] - float(c == int(mask[n, y, x]))) ** 2 for c in range(3))
        for n in range(2)
        for y in range(4)
        for x in range(4)
        if mask[n, y, x] != 255
    ]
    assert float(loss(logits, mask).detach()) == pytest.approx(float(sum(expected)) / len(expected), rel=1e-5)
    steps(loss=loss)


def test_the_regularizer_trains_by_its_autograd_gradient() -> None:
    regularizer = block("class Cauchy")["Cauchy"](1e-3, 0.5)
    weights = [torch.tensor([1.0, -2.0]), torch.tensor([[0.0]])]
    assert float(regularizer.penalty(weights)) == pytest.approx(1e-3 * (math.log(5) + math.log(17)))
    without = steps()
    for applied in (regularizer, seglab.Decoupled(regularizer), seglab.PerStage({"decoder": regularizer})):
        assert any(not torch.equal(a, b) for a, b in zip(steps(regularizer=applied).parameters(), without.parameters(), strict=True))


def test_the_schedule_trains_the_head_first() -> None:
    schedule = block("class HeadFirst")["HeadFirst"]()
    head, encoder = Stage("head", 6, 0, "head"), Stage("encoder.0", 0, 6, "encoder")
    assert [
        schedule.lr_scale(stage, Progress(round(100 * fraction), 100, 100)) for stage in (head, encoder) for fraction in (0.0, 0.5)
    ] == [
        1.0,
        1.0,
        0.0,
        1.0,
    ]
    steps(freeze=schedule)


def test_the_data_set_gives_batches(tmp_path: Path) -> None:
    names = block("class Cells")

    class CellImages:
        class_names = ("background", "cell")
        num_classes = 2

        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> seglab.Sample:
            return seglab.Sample(
                torch.zeros(3, 16, 16, dtype=torch.uint8), torch.zeros(16, 16, dtype=torch.uint8), f"{self.folder.name}-{index}"
            )

    names["CellImages"] = CellImages
    batch = next(iter(names["Cells"](str(tmp_path)).train_dataloader()))
    assert batch.image.shape == (8, 3, 16, 16)
    assert sorted(batch.name) == [f"train-{index}" for index in range(8)]


def test_the_experiment_is_a_study_of_three_arms() -> None:
    study = block("def study(")["study"](data=Shapes())
    assert isinstance(study, Study)
    assert list(study.arms) == ["none", "1e-4", "1e-3"]
    assert study.factory("1e-3")().regularizer == seglab.L2(1e-3)
    (code,) = [text for text in blocks() if "def study(" in text]
    assert len(code.strip().splitlines()) <= 15


def test_the_commands_name_files_and_flags_that_exist() -> None:
    text = README.read_text()
    for path in set(re.findall(r"(?:experiments|notebooks|tests|seglab)/[\w/]+\.(?:py|ipynb)", text)):
        assert (README.parent / path).exists(), path


def test_the_commands_of_experiments_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every flag, in a folder that holds the reader's own loss; what D stands for is not there."""
    (tmp_path / "my.py").write_text(
        "from torch import Tensor, nn\nfrom seglab.losses import ratio_over_ranks\n\n"
        + next(text for text in blocks() if "class SquaredError" in text)
    )
    monkeypatch.syspath_prepend(tmp_path)
    lines = re.findall(r"python (experiments/\w+\.py) (run|status|compare)(.*)", README.read_text())
    assert len(lines) >= 6
    for script, verb, rest in lines:
        words = shlex.split(rest.partition("#")[0])
        spec = importlib.util.spec_from_file_location("readme_script", README.parent / script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["readme_script"] = module
        spec.loader.exec_module(module)
        chosen = parser_of(module.study).parse_args([verb, *words])
        assert chosen.command == verb
