"""Error messages of libraries, shortened to the one line that helps. No torch."""

import difflib
import re
from argparse import ArgumentError
from itertools import groupby

import seglab

_KEY = re.compile(r'Parser key "([^"]+)":?\s*')

_PLAINER = (  # phrase of jsonargparse → phrase for the user who typed the flag; outer phrases first
    (r"Type \S+(?: \S+)*? expects a function or a callable class: (.*?)(?:\. Got value: .*)?$", r"\1"),
    (r"(?:- )?Expected a path but \S+ either not accessible or invalid - ", ""),
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
    (r"Expected a (?:typing\.)?Literal\[(.*?)\]\. Got value: (.*)", r"expected one of \1, got \2"),
    (r"Expected a ([\w.]+)\. Got value: (.*)", r"expected \1, got \2"),
    (r"Import path (\S+) does not correspond to a subclass of (\w+)", r"\1 is not a \2"),
    (r"Expected a dot import path string: \S+ - expected NoneType, got (True|False)", r"expected an import path, or null for none, got \1"),
    (
        r"(?:Unable to load config '([^']+)' - .*|Subclasses are disabled for SegmentationDataModule, thus '([^']+)' is not accepted .*)",
        r"a data set is named by --data.source \1\2, its own settings by --data.source.NAME",
    ),
    (r"(?i)unrecognized arguments: .*?--data\.augment\b.*", "--data.augment is now --data.augmentation: null for none, or an import path"),
    (
        r"(?i)unrecognized arguments: .*?--data\.(?!source\b)(\w+).*",
        r"--data.\1: loading has no such option, --help lists them; a setting of the data set itself is --data.source.\1",
    ),
)
_NO_SUCH_CLASS = re.compile(
    r"Expected a dot import path string: (\S+)|No module named '[^']+'|module '[^']+' has no attribute '([^']+)'|No [\w.]+ attribute (\w+)"
)


def one_line(error: BaseException) -> str:
    """Return an error as one line: the name of the flag, then the reason."""
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


def _as_class(found: re.Match[str]) -> str:
    """Return a message that names the missing class, the class with the closest name, and the form in which classes are named."""
    name = found[1] or found[2] or found[3] or ""
    what = f"there is no class {name!r}" if found[1] or found[3] else found[0]
    close = difflib.get_close_matches(name.rpartition(".")[2], seglab.__all__, n=1)
    hint = f" (did you mean seglab.{close[0]}?)" if close else ""
    return f"{what}{hint}; a class is named by its import path, your own from the working directory, as in my_file.MyClass"
