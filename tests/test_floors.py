"""The house's floors: imports point down only, and reading results never meets torch.

Imports are read from the source, those inside functions and under TYPE_CHECKING too: a room that writes another's name
in an annotation knows of it. Public names that are imported from the facade `seglab` count as imports from where its
stub says they are defined.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import seglab

ROOT = Path(seglab.__file__).parents[1]
FLOORS = {
    0: (
        "files",
        "exit_codes",
        "garbage",
        "given",
        "memory",
        "processors",
        "suggestions",
        "transaction_log",
        "wandb_names",
        "wandb_variables",
    ),
    1: ("sample", "stage", "windows", "resizing", "interruption", "records"),
    2: ("data", "losses", "metrics", "networks", "pruning", "regularizers", "freezing", "optimizers", "schedulers", "compare"),
    3: ("module", "evaluation", "callbacks", "tracking", "checkpoints"),
    4: ("study", "cluster"),
    5: ("running",),
    6: ("script", "download", "checking", "prediction", "dashboard", "fitting", "fit", "cli"),
    7: ("experiments",),
}
APART = (0, 1, 2, 4)
"""Floors whose rooms do not know each other."""
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
WITHOUT_TORCH = (
    "seglab",
    "seglab.records",
    "seglab.cli",
    "seglab.compare",
    "seglab.dashboard.local",
    "seglab.dashboard.notices",
    "seglab.download.main",
    "seglab.running.status",
    "seglab.running.ledger",
    "seglab.script.reading",
    "seglab.wandb_variables",
    "seglab.script.errors",
    "seglab.script.classes",
    "seglab.script.flag_types",
)
HEAVY = {
    "torch",
    "lightning",
    "torchvision",
    "torchmetrics",
    "segmentation_models_pytorch",
    "timm",
    "albumentations",
    "wandb",
    "jsonargparse",
}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """All modules of seglab and all experiments, by their import paths."""
    found = {}
    for path in [*root.glob("seglab/**/*.py"), *root.glob("experiments/*.py")]:
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    """`seglab.script.main` → `script`; the facade itself is in no room."""
    parts = module.split(".")
    return parts[0] if parts[0] == "experiments" else parts[1] if len(parts) > 1 else ""


def homes() -> dict[str, str]:
    """Return the module in which the facade's stub defines each public name."""
    stub = Path(seglab.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    imports = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"seglab.{node.module}" for node in imports for alias in node.names}


HOMES = homes()


def imported(tree: ast.AST, module: str) -> Iterator[str]:
    """The modules that the import statements in `tree` name; what `seglab` passes on is traced to its home."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: a relative import"
            assert node.module is not None
            if node.module == "seglab":
                yield from (HOMES.get(alias.name, f"seglab.{alias.name}") for alias in node.names)
            else:
                yield from (
                    f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module for alias in node.names
                )


def faults(module: str, source: str) -> list[str]:
    """The imports of `module` that point up, or across on a floor whose rooms do not know each other."""
    here = room(module)
    found = []
    for target in imported(ast.parse(source), module):
        there = room(target)
        if target.partition(".")[0] not in ("seglab", "experiments") or there in ("", "__version__", here):
            continue
        if FLOOR[there] > FLOOR[here] or (FLOOR[there] == FLOOR[here] and FLOOR[here] in APART):
            found.append(f"{module} (floor {FLOOR[here]}) imports {target} (floor {FLOOR[there]})")
    return found


def test_every_room_has_a_floor() -> None:
    assert len(MODULES) > 50
    assert {room(module) for module in MODULES} - {""} == set(FLOOR)


def test_the_page_on_the_architecture_shows_the_rooms_of_each_floor() -> None:
    page = (ROOT / "docs" / "inside" / "architecture.md").read_text(encoding="utf-8")
    shown = {
        int(floor): set(re.findall(r"`(\w+)(?:\.py)?`", rooms)) for floor, rooms in re.findall(r"^\| (\d) \| (.*?) \|", page, re.MULTILINE)
    }
    assert shown == {floor: set(rooms) for floor, rooms in FLOORS.items() if "experiments" not in rooms}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"seglab"}))
def test_imports_point_down(module: str) -> None:
    assert faults(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("seglab.losses.new", "from seglab.module import SegmentationModule"),
        ("seglab.losses.new", "from seglab import SegmentationModule"),
        ("seglab.losses.new", "from seglab.data import Shapes"),
        ("seglab.losses.new", "def f():\n    import seglab.script.main"),
        ("seglab.losses.new", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from seglab import Study"),
        ("seglab.records", "from seglab.sample import IGNORE"),
        ("seglab.callbacks.new", "from seglab.running import ledger"),
        ("seglab.running.new", "from seglab.cli import main"),
        ("seglab.study.new", "from seglab.cluster.slurm import Slurm"),
        ("seglab.study.new", "import seglab.fit"),
    ],
)
def test_a_fault_would_be_found(module: str, line: str) -> None:
    assert len(faults(module, line)) == 1


def at_import(module: str) -> set[str]:
    """Return what importing `module` imports, from its statements and from its packages' `__init__`.

    Statements in functions and under TYPE_CHECKING are left out.
    """
    body = ast.parse(MODULES[module].read_text(encoding="utf-8")).body
    found: set[str] = set()
    while body:
        node = body.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= set(imported(node, module))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            body += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    packages = {name.rpartition(".")[0] for name in found | {module} if "." in name}
    return found | packages


def reached(module: str) -> set[str]:
    """All that importing `module` imports in the end, as far as it is ours or is named by ours."""
    seen, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += at_import(name) if name in MODULES else []
    return seen


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith(WITHOUT_TORCH[3:]) or name in WITHOUT_TORCH))
def test_reading_meets_no_torch(module: str) -> None:
    assert {name.partition(".")[0] for name in reached(module)} & HEAVY == set()


def test_training_does_so_the_search_can_find_it() -> None:
    assert "torch" in {name.partition(".")[0] for name in reached("seglab.module")}
    assert "lightning" in {name.partition(".")[0] for name in reached("seglab.script.main")}
