"""Hash the source of the user's code. An edited loss is another loss, and so another setting.

The source of a definition is its syntax tree without comments, docstrings and formatting. A definition depends on the
user's other definitions that it names, directly or indirectly: functions, classes, base classes, and module-level
values such as `BETA = 0.5`. The rest of a file does not count.
"""

import ast
import dis
import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from seglab.study.names import file_of, functions_of, is_own, public_name, stem
from seglab.study.source import PLAIN, Chain, Definition, bare, changes_in, imports_in, names_in, nodes_of, text_of


def captured(function: FunctionType) -> dict[str, Any]:
    """Return the variables of an enclosing function that a function uses (its closure).

    Variables without a value yet are left out.
    """
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


class Sources:
    """Collects the source of definitions, and of the definitions that they name.

    Different definitions can share a public name, such as two lambdas of a function, or `utils.f` of two packages. They
    are numbered in the order in which they are found. If the source of a definition cannot be found, for example after
    typing it at a Python prompt, its byte code is collected. A file counts as it was when this process first read it,
    because that version is close to the code that the process runs.
    """

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self._seen: dict[int, Any] = {}
        self._counted: set[tuple[str, str]] = set()

    def hashes(self) -> dict[str, str]:
        """Return a hash of the source of each definition followed so far, by public name."""
        found = {_numbered(name, place): _hash(text) for name, texts in self.texts.items() for place, text in enumerate(texts)}
        return dict(sorted(found.items()))

    def named(self, thing: Any) -> str:
        """Return the public name of a class or function, with a number if another definition has the same name.

        Calls `follow`.
        """
        self.follow(thing)
        name, thing = public_name(thing), thing.__func__ if isinstance(thing, MethodType) else thing
        followed = name in self.texts and isinstance(thing, type | FunctionType) and is_own(thing)
        return _numbered(name, self.texts[name].index(text_of(thing))) if followed else name

    def follow(self, thing: Any) -> None:
        """Collect the source of a class or function, if it is the user's own, and of all definitions that it names.

        For a container, collect the source of its elements.
        """
        if isinstance(thing, MethodType):
            thing = thing.__func__
        if id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        for inner in _held(thing):
            self.follow(inner)
        if isinstance(thing, type | FunctionType) and is_own(thing):
            self._add(public_name(thing), text_of(thing))
            self._count_value(vars(sys.modules.get(thing.__module__, sys)), thing.__name__)
            for namespace, chains in _used(thing):
                for chain in chains:
                    self._resolve(namespace, chain)

    def _add(self, name: str, text: str) -> None:
        texts = self.texts.setdefault(name, [])
        if text not in texts:
            texts.append(text)

    def _resolve(self, namespace: Mapping[str, Any], chain: Chain) -> None:
        """Look up a dotted name, through the user's modules, and collect the source of the object that it names."""
        name, *rest = chain
        value = namespace.get(name)
        while isinstance(value, ModuleType) and rest and is_own(value):
            namespace, name = vars(value), rest.pop(0)
            value = namespace.get(name)
        if name in namespace and not isinstance(value, ModuleType):
            self.follow(value)
            self._count_value(namespace, name)

    def _count_value(self, namespace: Mapping[str, Any], name: str) -> None:
        """Collect the statements of a user's module that assign or change `name`.

        If `name` is imported, collect those of its own module.

        The definition of a function or class is left out, because `follow` collects it. A definition that a decorator
        has turned into another kind of object is included, because `follow` cannot find it.
        """
        module = sys.modules.get(str(namespace.get("__name__")))
        if module is None or vars(module) is not namespace or not is_own(module):
            return
        if (file := file_of(module)) is None:  # a notebook: its value, as the cell that assigned it last is not known
            if isinstance(namespace.get(name), PLAIN):
                self._add(f"__main__.{name}", repr(namespace[name]))
            return
        if (file, name) in self._counted:
            return
        self._counted.add((file, name))
        followed = isinstance(namespace.get(name), type | FunctionType)
        statements = [node for node in changes_in(file).get(name, ()) if not (followed and isinstance(node, Definition))]
        if statements:
            self._add(f"{stem(file)}.{name}", "\n".join(sorted({bare(statement) for statement in statements})))
            for chain in (chain for statement in statements for chain in names_in(statement)):
                self._resolve(namespace, chain)
        for home, there in _imported(imports_in(file), module).get(name, ()):
            if there is not None:
                self._count_value(vars(home), there)


def _numbered(name: str, place: int) -> str:
    return f"{name} ({place + 1})" if place else name


def _held(thing: Any) -> Iterator[Any]:
    """Yield the elements of a container, such as a registry, or the functions that a decorator has wrapped."""
    if isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from thing
    elif callable(thing):
        attributes = getattr(thing, "__dict__", {})
        yield attributes.get("__wrapped__")
        yield from (
            attributes["registry"].values() if "registry" in attributes and "dispatch" in attributes else ()
        )  # functools.singledispatch


def _used(thing: type | FunctionType) -> Iterator[tuple[Mapping[str, Any], Iterable[Chain]]]:
    """Yield the names that a definition uses, with the namespace in which each is looked up."""
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
    for node in nodes_of(thing):
        yield names, [chain for outside in _evaluated_outside(node) for chain in names_in(outside)]
        if module is not None and not isinstance(node, ast.Lambda):
            for name, (home, there) in _local_imports(node, module):
                rest = [chain[1:] for chain in names_in(node) if chain[0] == name]
                yield (vars(home), [(there, *chain) for chain in rest]) if there else ({name: home}, [(name, *chain) for chain in rest])


def _evaluated_outside(node: ast.AST) -> list[ast.AST]:
    """Return the parts evaluated when a definition runs: decorators, defaults, a class's bases and assignments."""
    if isinstance(node, ast.ClassDef):
        return [child for child in ast.iter_child_nodes(node) if not isinstance(child, Definition)]
    if isinstance(node, ast.Lambda):
        return [node.args]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*node.decorator_list, *node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]
    return []


def _local_imports(node: ast.AST, module: ModuleType) -> Iterator[tuple[str, tuple[ModuleType, str | None]]]:
    """Yield the names that imports within a definition bind, at any depth, each with its origin."""
    statements = [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)]
    for name, homes in _imported(statements, module).items():
        yield from ((name, (home, there)) for home, there in homes if there is None or hasattr(home, there))


def _imported(statements: Iterable[ast.stmt], module: ModuleType) -> dict[str, list[tuple[ModuleType, str | None]]]:
    """Return the names that import statements bind, each with the user's modules it may come from and its name there.

    The name there is None if the import binds the module itself.
    """
    found: dict[str, list[tuple[ModuleType, str | None]]] = {}
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            home = _module(f"{'.' * statement.level}{statement.module or ''}", module)
            if home is not None and is_own(home):
                for alias in statement.names:
                    for name in vars(home) if alias.name == "*" else (alias.name,):
                        found.setdefault(alias.asname or name, []).append((home, name))
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                home = _module(alias.name if alias.asname else alias.name.partition(".")[0], module)
                if home is not None and is_own(home):
                    found.setdefault(alias.asname or alias.name.partition(".")[0], []).append((home, None))
    return found


def _module(name: str, importer: ModuleType) -> ModuleType | None:
    try:
        return importlib.import_module(name, importer.__package__ or None)
    except Exception:  # noqa: BLE001 - an import in code that may never run can fail with any exception
        return None


def _names_of_code(code: CodeType) -> list[Chain]:
    """Return the global names that byte code loads.

    Local variables are left out, also if a global variable has the same name.
    """
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


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
