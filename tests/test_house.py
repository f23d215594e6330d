"""House rules that can be read from the source: few parameters, and docstrings that begin with a verb or a noun."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.test_floors import MODULES, ROOT

MOST = 5


def long_signatures(source: str) -> Iterator[str]:
    """Names of functions with more than five parameters, `self` aside.

    Constructors and overrides of a library's methods may have more.
    """
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


BEGINNINGS = {"What", "Whether", "Of", "Those", "Which", "That", "Whose", "How", "Where", "When", "Who", "Why"}
"""First words with which no docstring begins: they lean on a noun that is elsewhere. A question may."""

WIDEST = 120
"""Characters in a line of prose, its indentation included."""

FOLDERS = ["seglab", "experiments", "tests", "docs"]


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield each docstring, those of attributes and constants included: the number of its first line, and its text as
    in the source.
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        for statement in getattr(node, "body", None) or [] if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
                yield statement.lineno, "\n".join(lines[statement.lineno - 1 : statement.end_lineno])


def wide_prose(source: str) -> Iterator[int]:
    """Yield the number of each line of a docstring or a comment that is too wide.

    Examples, commands and rows of a table are no prose.
    """
    for first, text in docstrings(source):
        example = False
        for number, line in enumerate(text.splitlines(), first):
            example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
            if len(line) > WIDEST and not example and not re.match(r"\s*(\| |python |seglab )", line):
                yield number
    for number, line in enumerate(source.splitlines(), 1):
        if len(line) > WIDEST and line.lstrip().startswith("# "):
            yield number


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_begin_with_a_verb_or_a_noun(folder: str) -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).rglob("*.py"))}
    first = [f"{path}:{place}: {text.strip()[3:]}" for path, source in sources.items() for place, text in docstrings(source)]
    assert first
    assert [line for line in first if line.split(": ", 1)[1].split()[0].strip(".,:") in BEGINNINGS and "?" not in line] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_prose_is_not_wide(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert [f"{path}:{line}" for path in paths for line in wide_prose(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("source", "wide"),
    [
        ('"""{}"""', True),
        ('"""{}"""'.replace("{}", "y" * 114), False),
        ('"""First.\n\n{}\n"""', True),
        ('"""First.\n\n>>> f()\n{}\n"""', False),
        ('"""First.\n\n    python {}\n"""', False),
        ('LIMIT = 1\n"""{}"""', True),
        ("# {}", True),
        ("text = '{}'", False),
    ],
)
def test_wide_prose_would_be_found(source: str, wide: bool) -> None:
    assert bool(list(wide_prose(source.replace("{}", "x" * 121)))) == wide
