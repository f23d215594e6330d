"""The user's code by its text, as an edited loss is another loss.

The text of a definition is its syntax tree without comments, docstrings and formatting. With a definition count, transitively, the other
definitions of the user that it names: functions, classes, base classes, and module-level values such as `BETA = 0.5`. What the same file
holds beside them does not count.
"""

import ast
import dis
import functools
import hashlib
import importlib
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from seglab.study.names import file_of, functions_of, is_own, public_name, stem

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Chain = tuple[str, ...]
"""A name and the attributes that follow it: `losses.region.Dice` is ("losses", "region", "Dice")."""


def sources(thing: Any) -> dict[str, str]:
    """Return a hash of the source of each of the user's definitions that a class or function depends on, itself included, by public name.

    A definition whose source cannot be found (typed at a Python prompt) counts by its byte code. A file counts as it was when this process
    first read it, which is close to what the process runs.
    """
    found = _Sources()
    found.follow(thing)
    return {name: _hash("\n".join(sorted(texts))) for name, texts in sorted(found.texts.items())}


def captured(function: FunctionType) -> dict[str, Any]:
    """Return the variables that a function takes from the function around it, those that have a value by now."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


class _Sources:
    """Collects the texts of definitions, and follows the names in them."""

    def __init__(self) -> None:
        self.texts: dict[str, set[str]] = {}
        self._seen: set[int] = set()

    def follow(self, thing: Any) -> None:
        """Count a class or function, if it is the user's own, and all that it names."""
        if isinstance(thing, MethodType):
            thing = thing.__func__
        if not isinstance(thing, type | FunctionType) or id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        self.follow(getattr(thing, "__wrapped__", None))  # a library's decorator around a function of the user
        if is_own(thing):
            self.texts.setdefault(public_name(thing), set()).add(_text(thing))
            for namespace, chains in _used(thing):
                for chain in chains:
                    self._resolve(namespace, chain)

    def _resolve(self, namespace: Mapping[str, Any], chain: Chain) -> None:
        """Look a chain of names up, through the user's modules, and count what it leads to."""
        name, *rest = chain
        value = namespace.get(name)
        while isinstance(value, ModuleType) and rest and is_own(value):
            namespace, name = vars(value), rest.pop(0)
            value = namespace.get(name)
        if isinstance(value, type | FunctionType):
            self.follow(value)
        elif name in namespace and not isinstance(value, ModuleType):
            self._count_value(namespace, name)

    def _count_value(self, namespace: Mapping[str, Any], name: str) -> None:
        """Count the statements of a user's module that assign a value to `name`, or import it from another."""
        module = sys.modules.get(str(namespace.get("__name__")))
        if module is None or vars(module) is not namespace or not is_own(module) or (file := file_of(module)) is None:
            return
        key = f"{stem(file)}.{name}"
        body = _tree(file).body
        statements = [statement for statement in body if name in _assigned(statement)]
        if statements and key not in self.texts:
            self.texts[key] = {ast.unparse(statement) for statement in statements}
            for chain in (chain for statement in statements for chain in _names(statement)):
                self._resolve(namespace, chain)
        for home, there in _imported(body, module).get(name, ()):
            if there is not None:
                self._count_value(vars(home), there)


def _used(thing: type | FunctionType) -> Iterator[tuple[Mapping[str, Any], Iterable[Chain]]]:
    """Yield the names that a definition uses, with the namespace in which they stand."""
    module = sys.modules.get(thing.__module__)
    names = {} if module is None else vars(module)
    if isinstance(thing, FunctionType):
        names = thing.__globals__
        yield names, _names_of_code(thing.__code__)
        yield captured(thing), [(name,) for name in thing.__code__.co_freevars]
    else:
        yield {str(place): base for place, base in enumerate(thing.__mro__[1:])}, [(str(place),) for place in range(len(thing.__mro__) - 1)]
        for function in functions_of(thing):
            yield from _used(function)
    for node in _nodes(thing):
        yield names, [chain for outside in _evaluated_outside(node) for chain in _names(outside)]
        if module is not None and not isinstance(node, ast.Lambda):
            bound = {name: getattr(home, there) if there else home for name, (home, there) in _local_imports(node, module)}
            yield bound, [chain for chain in _names(node) if chain[0] in bound]


def _evaluated_outside(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a definition that are evaluated where it stands: decorators, defaults, and of a class bases and assignments."""
    if isinstance(node, ast.ClassDef):
        return [child for child in ast.iter_child_nodes(node) if not isinstance(child, _Definition)]
    if isinstance(node, ast.Lambda):
        return [node.args]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*node.decorator_list, *node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]
    return []


def _local_imports(node: ast.AST, module: ModuleType) -> Iterator[tuple[str, tuple[ModuleType, str | None]]]:
    """Yield what the imports within a definition bind, wherever they stand in it."""
    statements = [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)]
    for name, homes in _imported(statements, module).items():
        yield from ((name, (home, there)) for home, there in homes if there is None or hasattr(home, there))


def _imported(statements: Iterable[ast.stmt], module: ModuleType) -> dict[str, list[tuple[ModuleType, str | None]]]:
    """Return the names that import statements bind, each with the user's module that it comes from and its name there; None: the module."""
    found: dict[str, list[tuple[ModuleType, str | None]]] = {}
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            home = _module(f"{'.' * statement.level}{statement.module or ''}", module)
            for alias in statement.names if home is not None and is_own(home) else ():
                assert home is not None
                found.setdefault(alias.asname or alias.name, []).append((home, alias.name))
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                home = _module(alias.name if alias.asname else alias.name.partition(".")[0], module)
                if home is not None and is_own(home):
                    found.setdefault(alias.asname or alias.name.partition(".")[0], []).append((home, None))
    return found


def _module(name: str, importer: ModuleType) -> ModuleType | None:
    try:
        return importlib.import_module(name, importer.__package__ or None)
    except Exception:  # noqa: BLE001 - an import in code that may never run fails in any way
        return None


def _names_of_code(code: CodeType) -> list[Chain]:
    """Return the global names that byte code loads: exactly those, as a local variable may have the name of a global one."""
    found: list[Chain] = []
    chain: Chain = ()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            chain = (str(instruction.argval),)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and chain:
            chain = (*chain, str(instruction.argval))
        elif instruction.opname not in ("CACHE", "PUSH_NULL", "EXTENDED_ARG"):
            chain = ()
        if chain:
            found.append(chain)
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return [*found, *(chain for constant in inner for chain in _names_of_code(constant))]


def _names(node: ast.AST) -> list[Chain]:
    """Return the names that a piece of source loads."""
    found = []
    for inner in ast.walk(node):
        rest: Chain = ()
        while isinstance(inner, ast.Attribute):
            rest, inner = (inner.attr, *rest), inner.value
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            found.append((inner.id, *rest))
    return found


def _text(thing: type | FunctionType) -> str:
    """Return the source of a definition, or its byte code where the source is not there."""
    if nodes := _nodes(thing):
        return "\n".join(_bare(node) for node in nodes)
    code = thing.__code__ if isinstance(thing, FunctionType) else None
    if code is None:
        return repr([_text(function) for function in functions_of(thing)])  # type: ignore[arg-type]
    return repr((code.co_code, [constant for constant in code.co_consts if not isinstance(constant, CodeType)]))


def _bare(node: ast.AST) -> str:
    """Return the text of a syntax tree without comments, docstrings and formatting."""
    copy = ast.parse(ast.unparse(node))
    for inner in ast.walk(copy):
        if isinstance(inner, _Definition) and ast.get_docstring(inner, clean=False) is not None:
            inner.body = inner.body[1:] or [ast.Pass()]
    return ast.unparse(copy)


def _nodes(thing: type | FunctionType) -> list[ast.AST]:
    """Return the syntax trees of a class or function in its file: several where the file defines its name again."""
    file = file_of(thing)
    if file is None:
        return []
    tree = _tree(file)
    if isinstance(thing, type):
        nodes: list[ast.AST] = [tree]
        for name in (part for part in thing.__qualname__.split(".") if part != "<locals>"):
            nodes = [child for node in nodes for child in _inside(node) if isinstance(child, _Definition) and child.name == name]
        return nodes
    if thing.__name__ == "<lambda>":
        return _lambdas(tree, thing.__code__)
    return list(_functions(file).get(thing.__code__.co_firstlineno, ()))


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands in a module, class or function, and not within a definition in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _Definition):
            yield from _inside(child)


def _lambdas(tree: ast.AST, code: CodeType) -> list[ast.AST]:
    """Return the lambda that was compiled to `code`: of those that begin on its line, the innermost that holds its instructions."""
    places = {(line, column) for line, _, column, _ in code.co_positions() if line is not None and column} - {(code.co_firstlineno, 0)}
    begin = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno]
    held = [node for node in begin if places and all(_start(node) <= place <= _end(node) for place in places)]
    return [max(held, key=_start)] if held else list(begin)


def _start(node: ast.Lambda) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.Lambda) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or 0


def _assigned(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a module assigns, those inside of an `if` or `try` too."""
    if isinstance(statement, _Definition):
        return set()
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _first_line(node: _Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


@functools.cache
def _functions(file: str) -> dict[int, list[ast.AST]]:
    """The definitions of a file by their first line, that of a decorator included."""
    found: dict[int, list[ast.AST]] = {}
    for node in ast.walk(_tree(file)):
        if isinstance(node, _Definition):
            found.setdefault(_first_line(node), []).append(node)
    return found


@functools.cache
def _tree(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ast.Module([], [])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
