"""Run the recipes under docs/, and parse the commands of the README and of the pages, so that they stay true."""

import dataclasses
import importlib.util
import math
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import seglab
from seglab.cli import _parser
from seglab.data import SegmentationDataModule, Shapes
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import description, unet
from seglab.records import Result, StudyRecord
from seglab.script.command_line import parse
from seglab.script.parser import parser_of
from seglab.stage import Progress, Stage
from seglab.study.study import Study
from tests.trainers import quiet_trainer

README = Path(__file__).parents[1] / "README.md"
ROOT = README.parent
RECIPES = ROOT / "docs" / "recipes"
PAGES = [README, *sorted(ROOT.glob("docs/**/*.md"))]
GENERATED = ROOT / "docs" / "reference" / "commands.md"
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
ENCODER = "tu-test_resnet"


def blocks(language: str = "python") -> list[str]:
    return [code for page in PAGES for code in re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)]


def commands(beginning: str) -> list[str]:
    """Return the command lines that match, without comments.

    A command is an indented line, or stands between backticks.
    """
    text = "\n".join(page.read_text() for page in PAGES)
    lines = re.findall(r"^    (\S.*)$", text, flags=re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
    return [line.partition(" #")[0] for line in lines if re.match(beginning, line)]


def demo() -> str:
    """Return the command of `make demo`."""
    (command,) = re.findall(r"^\t\$\(BIN\)/(python .* --name demo .*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    return str(command)


def own_classes() -> str:
    """Return the text of `my.py`: what a reader pastes who wants every class of the recipes."""
    return "\n\n".join((RECIPES / f"{name}.py").read_text() for name in ("loss", "penalty", "schedule", "source", "shift"))


def recipe(name: str) -> Any:
    """Import a recipe, as a reader's own module."""
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def write_cells(root: Path) -> None:
    """Write images and masks in the layout of the recipe for a data set."""
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        (root / split).mkdir(parents=True)
        for name in "abcd":
            Image.fromarray(generator.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(root / split / f"{name}.jpg")
            Image.fromarray(generator.choice(np.array([0, 1, 255], np.uint8), (32, 48))).save(root / split / f"{name}.png")


def steps(**settings: Any) -> SegmentationModule:
    torch.manual_seed(0)
    loss = settings.pop("loss", CrossEntropy())
    module = SegmentationModule(unet(ENCODER, 4), loss, num_classes=4, **settings)
    data = SegmentationDataModule(Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=3), batch_size=4, num_workers=0)
    quiet_trainer(max_epochs=2).fit(module, datamodule=data)
    return module


def test_the_loss_is_the_mean_squared_error_of_valid_pixels() -> None:
    loss = recipe("loss").SquaredError()
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
    regularizer = recipe("penalty").Cauchy(1e-3, 0.5)
    weights = [torch.tensor([1.0, -2.0]), torch.tensor([[0.0]])]
    assert float(regularizer.penalty(weights)) == pytest.approx(1e-3 * (math.log(5) + math.log(17)))
    without = steps()
    for applied in (regularizer, seglab.Decoupled(regularizer), seglab.PerStage({"decoder": regularizer})):
        assert any(not torch.equal(a, b) for a, b in zip(steps(regularizer=applied).parameters(), without.parameters(), strict=True))


def test_the_schedule_trains_the_head_first() -> None:
    schedule = recipe("schedule").HeadFirst()
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


def test_the_data_set_trains(tmp_path: Path) -> None:
    write_cells(tmp_path)
    data = SegmentationDataModule(recipe("source").Cells(tmp_path), batch_size=2, num_workers=0)
    assert data.check().sizes.startswith("images of 32×48 are trained at their own size")
    batch = next(iter(data.train_dataloader()))
    assert (batch.image.shape, batch.image.dtype, batch.mask.shape) == ((2, 3, 32, 48), torch.uint8, (2, 32, 48))
    assert batch.mask.unique().tolist() == [0, 1, 255]
    quiet_trainer(max_epochs=1).fit(SegmentationModule(unet(ENCODER, 2), CrossEntropy(), num_classes=2), datamodule=data)


def test_the_corruption_brightens_towards_white() -> None:
    image = np.linspace(0, 1, 27, dtype=np.float32).reshape(3, 3, 3)
    found = recipe("shift").Fog(4).apply(image, np.random.default_rng(0))
    assert found == pytest.approx(0.4 * image + 0.6)


def test_the_experiment_is_a_study_of_three_arms() -> None:
    study = recipe("experiment").study(data=SegmentationDataModule(Shapes()))
    assert isinstance(study, Study)
    assert list(study.arms) == ["none", "1e-4", "1e-3"]
    assert study.factory("1e-3")().regularizer == seglab.L2(1e-3)
    assert len((RECIPES / "experiment.py").read_text().splitlines()) <= 20


@pytest.mark.slow
def test_the_experiment_runs(tmp_path: Path) -> None:
    small = ["--data.source.num_train", "8", "--data.source.num_val", "2", "--data.source.num_test", "2", "--data.source.image_size", "32"]
    words = [str(RECIPES / "experiment.py"), "run", "--encoder", ENCODER, "--epochs", "1", "--seeds", "1", "--accelerator", "cpu", *small]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "images of 32×32 are trained at their own size" in done.stdout
    assert len(list((tmp_path / "runs" / "l2").glob("*/seed-0/result.json"))) == 3


def test_a_network_with_options_is_one() -> None:
    net = recipe("network").net
    assert description(net)["config"]["decoder_attention_type"] == "scse"


def test_a_network_is_trained_in_python_and_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both recipes run as they are, one after the other."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(RECIPES / "training.py"), run_name="__main__")
    capsys.readouterr()
    runpy.run_path(str(RECIPES / "loading.py"), run_name="__main__")
    parts = re.findall(r"^(\w+): ([\d.]+)% of the pixels$", capsys.readouterr().out, flags=re.MULTILINE)
    assert {name for name, _ in parts} <= set(Shapes().class_names)
    assert sum(float(part) for _, part in parts) == pytest.approx(100, abs=1)


@pytest.mark.parametrize(("name", "module"), [("torch_dataset", "my"), ("table", "table")])
def test_the_flags_in_a_recipe_read_its_data(name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "table":
        pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my", raising=False)
    (tmp_path / f"{module}.py").write_text((RECIPES / f"{name}.py").read_text())
    namespace = runpy.run_path(f"{module}.py")
    words = namespace["__doc__"].partition("The flags that read it: ")[2].split()
    found = parse(parser_of(recipe("experiment").study), ["run", *words])
    data = parser_of(recipe("experiment").study).instantiate(found).run.data
    sys.modules.pop(module, None)  # other tests have a file of this name
    assert data.class_names == ("background", "square")
    data.check()


def test_the_optimizer_is_one() -> None:
    (code,) = [text for text in blocks() if "optimizer=AdamW(lr=1e-3))" in text and "Trainer" not in text]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/howto/own_classes.md", "exec"), names)
    module = names["module"]
    found = module.optimizer(module.parameters())
    assert isinstance(found, torch.optim.AdamW)
    assert found.defaults["lr"] == 1e-3


def test_every_block_of_code_is_a_recipe_or_runs_by_itself() -> None:
    """A block that is no file of docs/recipes runs by itself, and defines something. Each file is shown by a page."""
    files = {path.name: path.read_text() for path in RECIPES.glob("*.py")}
    shown = blocks()
    assert [name for name, text in files.items() if text not in shown] == []
    alone = [code for code in shown if code not in files.values()]
    assert alone
    for code in alone:
        names: dict[str, object] = {"__name__": "page"}
        exec(compile(code, "a page under docs/", "exec"), names)
        assert set(names) - {"__name__", "__builtins__"}, code


@PAGE
def test_files_that_are_named_exist(page: Path) -> None:
    for path in set(re.findall(r"(?:experiments|notebooks|tests|seglab|docs)/[\w/]+\.(?:py|ipynb)", page.read_text())):
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


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120
    pages = {str(page.relative_to(ROOT)) for page in PAGES[1:]} - {"docs/index.md"}
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", README.read_text()))
    api = {page for page in pages if page.startswith("docs/reference/api/")}
    assert pages - api <= linked
    assert linked & api


def test_the_site_has_every_page() -> None:
    """The navigation lists each page once, in the order in which it is read."""
    listed = re.findall(r"[\w/]+\.md", (ROOT / "docs" / "site" / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES[1:])


def test_lines_of_prose_are_not_long() -> None:
    """At most 120 characters, except in tables, links, commands and generated text, which cannot be wrapped."""
    for page in PAGES:
        if page != GENERATED:
            prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL).splitlines()
            long = [line for line in prose if len(line) > 120 and not line.startswith(("|", "    ", "![")) and "](" not in line]
            assert not long, (page, long)


def test_messages_of_the_troubleshooting_are_those_of_seglab() -> None:
    """Each message is a text of the code, apart from what stands for … ."""
    source = " ".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in sorted((ROOT / "seglab").rglob("*.py")))
    rows = re.findall(r"^\| `([^`]+)`", (ROOT / "docs" / "howto" / "troubleshooting.md").read_text(), flags=re.MULTILINE)
    assert len(rows) >= 20
    for message in rows:
        for part in message.split("…"):
            assert part.strip(" ,") in source or message in OF_LIBRARIES, message


OF_LIBRARIES = {"Output size is too small", "out of memory"}
"""Messages of torch that the page explains."""


@pytest.mark.slow
def test_the_page_of_commands_is_the_help_of_today() -> None:
    """One of its sections is compared; `make docs` writes them all."""
    from docs.site.commands import section, sections

    title, words = sections()[0]
    assert section(title, words) in GENERATED.read_text(), "run `make docs`"


def test_the_files_of_a_study_are_explained() -> None:
    """Every field of result.json and of study.json is a row of its table."""
    page = (ROOT / "docs" / "reference" / "files.md").read_text()
    for record in (Result, StudyRecord):
        for field in dataclasses.fields(record):
            assert f"`{field.name}`" in page, field.name


def test_the_commands_of_experiments_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every flag, in a folder that holds the reader's own classes; what D stands for is not there."""
    (tmp_path / "my.py").write_text(own_classes())
    monkeypatch.syspath_prepend(tmp_path)
    found = [*commands(r"python experiments/\w+\.py (run|launch|status|cancel|compare)"), demo()]
    assert len(found) >= 21
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
    found = commands(r"seglab (compare|status|prune|download) ")
    assert len(found) >= 2
    for command in found:
        assert _parser().parse_args(shlex.split(command.partition(" | ")[0])[1:]).command in command


FITS = sorted(commands(r"seglab fit --config fit.yaml"), key=lambda command: "my.SquaredError" not in command)


@pytest.mark.parametrize("command", [FITS[0], *(pytest.param(command, marks=pytest.mark.slow) for command in FITS[1:])])
def test_the_training_without_a_script_is_configured(command: str, tmp_path: Path) -> None:
    """`--print_config` builds the configuration and trains nothing."""
    (configuration,) = [code for code in blocks("yaml") if code.startswith("# fit.yaml")]
    (tmp_path / "my.py").write_text(own_classes())
    (tmp_path / "fit.yaml").write_text(configuration)
    words = ["-c", "from seglab.cli import main; main()", *shlex.split(command)[1:], "--print_config"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    named = re.findall(r"--model\.(?:loss|scheduler|freeze|regularizer) (?:\S+\.)?(\w+)", command)
    assert named
    for name in ("my.Cauchy", "seglab.Shapes", *named):
        assert re.search(rf"class_path: (\S+\.)?{name.rpartition('.')[2]}\n", done.stdout), name


def test_the_demo_has_enough_seeds_for_a_verdict() -> None:
    """The smallest p of the sign-flip test, times the number of contrasts (Holm), is below 0.05.

    The announced number of runs is that of the demo.
    """
    given = dict(re.findall(r"--(\S+) (\S+)", demo()))
    arms, seeds = len(given["losses"].split(",")), int(given["seeds"])
    assert (arms - 1) * 2 ** (1 - seeds) < 0.05
    assert f'@echo "{arms * seeds} short trainings:' in (ROOT / "Makefile").read_text()


def test_the_targets_of_make_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    found = commands(r"make [a-z-]+")
    assert {"demo", "test", "test-all"} <= {word for command in found for word in command.split()[1:]} <= targets
