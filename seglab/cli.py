"""The `seglab` command. Reading results imports no torch. Training, checking and pruning import it when they start."""

import argparse
import atexit
import gc
import re
import sys
from argparse import _SubParsersAction
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import seglab
from seglab.exit_codes import BAD_INPUT, DONE, INTERRUPTED
from seglab.fitting.verbs import TRAINING
from seglab.garbage import collect_as_usual, collect_rarely
from seglab.interruption import Interrupted, listening
from seglab.script.streams import prepare_streams
from seglab.suggestions import did_you_mean
from seglab.wandb_variables import drop_unusable_wandb

if TYPE_CHECKING:
    from seglab.script.rerun import Verb

READING = ("compare", "status")


def main() -> None:
    """Run the `seglab` command. For bad input, print one line and exit with code 2."""
    prepare_streams()
    atexit.register(gc.freeze)  # as in `script.main`
    drop_unusable_wandb()
    arguments = sys.argv[1:]
    if fault := _fault(arguments):
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    if len(arguments) == 2 and arguments[0] in ("test", "validate") and not arguments[1].startswith("-"):
        arguments = _evaluated(Path(arguments[1]), "test" if arguments[0] == "test" else "validate")
    if arguments and arguments[0] in TRAINING:
        sys.argv[1:] = arguments
        train_or_evaluate()
    if arguments and arguments[0] == "check":
        from seglab.checking.main import main as check

        check(arguments[1:])
    if arguments and arguments[0] == "predict":
        from seglab.prediction.main import main as predict

        predict(arguments[1:])
    if arguments and arguments[0] == "audit":
        from seglab.script.audit import main as audit

        audit(arguments[1:])
    if arguments and arguments[0] == "export":
        from seglab.prediction.export import main as export

        export(arguments[1:])
    sys.exit(read(arguments))


def train_or_evaluate() -> NoReturn:
    """Run `seglab fit`, `test` or `validate` and exit.

    A signal is handled from now on, also while torch is imported.
    """
    try:
        with listening() as interruption:
            interruption.deferred = True  # an exception in the middle of an import would leave half a module behind
            collect_rarely()
            from seglab.fit import train

            collect_as_usual()
            interruption.stop_deferring()
            train(interruption)
    except Interrupted:
        print("interrupted before anything was done; the same command again starts anew", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _fault(arguments: Sequence[str]) -> str | None:
    """Return what is wrong with the command's name; None if there is such a command."""

    known = (*READING, "sync", "dashboard", "report", "download", "audit", "prune", "check", "predict", "export", *TRAINING)
    given = arguments[0] if arguments else None
    if given is None:
        return f"name a command: {', '.join(known)}; seglab --help says what each does"
    if given in ("run", "launch", "cancel"):
        return f"{given!r} is a verb of an experiment's script, as in python experiments/regularization.py {given}"
    if not given.startswith("-") and given not in known:
        return f"there is no command {given!r}{did_you_mean(given, known)}; expected one of {', '.join(known)}"
    if arguments == ["fit"]:
        return "fit needs a network: --config fit.yaml, or --model.network CLASS and other flags; seglab fit --help lists them"
    if given in ("test", "validate") and len(arguments) == 1:
        return f"{given} needs a folder, such as seglab {given} runs/fit/version_0, or --config and --ckpt_path"
    if given in ("test", "validate") and len(arguments) > 2 and not arguments[1].startswith("-"):
        return (
            f"{given}: one folder alone, as in seglab {given} {arguments[1]}, got {arguments[2]!r} after it; flags need those of a fit: "
            f"seglab {given} --config {arguments[1]}/config.yaml --ckpt_path {arguments[1]}/checkpoints/last.ckpt"
        )
    return None


def _evaluated(folder: Path, verb: "Verb") -> list[str]:
    """Evaluate the run of a study and exit.

    If the folder was made by `seglab fit`, return the arguments that evaluate it.
    """
    from seglab.script.rerun import evaluate_run, fit_arguments

    try:
        arguments = fit_arguments(folder, verb)
        if arguments is None:
            sys.exit(evaluate_run(folder, verb))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    return arguments


def read(arguments: Sequence[str]) -> int:
    """Run `seglab compare` or `seglab status`, which show the results in folders of runs. Return the exit code."""
    from seglab.script.errors import exit_code

    given = _parser().parse_args(arguments)
    if given.command == "prune":
        return exit_code(lambda: prune(given), resumes=False)
    if given.command == "download":
        from seglab.download.main import main as download

        return exit_code(lambda: download(given))
    from seglab.script.reading import Wanted, show_comparison, show_status, study_folders, terminal

    console = terminal()
    if given.command == "sync":
        from seglab.dashboard.main import sync

        return exit_code(lambda: sync(given, console))
    if given.command in ("dashboard", "report"):
        from seglab.dashboard import views

        return exit_code(lambda: (views.dashboard if given.command == "dashboard" else views.report)(given, console), resumes=False)

    def shown() -> int:
        if given.command == "compare" and len(given.runs) > 1:
            from seglab.script.reading_sets import show_sets

            return show_sets([Path(path) for path in given.runs], Wanted.of(given), console)
        path = given.runs if given.command == "status" else given.runs[0]
        folders = study_folders(Path(path))
        if given.command == "status":
            return max(show_status(folder, console) for folder in folders)
        wanted = Wanted.of(given)
        if len(folders) > 1 and not wanted.output.plain:
            raise ValueError(f"{path}: holds several studies; --format and --output take one: name one of {', '.join(map(str, folders))}")
        return max(show_comparison(folder, wanted, console) for folder in folders)

    return exit_code(shown, resumes=False)


def prune(given: argparse.Namespace) -> int:
    """Run `seglab prune`: export a checkpoint's network, without its zero filters, as a program that needs no seglab.

    Raises:
        ValueError, OSError: the checkpoint cannot be read, the network cannot be pruned, or the program cannot be
            written.
    """
    checkpoint = Path(given.checkpoint)
    output = checkpoint.with_name(f"{checkpoint.stem}.pruned.pt2") if given.output is None else Path(given.output)
    if not output.parent.is_dir() or output.is_dir():
        raise ValueError(f"--output: {output} is no file in an existing folder")
    from seglab.networks import description, load
    from seglab.pruning.program import to_table, write_pruned
    from seglab.script.reading import terminal

    saved = load(checkpoint)
    metadata = {
        "network": description(saved.network),
        "class_names": list(saved.class_names),
        "mean": saved.mean.flatten().tolist(),
        "std": saved.std.flatten().tolist(),
    }
    written = write_pruned(saved.network, output, size=given.size, channels=saved.in_channels, metadata=metadata)
    console = terminal()
    console.print(to_table(written))
    console.print(f"program: {output}", highlight=False, soft_wrap=True)
    return DONE


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def parse_args(self, words: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """Parse the words. Hyphens in a flag are underscores.

        Words that no flag takes are reported by the parser of the command, which knows the flags.
        """
        commands = next(action.choices for action in self._actions if isinstance(action, _SubParsersAction))
        flags = {flag for command in commands.values() for flag in command._option_string_actions}
        given, others = self.parse_known_args([_spelled(word, flags) for word in words])
        if others:
            commands[given.command].error(f"unrecognized arguments: {others[0]}")
        return given

    def error(self, message: str) -> NoReturn:
        """Exit with one line in place of the usage."""
        self.exit(BAD_INPUT, f"error: {self._plainer(message)}; {self.prog} --help lists what there is\n")

    def _plainer(self, message: str) -> str:

        if message.startswith("unrecognized arguments: "):
            word = message.removeprefix("unrecognized arguments: ").partition("=")[0]
            known = [name for name in self._option_string_actions if name.startswith("--")]
            return f"there is no flag {word}{did_you_mean(word, known)}" if word.startswith("-") else f"{word!r} is one word too many"
        if message.startswith("the following arguments are required: "):
            names = message.partition(": ")[2].split(", ")
            missing = [action for action in self._actions if {action.metavar, *action.option_strings} & {*names}]
            places = [" ".join([*action.option_strings, f"{action.metavar}: {action.help}"]) for action in missing]
            return f"{self.prog} needs {' and '.join(places)}"
        message = re.sub(r"^argument (\S+): invalid (\w+) value: '(.*)'$", r"\1: expected \2, got \3", message)
        return re.sub(r"^argument (\S+): expected 2 arguments$", r"\1: expected two values, as in \1 256 256", message).removeprefix(
            "argument "
        )


def _spelled(word: str, flags: Collection[str]) -> str:
    """Return a word; of a flag, the spelling with underscores if there is such a flag."""
    typed, equals, value = word.partition("=")
    under = "--" + typed[2:].replace("-", "_")
    return f"{under}{equals}{value}" if typed.startswith("--") and under in flags else word


def _parser() -> argparse.ArgumentParser:
    from seglab.download.published import PUBLISHED
    from seglab.script.reading import add_comparison_flags

    parser = _Parser(prog="seglab", description="Fair comparisons of regularization and transfer learning in image segmentation.")
    parser.add_argument("--version", action="version", version=f"seglab {seglab.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    compare = commands.add_parser("compare", help="the comparison of a study's finished runs, and its report.html")
    compare.add_argument(
        "runs",
        metavar="RUNS",
        nargs="+",
        help="a study's folder, such as runs/regularization, or the folder of several; or the folders of equal studies on several data sets, "
        "for one statement over them",
    )
    add_comparison_flags(compare)
    status = commands.add_parser("status", help="what is done, running, failed and open")
    status.add_argument("runs", metavar="RUNS", help="a study's folder, or the folder of several")
    upload = commands.add_parser("sync", help="upload the offline runs of Weights & Biases, each row once")
    upload.add_argument("folder", metavar="FOLDER", help="a study's folder, the folder of several, or the folder of one run")
    upload.add_argument("-n", dest="jobs", type=int, default=8, metavar="INT", help="runs that are uploaded at the same time (default 8)")
    upload.add_argument("--dry_run", action="store_true", help="list what would be uploaded; do nothing")
    board = commands.add_parser("dashboard", help="save a study's workspace at Weights & Biases: its panels, grouped by arm")
    board.add_argument("folder", metavar="FOLDER", help="a study's folder, such as runs/regularization")
    page = commands.add_parser("report", help="save a study's comparison as a report at Weights & Biases")
    page.add_argument("folder", metavar="FOLDER", help="a study's folder, such as runs/regularization")
    page.add_argument("--wandb", action="store_true", help="needed: `compare` writes the report on this machine")
    for view in (board, page):
        view.add_argument("--dry_run", action="store_true", help="print it as JSON; save nothing")
    smaller = commands.add_parser("prune", help="a checkpoint's network without its zero filters, checked, as a torch.export program")
    smaller.add_argument("checkpoint", metavar="CKPT", help="such as runs/fit/version_0/checkpoints/last.ckpt")
    smaller.add_argument("--output", metavar="FILE", help="the program (default: beside the checkpoint, with the suffix .pruned.pt2)")
    smaller.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"), help="of its images (default 256 256)")
    published = commands.add_parser("download", help="get a published data set, such as download VOC --root D")
    published.add_argument("name", metavar="NAME", help=f"one of {', '.join(PUBLISHED)}")
    published.add_argument("--root", metavar="D", required=True, help="folder of the data set, as in --data.source.root D")
    published.add_argument("--dry_run", action="store_true", help="show addresses and sizes, and download nothing")
    commands.add_parser("check", help="try a loss before a comparison rests on it, such as check my_file.MyLoss", add_help=False)
    commands.add_parser("audit", help="look for mistakes in a data set, such as audit D or audit --data.source CamVid", add_help=False)
    commands.add_parser("predict", help="masks of new images of any size by a checkpoint's network", add_help=False)
    commands.add_parser("export", help="a checkpoint's network as a file that runs without seglab, with a model card", add_help=False)
    for name, purpose in TRAINING.items():
        commands.add_parser(name, help=purpose, add_help=False)
    return parser
