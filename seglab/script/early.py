"""Answer `status`, `cancel`, `compare` and `--help` of an experiment script, and `run` of a finished study, before it
imports torch. No torch.

`python experiments/regularization.py status` runs the script from its first line, and its imports take seconds, though
the answer needs the name of the study alone. So `import seglab` calls `answer`, which reads this name from the text of
the script:

    def study(...) -> Study:
        ...
        return Study("regularization", ...)

    if __name__ == "__main__":
        main(study)

If `study` computes the name, the script may say what it is by default: `main(study, name="freezing")`. The answer is
then given, and the process ends, as `main` would do. If the text leaves any doubt, `answer` does nothing: the script
goes on, and `main` calls the study function for the name. What was imported before seglab still takes its time, so
`from seglab import ...` stands before the imports that are slow.
"""

import ast
import re
import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NoReturn, cast

from typing_extensions import override

from seglab.running.threads import share_early, workers_on
from seglab.script import finished
from seglab.script.errors import exit_code
from seglab.script.reading import READING, Given, add_cancelling_flags, add_comparison_flags, add_place, read
from seglab.script.streams import prepare_streams

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def answer(script: ModuleType, words: Sequence[str]) -> None:
    """Do the verb and exit, if `words` ask for one of `READING` and the text of `script` names its study.

    `words` is the command line of `script`.
    """
    file = getattr(script, "__file__", None)
    if not words or words[0] not in READING or file is None:
        return
    study, given = study_name(Path(file)), _parsed(words[0], words[1:])
    if study is not None and given is not None:
        prepare_streams()
        sys.path.insert(0, str(Path.cwd()))  # a user's own cluster, by its import path from the working directory
        sys.exit(exit_code(lambda: read(words[0], study, given)))


def print_help(script: ModuleType) -> None:
    """Print the list of verbs and exit, if a script only imports and defines before it calls `main` of seglab.

    Its flags are not listed.
    """
    file = getattr(script, "__file__", None)
    try:
        tree = ast.parse(Path(file or "").read_bytes())
    except (OSError, ValueError, SyntaxError):
        return
    *body, last = tree.body or [ast.Pass()]
    if _call_of_main(last) is not None and all(map(_is_definition, body)) and _is_of_seglab("main", tree):
        from jsonargparse import ArgumentParser

        from seglab.script.verbs import VERBS, script_parser

        prepare_streams()
        script_parser(script.__doc__, {name: ArgumentParser() for name in VERBS}).print_help()
        sys.exit()


def explain_errors(script: ModuleType) -> None:
    """Make an error in an experiment script's imports or definitions end the process with one line, as in `main`.

    Do nothing if the text of the script does not import `main` from seglab, or if something else handles errors
    already. An error before the script imports seglab, and a syntax error of the script itself, stay Python's.
    """
    file = getattr(script, "__file__", None)
    if file is None or sys.excepthook is not sys.__excepthook__:
        return
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, ValueError, SyntaxError):
        return
    if _is_of_seglab("main", tree):
        sys.excepthook = _end


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> NoReturn:
    def again() -> int:
        raise error

    sys.exit(exit_code(again))


def answer_finished(script: ModuleType, words: Sequence[str]) -> None:
    """Print the comparison, if `words` ask for a `run` that has finished its study before.

    `main` then checks that nothing has changed.
    """
    file = getattr(script, "__file__", None)
    if words[0] != "run" or file is None:
        return
    study, place = study_name(Path(file)), _Parser(add_help=False, allow_abbrev=False)
    add_place(place)
    try:
        given, _ = place.parse_known_args(underscored(words[1:]))
    except ArgumentError:
        return
    if study is not None:
        prepare_streams()
        finished.answer(Path(given.root) / (study if given.name is None else given.name), words)


def share_threads(words: Sequence[str]) -> None:
    """Give this process the threads that a worker of `run` will have, so that it can be forked into one.

    `words` are its command line.

    If this is another number of workers than there will be, they are started afresh: no number of a run depends on it.
    """
    if words[0] != "run":
        return
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flag in ("--jobs", "--devices", "--runs_per_device"):
        parser.add_argument(flag, type=int)
    parser.add_argument("--accelerator", default="auto")
    try:
        given, _ = parser.parse_known_args(underscored(words[1:]))
    except ArgumentError:
        return
    gpus = 0 if given.accelerator == "cpu" else len(list(Path("/dev").glob("nvidia[0-9]*")))
    share_early(max(1, given.jobs or workers_on(gpus, max(1, given.devices or 1), given.runs_per_device)))


def study_name(file: Path) -> str | None:
    """Return the name of the study that a script builds by default; None if its text is not enough to be sure.

    It is enough if the script only imports and defines, and at its end calls `main` with `name` in quotes, or with a
    function that it defines and whose every `return` is a `Study` of the same name in quotes.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return None
    *body, last = tree.body or [ast.Pass()]
    called = _call_of_main(last)
    if called is None or not all(map(_is_definition, body)) or not _is_of_seglab("main", tree):
        return None
    match called.args, called.keywords:
        case [_], [ast.keyword("name", ast.Constant(str(name)))]:
            return name
        case [ast.Name(function)], [] if _is_of_seglab("Study", tree) and _bound(tree).count(function) == 1:
            defined = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == function and not node.decorator_list]
            names = {_named(statement.value) for node in defined for statement in _returns(node)}
            return names.pop() if len(names) == 1 else None
    return None


def _is_of_seglab(name: str, tree: ast.Module) -> bool:
    """Return whether a script imports `name` from seglab, and gives this name no other value."""
    froms = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "seglab"]
    there = any(alias.name == name and alias.asname is None for node in froms for alias in node.names)
    bound = _bound(tree)
    return there and bound.count(name) == 1 and "*" not in bound


def _bound(tree: ast.Module) -> list[str]:
    return [name for node in ast.walk(tree) for name in _bound_by(node)]


def _is_definition(node: ast.stmt) -> bool:
    """Return whether a statement imports, defines or assigns, or is a docstring.

    Others could change the working directory.
    """
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign)


def _call_of_main(node: ast.stmt) -> ast.Call | None:
    """Return the call if a statement is `if __name__ == "__main__": main(...)`."""
    match node:
        case ast.If(
            test=ast.Compare(left=ast.Name("__name__"), ops=[ast.Eq()], comparators=[ast.Constant("__main__")]),
            body=[ast.Expr(ast.Call(func=ast.Name("main")) as call)],
            orelse=[],
        ):
            return call
    return None


def _bound_by(node: ast.AST) -> list[str]:
    """Return the names to which a node gives a value."""
    if isinstance(node, ast.ImportFrom | ast.Import):
        return [alias.asname if alias.asname is not None else alias.name for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    return [node.id] if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) else []


def _returns(node: ast.AST) -> Iterator[ast.Return]:
    """Yield the `return` statements of a function, those of functions within it left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return):
            yield child
        elif not isinstance(child, Function | ast.ClassDef):
            yield from _returns(child)


def _named(value: ast.expr | None) -> str | None:
    """Return NAME if an expression is `Study("NAME", ...)` or `Study(name="NAME", ...)`."""
    match value:
        case ast.Call(func=ast.Name("Study"), args=[ast.Constant(str(name)), *_]):
            return name
        case ast.Call(func=ast.Name("Study"), args=[], keywords=keywords):
            given = {keyword.arg: keyword.value for keyword in keywords}
            match given.get("name"):
                case ast.Constant(str(name)):
                    return name
    return None


def underscored(words: Sequence[str]) -> list[str]:
    """Replace hyphens in the names of flags by underscores, so that users may type either.

    >>> underscored(["--dry-run", "--root=my-runs", "half-done"])
    ['--dry_run', '--root=my-runs', 'half-done']
    """
    return [re.sub(r"^--[^.=\s]+", lambda flag: "--" + flag[0][2:].replace("-", "_"), word) for word in words]


class _Parser(ArgumentParser):
    @override
    def error(self, message: str) -> NoReturn:
        raise ArgumentError(None, message)


def _parsed(verb: str, words: Sequence[str]) -> Given | None:
    """Return the flags of a verb; None if `main` has to say what is wrong with them, or to print the help."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_place(parser)
    if verb == "compare":
        add_comparison_flags(parser)
    if verb == "cancel":
        add_cancelling_flags(parser)
    try:
        return cast(Given, parser.parse_args(underscored(words)))
    except ArgumentError:
        return None
