"""The user's code counts by its text and by what it names; what is not of it, and what changes no number, does not."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seglab.study.names import is_own, public_name
from tests.study.described import plain, sources

LOSSES = '''
"""Losses of mine."""

import functools
from dataclasses import dataclass

import torch
from torch import nn

import helpers
from helpers import halved, SHARP
from pack.deep import Base

BETA = 0.5
TABLE = {"a": halved}
UNUSED = 1.0


def squared(x):
    return x * x


def cubed(x):
    """Not used by Mine."""
    return x * x * x


def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


class Mine(Base):
    """A loss."""

    def __init__(self, weight=BETA):
        super().__init__()
        self.weight = weight

    @torch.no_grad()
    def measured(self, x):
        return helpers.doubled(x)

    @property
    def sharp(self):
        return SHARP

    @decorated
    def through(self, x):
        return x

    def forward(self, logits, mask):
        # a comment
        from helpers import late

        beta = 1.0
        return late(TABLE["a"](squared(logits))).mean() * beta


class Other(nn.Module):
    """Another arm of the same script."""

    def forward(self, logits, mask):
        return cubed(logits).mean()


@dataclass(frozen=True)
class Settings:
    strength: float = 1.0

    def value(self):
        return squared(self.strength)


def scaled(factor):
    return lambda x: squared(x) * factor


pair = [lambda x: x + 1, lambda x: x + 2]
'''
HELPERS = """
SHARP = 2.0


def halved(x):
    return x / 2


def doubled(x):
    return x * 2


def late(x):
    return _inner(x)


def _inner(x):
    return x


def unused(x):
    return x
"""
DEEP = """
from torch import nn

from .deeper import origin


class Base(nn.Module):
    def extra(self):
        return origin()
"""
DEEPER = """
def origin():
    return 0
"""
FILES = {"my_losses.py": LOSSES, "helpers.py": HELPERS, "pack/__init__.py": "", "pack/deep.py": DEEP, "pack/deeper.py": DEEPER}
MODULES = ("my_losses", "helpers", "pack", "pack.deep", "pack.deeper")

Write = Callable[..., dict[str, str]]


@pytest.fixture
def sources_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the files into a new folder, one of them edited, imports them, and gives the sources of a definition."""
    places = iter(range(100))

    def write(name: str = "Mine", file: str = "my_losses.py", old: str = "", new: str = "") -> dict[str, str]:
        place = tmp_path / str(next(places))
        assert old in FILES[file]
        for path, text in FILES.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text.replace(old, new) if old and path == file else text)
        for module in MODULES:
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(str(place))
        thing: Any = importlib.import_module("my_losses")
        for part in name.split("."):
            thing = getattr(thing, part)
        return sources(thing)

    return write


def test_what_a_definition_depends_on(sources_of: Write) -> None:
    assert set(sources_of()) == {
        *(f"my_losses.{name}" for name in ("Mine", "squared", "BETA", "TABLE", "decorated", "Mine.measured", "Mine.through")),
        *(f"helpers.{name}" for name in ("SHARP", "halved", "doubled", "late", "_inner")),
        *("deep.Base", "deeper.origin"),
    }
    assert set(sources_of("Other")) == {"my_losses.Other", "my_losses.cubed"}
    assert set(sources_of("Settings")) == {"my_losses.Settings", "my_losses.squared"}


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("my_losses.py", "* beta", "* beta * 2", "my_losses.Mine"),
        ("my_losses.py", "self.weight = weight", "self.weight = 2 * weight", "my_losses.Mine"),
        ("my_losses.py", "return x * x\n", "return x * x * 2\n", "my_losses.squared"),
        ("my_losses.py", "BETA = 0.5", "BETA = 0.25", "my_losses.BETA"),
        ("my_losses.py", '{"a": halved}', '{"a": halved, "b": halved}', "my_losses.TABLE"),
        ("my_losses.py", "return function(*arguments)", "return 2 * function(*arguments)", "my_losses.decorated"),
        ("my_losses.py", "return SHARP", "return 2 * SHARP", "my_losses.Mine"),
        ("helpers.py", "SHARP = 2.0", "SHARP = 3.0", "helpers.SHARP"),
        ("helpers.py", "return x / 2", "return x / 3", "helpers.halved"),
        ("helpers.py", "return x * 2", "return x * 3", "helpers.doubled"),
        ("helpers.py", "def _inner(x):\n    return x", "def _inner(x):\n    return 2 * x", "helpers._inner"),
        ("pack/deep.py", "return origin()", "return 2 * origin()", "deep.Base"),
        ("pack/deeper.py", "return 0", "return 1", "deeper.origin"),
    ],
)
def test_an_edit_is_noticed_where_it_is(sources_of: Write, file: str, old: str, new: str, changed: str) -> None:
    before, after = sources_of(), sources_of("Mine", file, old, new)
    assert before.keys() == after.keys()
    assert changed in {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("my_losses.py", "# a comment", "# another comment"),
        ("my_losses.py", '"""A loss."""', '"""What I use as a loss."""'),
        ("my_losses.py", '"""Losses of mine."""', "# none"),
        ("my_losses.py", "return x * x\n", "return (\n        x  *  x\n    )\n"),
        ("my_losses.py", "UNUSED = 1.0", "UNUSED = 2.0"),
        ("my_losses.py", "return x * x * x", "return x * x * x * x"),
        ("my_losses.py", "return cubed(logits).mean()", "return cubed(logits).sum()"),
        ("helpers.py", "def unused(x):\n    return x", "def unused(x):\n    return 2 * x"),
    ],
)
def test_what_changes_no_number_of_it_is_not(sources_of: Write, file: str, old: str, new: str) -> None:
    assert sources_of() == sources_of("Mine", file, old, new)


def test_a_local_variable_is_not_the_global_of_its_name(sources_of: Write) -> None:
    text = ("def squared(x):\n    return x * x", "def squared(x):\n    cubed = x * x\n    return cubed")
    assert "my_losses.cubed" not in sources_of("squared", "my_losses.py", *text)


def test_two_lambdas_of_one_line_are_told_apart(sources_of: Write) -> None:
    sources_of()
    one, other = sys.modules["my_losses"].pair
    assert plain(one) != plain(other)
    assert plain(one) == plain(one)


def test_what_a_function_captures_counts(sources_of: Write) -> None:
    sources_of()
    scaled = sys.modules["my_losses"].scaled
    assert plain(scaled(1.0)) != plain(scaled(2.0))
    assert plain(scaled(1.0)) == plain(scaled(1.0))
    assert "my_losses.squared" in plain(scaled(1.0))["code"]


def test_a_script_and_the_module_it_is_imported_as_have_the_same_names(sources_of: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    sources_of()
    module = sys.modules["my_losses"]
    before = public_name(module.Mine), sources(module.Mine)
    monkeypatch.setitem(sys.modules, "__main__", module)
    for thing in (module.Mine, module.squared, module.decorated):
        monkeypatch.setattr(thing, "__module__", "__main__")
    for function in vars(module.Mine).values():
        if hasattr(function, "__module__") and not isinstance(function, type):
            monkeypatch.setattr(function, "__module__", "__main__")
    assert public_name(module.Mine) == before[0]
    assert sources(module.Mine)["my_losses.Mine"] == before[1]["my_losses.Mine"]


def test_installed_packages_python_and_seglab_are_not_the_users() -> None:
    import functools
    import json

    import scipy.stats
    import torch

    import seglab

    for thing in (torch.nn.Conv2d, torch.relu, json.dumps, functools.reduce, scipy.stats.norm.__class__, seglab.L2, seglab.unet, len, int):
        assert not is_own(thing), thing
        assert sources(thing) == {}


def test_public_names() -> None:
    from timm.layers.norm_act import BatchNormAct2d
    from torch.nn.modules.conv import Conv2d
    from torch.optim.adamw import AdamW

    from seglab.regularizers.group_lasso import GroupLasso

    found = [public_name(thing) for thing in (GroupLasso, Conv2d, BatchNormAct2d, AdamW, int, GroupLasso.penalty)]
    assert found == [
        "seglab.GroupLasso",
        "torch.nn.Conv2d",
        "timm.layers.BatchNormAct2d",
        "torch.optim.AdamW",
        "int",
        "seglab.GroupLasso.penalty",
    ]


def test_names_inside_seglab_are_told_apart() -> None:
    """They carry no file, so that files can move: two classes whose objects are settings may not share a name."""
    import ast

    import seglab

    found: dict[str, list[str]] = {}
    for room in ("data/sources", "losses", "regularizers", "freezing", "networks", "metrics"):
        for path in (Path(seglab.__file__).parent / room).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append(path.name)
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


HELD = """
import enum
import functools
import logging
from dataclasses import dataclass

import torch
from torch import nn

from one import utils
from other.utils import scaled as also
from values import *

try:
    from values import LATER
except ImportError:
    LATER = 0

WEIGHT = torch.ones(2)
WEIGHT[1] = 0.5
REGISTRY = {}


class Mode(enum.Enum):
    FIRST = 1
    SECOND = 2


@functools.lru_cache
def cached(x):
    return x * 11


@functools.singledispatch
def chosen(x):
    return x


@chosen.register
def _(x: int):
    return x * 12


def registered(function):
    REGISTRY[function.__name__] = function
    return function


@registered
def listed(x):
    return x * 13


def times(factor):
    return lambda x: x * factor


def after(function):
    return lambda x: function(x)


doubled = times(2.0)


class Slotted:
    __slots__ = ("k",)

    def __init__(self, value):
        self.k = value


@dataclass
class Fields:
    a: float = 1.0


class Held(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = [Mode.FIRST, Slotted(14), after(times(15)), Fields()]
        self.functions = [lambda x: x * 16, lambda x: x * 17]
        self.both = [utils.scaled, also]
        self.keyed = {Mode: {times, after}}
        self.table = {"a": self.forward}
        self.log = logging.getLogger(__name__)
        self.register_buffer("mask", torch.tensor([float("-inf"), 1.0]))

    def forward(self, logits, mask):
        from values import LOCAL

        return cached(chosen(doubled(REGISTRY["listed"](logits * WEIGHT * STAR * LATER * LOCAL))))
"""
HELD_FILES = {
    "held.py": HELD,
    "values.py": "STAR = 18\nLATER = 19\nLOCAL = 20\n",
    "one/__init__.py": "",
    "one/utils.py": "def scaled(x):\n    return x * 21\n",
    "other/__init__.py": "",
    "other/utils.py": "def scaled(x):\n    return x * 22\n",
}


def held(place: Path, monkeypatch: pytest.MonkeyPatch, file: str = "held.py", old: str = "", new: str = "") -> Any:
    for path, text in HELD_FILES.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text.replace(old, new) if old and path == file else text)
    for module in ("held", "values", "one", "one.utils", "other", "other.utils"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(str(place))
    return plain(importlib.import_module("held").Held())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        *(("held.py", str(number), str(number + 100)) for number in range(11, 18)),
        *(("values.py", str(number), str(number + 100)) for number in (18, 19, 20)),
        ("one/utils.py", "21", "121"),
        ("other/utils.py", "22", "122"),
        ("held.py", "Mode.FIRST, ", "Mode.SECOND, "),
        ("held.py", "WEIGHT[1] = 0.5", "WEIGHT[1] = 0.25"),
        ("held.py", "times(2.0)", "times(3.0)"),
        ("held.py", "lambda x: x * 16, lambda x: x * 17", "lambda x: x * 17, lambda x: x * 16"),
    ],
)
def test_what_is_held_in_objects_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str) -> None:
    assert old in HELD_FILES[file]
    first, again = (held(tmp_path / name, monkeypatch) for name in ("first", "again"))
    assert first == again
    assert "0x" not in str(first)
    assert first != held(tmp_path / "edited", monkeypatch, file, old, new)


@pytest.mark.slow
def test_a_script_and_an_imported_module_describe_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = held(tmp_path, monkeypatch)
    script = HELD + "\nimport json\nfrom tests.study.described import plain\nprint(json.dumps(plain(Held())))\n"
    (tmp_path / "held.py").write_text(script)
    done = subprocess.run([sys.executable, "held.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == imported
