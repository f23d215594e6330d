"""House rules that can be read from the source: few parameters, and docstrings that begin with a verb or a noun."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_floors import MODULES, ROOT

MOST = 5


def long_signatures(source: str) -> Iterator[str]:
    """Names of functions with more than five parameters, `self` aside. Constructors and overrides of a library's methods may have more."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name == "__init__":
            continue
        if any(ast.unparse(decorator) == "override" for decorator in node.decorator_list):
            continue
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if len([name for name in names if name not in ("self", "cls")]) > MOST:
            yield node.name


@pytest.mark.parametrize("module", sorted(name for name in MODULES if not name.startswith("experiments")))
def test_no_function_takes_more_than_five_parameters(module: str) -> None:
    assert list(long_signatures(MODULES[module].read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "long"),
    [
        ("def f(a, b, c, d, e): ...", False),
        ("def f(a, b, c, d, e, f): ...", True),
        ("def f(a, b, c, /, d, *, e, f): ...", True),
        ("class C:\n    def f(self, a, b, c, d, e): ...", False),
        ("class C:\n    async def f(self, a, b, c, d, e, f): ...", True),
        ("class C:\n    def __init__(self, a, b, c, d, e, f): ...", False),
        ("class C:\n    @override\n    def f(self, a, b, c, d, e, f): ...", False),
        ("def f():\n    def inner(a, b, c, d, e, f): ...", True),
    ],
)
def test_a_long_signature_would_be_found(source: str, long: bool) -> None:
    assert bool(list(long_signatures(source))) == long


BEGINNINGS = {"What", "Whether", "Of", "Those", "Which", "That"}
"""First words with which no docstring of a function, class or module begins: they lean on a noun that is elsewhere. A question may."""


def first_lines(path: Path) -> Iterator[str]:
    """Yield the first line of each docstring of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node)
            if text:
                yield text.splitlines()[0]


@pytest.mark.parametrize("folder", ["seglab", "experiments", "tests"])
def test_docstrings_begin_with_a_verb_or_a_noun(folder: str) -> None:
    found = [line for path in sorted((ROOT / folder).rglob("*.py")) for line in first_lines(path)]
    assert found
    assert [line for line in found if line.split()[0].strip(".,:") in BEGINNINGS and not re.match(r".*\?", line)] == []
