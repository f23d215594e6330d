"""Run the code and parse the commands of the README and of the pages under docs/, so that they stay true."""

import importlib.util
import math
import re
import shlex
import subprocess
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
from seglab.cli import _parser
from seglab.data import SegmentationDataModule, SegmentationDataset, SegmentationSource, Shapes, Split
from seglab.losses import CrossEntropy, ratio_over_ranks
from seglab.module import SegmentationModule
from seglab.networks import unet
from seglab.regularizers import Regularizer
from seglab.script.parser import parser_of
from seglab.script.words import parse
from seglab.stage import Progress, Stage
from seglab.study.study import Study
from tests.trainers import quiet_trainer

README = Path(__file__).parents[1] / "README.md"
ROOT = README.parent
PAGES = [README, *sorted(ROOT.glob("docs/*.md"))]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
ENCODER = "tu-test_resnet"


def blocks(language: str = "python") -> list[str]:
    return [code for page in PAGES for code in re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)]


def commands(beginning: str) -> list[str]:
    """Return the lines of commands that match, without their comments; a command is an indented line, or stands between backticks."""
    text = "\n".join(page.read_text() for page in PAGES)
    lines = re.findall(r"^    (\S.*)$", text, flags=re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
    return [line.partition(" #")[0] for line in lines if re.match(beginning, line)]


def own_classes() -> str:
    """Return the text of `my.py`: every class that the README shows, and what the reader has of their own."""
    own = [code for code in blocks() if re.search(r"^class (SquaredError|Cauchy|HeadFirst|Cells)\(", code, flags=re.MULTILINE)]
    assert len(own) == 4
    imports = (
        "from collections.abc import Sequence",
        "from dataclasses import dataclass",
        "from pathlib import Path",
        "import torch",
        "from torch import Tensor, nn",
        "from seglab import FreezeSchedule, Progress, Regularizer, SegmentationDataset, SegmentationSource, Split, Stage",
        "from seglab.losses import ratio_over_ranks",
    )
    return "\n\n".join(["\n".join(imports), *own])


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
        SegmentationSource,
        Path,
        ratio_over_ranks,
    )
    module.__dict__.update({getattr(thing, "__name__", "").rpartition(".")[2]: thing for thing in names})
    module.__dict__["Split"] = Split
    sys.modules["readme_block"] = module
    exec(compile(code, str(README), "exec"), module.__dict__)
    return module.__dict__


def steps(**settings: Any) -> SegmentationModule:
    torch.manual_seed(0)
    loss = settings.pop("loss", CrossEntropy())
    module = SegmentationModule(unet(ENCODER, 4), loss, num_classes=4, **settings)
    data = SegmentationDataModule(Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=3), batch_size=4, num_workers=0)
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
    batch = next(iter(SegmentationDataModule(names["Cells"](tmp_path)).train_dataloader()))
    assert batch.image.shape == (8, 3, 16, 16)
    assert sorted(batch.name) == [f"train-{index}" for index in range(8)]


def test_the_experiment_is_a_study_of_three_arms() -> None:
    study = block("def study(")["study"](data=SegmentationDataModule(Shapes()))
    assert isinstance(study, Study)
    assert list(study.arms) == ["none", "1e-4", "1e-3"]
    assert study.factory("1e-3")().regularizer == seglab.L2(1e-3)
    (code,) = [text for text in blocks() if "def study(" in text]
    assert len(code.strip().splitlines()) <= 15


def test_the_optimizer_is_one() -> None:
    module = block("optimizer=AdamW")["module"]
    found = module.optimizer(module.parameters())
    assert isinstance(found, torch.optim.AdamW)
    assert found.defaults["lr"] == 1e-3


def test_every_block_of_code_is_run_by_a_test() -> None:
    """Blocks that need other names have tests of their own. Each remaining block runs by itself, and defines something."""
    elsewhere = ("class SquaredError", "class Cauchy", "class HeadFirst", "class Cells", "def study(", "optimizer=AdamW")
    assert {beginning: sum(beginning in code for code in blocks()) for beginning in elsewhere} == dict.fromkeys(elsewhere, 1)
    alone = [code for code in blocks() if not any(beginning in code for beginning in elsewhere)]
    assert alone
    for code in alone:
        names: dict[str, object] = {"__name__": "page"}
        exec(compile(code, "a page under docs/", "exec"), names)
        assert set(names) - {"__name__", "__builtins__"}, code


@PAGE
def test_files_that_are_named_exist(page: Path) -> None:
    for path in set(re.findall(r"(?:experiments|notebooks|tests|seglab)/[\w/]+\.(?:py|ipynb)", page.read_text())):
        assert (ROOT / path).exists(), path


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@PAGE
def test_links_and_pictures_lead_to_what_is_there(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if not link.startswith("https://")]
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short_and_its_contents_list_its_sections() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 200
    assert max(map(len, lines)) <= 140
    sections = {line.removeprefix("## ") for line in lines if line.startswith("## ")} - {"Contents"}
    assert set(re.findall(r"^- \[(.*?)\]\(#", README.read_text(), flags=re.MULTILINE)) == sections
    for page in PAGES[1:]:
        assert f"](docs/{page.name}" in README.read_text(), f"the README has no link to {page.name}"


def test_the_commands_of_experiments_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every flag, in a folder that holds the reader's own classes; what D stands for is not there."""
    (tmp_path / "my.py").write_text(own_classes())
    monkeypatch.syspath_prepend(tmp_path)
    found = commands(r"python experiments/\w+\.py (run|launch|status|cancel|compare)")
    assert len(found) >= 20
    for command in found:
        _, script, verb, *words = shlex.split(command)
        spec = importlib.util.spec_from_file_location("readme_script", ROOT / script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["readme_script"] = module
        spec.loader.exec_module(module)
        chosen = parse(parser_of(module.study), [verb, *words])
        assert chosen.command == verb


def test_the_commands_of_seglab_parse() -> None:
    found = commands(r"seglab (compare|status|prune) ")
    assert len(found) >= 2
    for command in found:
        assert _parser().parse_args(shlex.split(command)[1:]).command in command


def test_the_training_without_a_script_is_configured(tmp_path: Path) -> None:
    """`--print_config` builds the configuration and trains nothing."""
    (configuration,) = [code for code in blocks("yaml") if code.startswith("# fit.yaml")]
    (tmp_path / "my.py").write_text(own_classes())
    (tmp_path / "fit.yaml").write_text(configuration)
    (command,) = commands(r"seglab fit --config")
    words = ["-c", "from seglab.cli import main; main()", *shlex.split(command)[1:], "--print_config"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("my.SquaredError", "my.Cauchy", "seglab.Shapes"):
        assert f"class_path: {name}" in done.stdout.replace("seglab.data.sources.shapes.", "seglab.")


def test_the_targets_of_make_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    found = commands(r"make [a-z-]+")
    assert {"demo", "test", "test-all"} <= {word for command in found for word in command.split()[1:]} <= targets
