"""Error messages of libraries, shortened to the one line that helps. No torch."""

import contextlib
import os
import re
import sys
import tempfile
import traceback
from argparse import ArgumentError
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import seglab
from seglab.exit_codes import BAD_INPUT, FAILED, INTERNAL, INTERRUPTED
from seglab.interruption import Interrupted
from seglab.running.remedies import TrialError
from seglab.script.streams import is_read
from seglab.study.names import is_own_file
from seglab.suggestions import did_you_mean

MESSAGES = (ValueError, ArgumentError, ImportError, OSError)
"""Types of the errors whose text is written for the user. Others are accidents, and so are these if they escape from
the user's code.
"""

_KEY = re.compile(r'Parser key "([^"]+)":?\s*')

_PLAINER: tuple[
    tuple[str, str | Callable[[re.Match[str]], str]], ...
] = (  # phrase of jsonargparse → phrase for the user who typed the flag; outer phrases first
    # a SchedulerFactory has two alternatives: the second knows all arguments, so its reason is the one that helps
    (r"Does not validate .*Optimizer, int\].*(?:expects a function or a callable class: | - (?=Expected a dot))(.*)", r"\1"),
    (
        r"the following arguments are required: schedulers.*class_path='[\w.]*?(\w+)'.*",
        r"\1 combines schedulers: name a function of optimizer and steps that makes it, as in --{key} my_file.my_scheduler",
    ),
    (r"Type \S+(?: \S+)*? expects a function or a callable class: (.*)", r"\1"),
    (r"Dict must include a class_path .* but got NestedArg\(key='(\w+)'.*", r"name the class first, as in --{key} CLASS --{key}.\1 VALUE"),
    (r"(?:\. Got value: Namespace\(.*)?(?: - Expected a NoneType)? Given value type: .*Namespace\(.*|\. Got value: Namespace\(.*", ""),
    (r"(?:- )?Expected a path but \S+ either not accessible or invalid - ", ""),
    (
        r"Does not validate against any of the Union subtypes Subtypes: \[collections\.abc\.Mapping\[int, int\].* Given value: (.*)",
        r"expected a table in one word, as in '{0: 0, 255: 1}' with a space after each colon, got \1",
    ),
    (
        r"Does not validate against any of the Union subtypes Subtypes: \[(.*?)(?:, NoneType)?\] Errors:"
        r"(?: - Expected a [\w.]+(?: with \d+ elements)?)+ Given value type: \S+ Given value: (.*)",
        r"expected \1, got \2",
    ),
    (r"Does not validate against any of the Union subtypes .*? Errors: - (.*?)(?: - Expected a NoneType)? Given value type: .*", r"\1"),
    (r"Does not validate against any of the Union subtypes .*? Errors: - (.*?)(?: - Expected a NoneType)?$", r"\1"),
    (r"(Expected a \w+) - Expected a dot import path string: \S+", r"\1"),
    (r"Problem with given class_path '([^']+)': the following arguments are required: (\w+)(.*)", r"\1 needs \2\3, as in --{key}.\2 VALUE"),
    (
        r"Problem with given class_path '([^']+)': Option '([^']+)' is not accepted",
        r"\1 has no option {key}.\2; --{key}.help \1 lists them",
    ),
    (r"Problem with given class_path '[^']+': ", ""),
    (r"Option '([^']+)' is not accepted$", r"its class has no argument '\1'; --{key}.help CLASS lists them"),
    (r"Expected an? ([\w.]+)\. Got value:$", r"expected \1, got an empty word"),
    (
        r"With fail_untyped=True, .* Parameter '(\w+)' from '([\w.]+?)(?:\.__init__)?' does not specify a type\.?",
        r"the argument \1 of \2 has no type; annotate it, as in \1: float",
    ),
    (
        r"Expected a member of <enum '\w+'>: \{(.*?)\}\. Got value: (.*)",
        lambda found: f"expected one of {_spaced(found[1])}, got {found[2]}",
    ),
    (r"Expected a (\w+) - Expected a (?:typing\.)?Literal\[(.*?)\]", r"Expected a \1 or \2"),
    (r"Expected a (?:typing\.)?Literal\[(.*?)\]\. Got value: (.*)", r"expected one of \1, got \2"),
    (r"Expected a ([\w.]+)\. Got value: (.*)", r"expected \1, got \2"),
    (r"Import path (\S+) does not correspond to a subclass of (\w+)", r"\1 is not a \2"),
    (r"Expected a dot import path string: \S+ - expected NoneType, got (True|False)", r"expected an import path, or null for none, got \1"),
    (
        r"(?:Unable to load config '([^']+)' - .*|Subclasses are disabled for SegmentationDataModule, thus '([^']+)' is not accepted .*)",
        r"a data set is named by --data.source \1\2, its own settings by --data.source.NAME",
    ),
    (r"(?: - Expected a \w+)+(?: Given value type: .*)?$", ""),
    (r"[Ee]xpected (?:a )?typing\.Literal\[(.*?)\]", r"expected one of \1"),
    (r"(?i)unrecognized arguments: .*?--data\.augment\b.*", "--data.augment is now --data.augmentation: null for none, or an import path"),
    (
        r"(?i)unrecognized arguments: .*?--data\.(?!source\b)(\w+).*",
        r"--data.\1: loading has no such option, --help lists them; a setting of the data set itself is --data.source.\1",
    ),
)
_NO_SUCH_CLASS = re.compile(
    r"Expected a dot import path string: (\S+)|No module named '[^']+'|module '[^']+' has no attribute '([^']+)'|No [\w.]+ attribute (\w+)"
)


def exit_code(command: Callable[[], int], resumes: bool = True) -> int:
    """Call a command and return its exit code.

    Print an exception as one line on stderr, and return the exit code that it stands for.

    Args:
        command: returns the exit code of its success or failure.
        resumes: the same command again goes on where an interrupted one ended. An interrupted user is told so.
    """
    try:
        code = command()
        sys.stdout.flush()
        return code
    except (KeyboardInterrupt, Interrupted):
        _say("interrupted; the same command again goes on" if resumes else "interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets one line
        if isinstance(error, BrokenPipeError) and not is_read():  # `| head` has read enough
            return FAILED
        return reported(error)


def reported(error: Exception) -> int:
    """Print an error as one line on stderr, or each error of a group, and return the exit code."""
    codes = []
    for one in error.exceptions if isinstance(error, ExceptionGroup) else (error,):
        line, code = explained(one, _written)
        _say(f"error: {line}")
        codes.append(code)
    return max(codes)


def explained(error: Exception, write_traceback: Callable[[Exception], str]) -> tuple[str, int]:
    """Return an error as one line, and its exit code.

    An error that the user's code raises by accident is shown with its place in that code; an error of seglab itself as
    unexpected. The traceback of both is kept, and the line names its file.

    Args:
        error: any exception.
        write_traceback: writes the traceback of an error, and returns the file.
    """
    if isinstance(error, TrialError):
        return f"{one_line(error)}; the traceback is in {write_traceback(error)}", BAD_INPUT
    frames = list(traceback.extract_tb(error.__traceback__))
    own = [frame for frame in frames if is_own_file(frame.filename)]
    if isinstance(error, MESSAGES) and (not own or _is_raised_for_the_user(frames[-1])):
        return one_line(error), BAD_INPUT
    what = ": ".join([*_notes(error), type(error).__name__, _reason(error)])
    if own:
        place = f"{_relative(own[-1].filename)}:{own[-1].lineno}, in {own[-1].name}"
        return f"{what} ({place}): correct it there; the traceback is in {write_traceback(error)}", BAD_INPUT
    if isinstance(error, SyntaxError) and error.filename is not None and is_own_file(error.filename):
        return f"{type(error).__name__}: {error.msg} ({_relative(error.filename)}:{error.lineno}): correct it there", BAD_INPUT
    return f"{what}; seglab did not expect this: please report it with the traceback in {write_traceback(error)}", INTERNAL


def _is_raised_for_the_user(frame: traceback.FrameSummary) -> bool:
    """Return whether a `raise` statement in seglab or the user's code raised an error, and not a failed operation."""
    ours = is_own_file(frame.filename) or Path(frame.filename).is_relative_to(Path(seglab.__file__).parent)
    return ours and (frame.line or "").startswith("raise ")


def _relative(file: str) -> str:
    """Return the path of a file from the working directory; its full path if it lies elsewhere."""
    return os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file


def _written(error: Exception) -> str:
    """Write the traceback of an error to a new temporary file, and return the path of the file."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="seglab-", suffix=".log", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
        return file.name
    except OSError as reason:
        return f"no file ({one_line(reason)})"


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone
        print(line, file=sys.stderr)


def one_line(error: BaseException) -> str:
    """Return an error as one line: what it belongs to, the name of the flag, then the reason."""
    return ": ".join([*_notes(error), _reason(error)])


def _notes(error: BaseException) -> list[str]:
    """Return what an error belongs to, such as `arm l2`: the notes added on its way, the last one first."""
    return list(reversed(getattr(error, "__notes__", [])))


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = re.sub(r"<class '([\w.]+)'>", r"\1", str(error))
    key = ".".join(key for key, _ in groupby(_KEY.findall(text)))  # jsonargparse may name a key twice
    reason = " ".join(part.strip() for part in _KEY.sub("", text).splitlines() if part.strip())
    if key or isinstance(error, ArgumentError) or "Union subtypes" in text:  # the words of jsonargparse, and not of seglab or the user
        for phrase, meaning in _PLAINER:
            reason = re.sub(phrase, meaning, reason)
        reason = _NO_SUCH_CLASS.sub(_as_class, reason.replace("{key}", key), count=1)
    if isinstance(error, ArgumentError) and "unrecognized arguments" in reason:
        reason += "; --help lists what there is"
    return f"--{key}: {reason}" if key else reason or type(error).__name__


def _spaced(names: str) -> str:
    return re.sub(r",\s*", ", ", names)


def _as_class(found: re.Match[str]) -> str:
    """Return a message with the missing class, the class with the closest name, and the form of a class's name."""
    name = found[1] or found[2] or found[3] or ""
    what = f"there is no class {name!r}" if found[1] or found[3] else found[0]
    hint = did_you_mean(name, [f"seglab.{one}" for one in seglab.__all__], "seglab.")
    return f"{what}{hint}; a class is named by its import path, your own from the working directory, as in my_file.MyClass"
