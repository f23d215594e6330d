"""Find source code: syntax tree and text of a user's class or function, and a module's statements that define a name.

Each file is read once; later edits of the file are not seen by this process.
"""

import ast
import functools
import linecache
from collections.abc import Iterator
from types import CodeType, FunctionType

from seglab.study.names import file_of, functions_of

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Chain = tuple[str, ...]
"""A name and the attributes that follow it: `losses.region.Dice` is ("losses", "region", "Dice")."""

PLAIN = (int, float, str, bool, tuple)
"""Types whose values are recorded if no source that defines them can be found."""


def names_in(node: ast.AST) -> list[Chain]:
    """Return the names that a piece of source loads."""
    found = []
    for inner in ast.walk(node):
        rest: Chain = ()
        while isinstance(inner, ast.Attribute):
            rest, inner = (inner.attr, *rest), inner.value
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            found.append((inner.id, *rest))
    return found


def text_of(thing: type | FunctionType) -> str:
    """Return the source of a definition, or its byte code if the source cannot be found."""
    if nodes := nodes_of(thing):
        return "\n".join(bare(node) for node in nodes)
    code = thing.__code__ if isinstance(thing, FunctionType) else None
    if code is None:
        values = [(name, value) for name, value in vars(thing).items() if isinstance(value, PLAIN) and not name.startswith("__")]
        return repr([values, [text_of(function) for function in functions_of(thing)]])  # type: ignore[arg-type]
    return repr((code.co_code, [constant for constant in code.co_consts if not isinstance(constant, CodeType)]))


@functools.cache
def bare(node: ast.AST) -> str:
    """Return the text of a syntax tree without comments, docstrings and formatting."""
    copy = ast.parse(ast.unparse(node))
    for inner in ast.walk(copy):
        if isinstance(inner, Definition) and ast.get_docstring(inner, clean=False) is not None:
            inner.body = inner.body[1:] or [ast.Pass()]
    return ast.unparse(copy)


def nodes_of(thing: type | FunctionType) -> list[ast.AST]:
    """Return the syntax trees of a class or function in its file; several if its name is defined more than once."""
    file = file_of(thing)
    if file is None:
        return []
    tree = _tree(file)
    if isinstance(thing, type):
        nodes: list[ast.AST] = [tree]
        for name in (part for part in thing.__qualname__.split(".") if part != "<locals>"):
            nodes = [child for node in nodes for child in inside(node) if isinstance(child, Definition) and child.name == name]
        return nodes
    if thing.__name__ == "<lambda>":
        return _lambdas(tree, thing.__code__)
    return list(_functions(file).get(thing.__code__.co_firstlineno, ()))


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module, class or function, without the contents of nested definitions."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, Definition):
            yield from inside(child)


def _lambdas(tree: ast.AST, code: CodeType) -> list[ast.AST]:
    """Return the lambda compiled to `code`: the innermost one that begins on its line and contains all instructions.

    If no lambda contains them all, return every lambda that begins on the line.
    """
    places = {(line, column) for line, _, column, _ in code.co_positions() if line is not None and column} - {(code.co_firstlineno, 0)}
    begin = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno]
    held = [node for node in begin if places and all(_start(node) <= place <= _end(node) for place in places)]
    return [max(held, key=_start)] if held else list(begin)


def _start(node: ast.Lambda) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.Lambda) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or 0


def _assigned(statement: ast.stmt) -> set[str]:
    """Return the names that a module's statement defines, assigns or changes, also inside `if` or `try`.

    Changes are, for example, `x[0] = 1` and `x.append(1)`.
    """
    if isinstance(statement, Definition):
        return {statement.name}
    found = set()
    for node in (statement, *inside(statement)):
        target: ast.AST | None = node
        if isinstance(node, Definition):
            found.add(node.name)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            target = node.value.func
        elif not isinstance(getattr(node, "ctx", None), ast.Store):
            continue
        while isinstance(target, ast.Attribute | ast.Subscript):
            target = target.value
        if isinstance(target, ast.Name):
            found.add(target.id)
    return found


@functools.cache
def changes_in(file: str) -> dict[str, list[ast.stmt]]:
    """Return the statements of a module that define, assign or change a name, by that name."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in _tree(file).body:
        for name in _assigned(statement):
            found.setdefault(name, []).append(statement)
    return found


@functools.cache
def imports_in(file: str) -> list[ast.stmt]:
    """Return the import statements of a module, also those inside `if` or `try`."""
    return [node for node in inside(_tree(file)) if isinstance(node, ast.Import | ast.ImportFrom)]


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


@functools.cache
def _functions(file: str) -> dict[int, list[ast.AST]]:
    """Return the definitions of a file by first line.

    The first line of a decorated definition is its first decorator.
    """
    found: dict[int, list[ast.AST]] = {}
    for node in ast.walk(_tree(file)):
        if isinstance(node, Definition):
            found.setdefault(_first_line(node), []).append(node)
    return found


@functools.cache
def _tree(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ast.Module([], [])
