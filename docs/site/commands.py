"""Write docs/reference/commands.md: the help of every command.

`make docs` runs this, and a test compares a part of the page with it.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seglab.files import atomic_write

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "commands.md"
SCRIPT = ("experiments/regularization.py", ("run", "launch", "status", "cancel", "compare"))
SEGLAB = (
    ("audit", "look at a data set before training on it"),
    ("fit", "train one module"),
    ("compare", "compare the runs of a study, or of several"),
    ("status", "show what is done, running and failed"),
    ("check", "try a loss of your own"),
    ("predict", "write the masks of new images"),
    ("export", "write a network as ONNX, PT2 or safetensors"),
    ("prune", "write a smaller network without zero filters"),
    ("sync", "upload what Weights & Biases does not have"),
    ("dashboard", "save a workspace at Weights & Biases"),
    ("report", "save the comparison as a report at Weights & Biases"),
    ("download", "get a published data set"),
)
_INTRODUCTION = """# Commands

The help of every command, as it prints it. Written by `make docs`. `seglab test` and `seglab validate` take the folder of
a run, or the flags of `seglab fit` with `--ckpt_path`.

The first part is for every experiment: a script has the flags of its study function besides. Those shown are of
`experiments/regularization.py`. [Flags](../howto/running.md#flags) says how lists, classes and nulls are typed,
[exit codes](../howto/running.md#exit-codes) what a command returns.
"""


def help_of(words: tuple[str, ...]) -> str:
    """Return what a command prints for --help, in lines of at most 120 characters.

    Raises:
        RuntimeError: the command fails.
    """
    environment = {**os.environ, "COLUMNS": "120", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} --help: {done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def section(title: str, words: tuple[str, ...]) -> str:
    """Return a section of the page: a heading and the help of a command."""
    return f"\n## {title}\n\n```text\n{help_of(words)}\n```\n"


def sections() -> list[tuple[str, tuple[str, ...]]]:
    """Return the heading and the words of each command."""
    script, verbs = SCRIPT
    seglab = ("-c", "import sys; sys.argv[0] = 'seglab'; from seglab.cli import main; main()")
    return [(f"{script} {verb}", (script, verb)) for verb in verbs] + [(f"seglab {name}: {what}", (*seglab, name)) for name, what in SEGLAB]


def main() -> None:
    """Write the page."""
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(lambda part: section(*part), sections()))
    with atomic_write(PAGE) as file:
        file.write((_INTRODUCTION + "".join(texts)).encode())


if __name__ == "__main__":
    main()
