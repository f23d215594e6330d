"""Words that people type: a word with one meaning is taken, and for the rest one line names the form to type."""

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import experiments.batchnorm
import experiments.freezing
import experiments.losses
import experiments.regularization
from seglab import L1, L2, CrossEntropy, Proximal, Regularizer, SegmentationDataModule, Shapes, Study, cli
from seglab.records import identity
from seglab.script import request
from seglab.script.command_line import parse
from seglab.script.dry_run import print_runs
from seglab.script.main import main
from seglab.script.parser import StudyFunction, changed_flags_of, flags_of, parser_of, study_parser
from seglab.study.identity import record

MINE = """
from torch import nn

class Good(nn.Module):
    def forward(self, logits, mask): return logits.mean()

class DiceBCE(Good):
    def __init__(self, alpha: float, beta: float = 1.0): super().__init__()

class Raises(Good):
    def __init__(self, gamma: float = 2.0):
        super().__init__()
        raise ValueError(f"gamma {gamma}: must be at most 1")

class Breaks(Good):
    def __init__(self):
        super().__init__()
        {}["key"]

class Untyped(Good):
    def __init__(self, weight): super().__init__()

def loss(logits, mask): return logits.mean()
"""

SCRIPTS: dict[str, StudyFunction] = {
    "regularization": experiments.regularization.study,
    "batchnorm": experiments.batchnorm.study,
    "freezing": experiments.freezing.study,
    "losses": experiments.losses.study,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's own files."""
    (tmp_path / "own_words.py").write_text(MINE)
    (tmp_path / "broken_words.py").write_text("import nothing_there\n")
    (tmp_path / "syntax_words.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("own_words", "broken_words", "syntax_words"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")

REFUSED = [
    # lists
    ("regularization run --penalties l3", ("--penalties: there is no 'l3'", "hoyer-square")),
    ("regularization run --penalties l1 l2", ("--penalties: a list is one word", "--penalties l1,l2")),
    ("regularization run --penalties []", ("--penalties", "one or more")),
    ("regularization run --penalties l1,l1", ("--penalties", "each name once")),
    ("freezing run --arms frozen", ("--arms", "'full' among them")),
    ("freezing run --arms full,frozen --penalties l2", ("--penalties", "'none' among them")),
    ("losses run --losses dice", ("--losses", "'ce' among them")),
    ("losses run --learning_rates 1e-3 3e-3", ("--learning_rates 1e-3,3e-3",)),
    ("losses run --learning_rates x", ("--learning_rates: expected float, got x",)),
    ("losses run --learning_rates 0", ("--learning_rates [0.0]", "above 0")),
    ("losses run --learning_rates 1e-3,1e-3", ("--learning_rates", "each once")),
    ("losses run --learning_rates []", ("--learning_rates", "one or more")),
    ("regularization run --data.size 48", ("--data.size: expected 2 values", "--data.size 96,128", "got 48")),
    ("regularization run --data.size 48x48", ("--data.size 96,128", "got 48x48")),
    ("regularization run --data.size 48 48", ("--data.size: a list is one word: --data.size 48,48",)),
    ("regularization run --data.size 48,x", ("--data.size: expected int, got x",)),
    # numbers
    ("regularization run --learning_rate 0", ("--learning_rate 0.0: must be above 0",)),
    ("regularization run --learning_rate -1", ("--learning_rate -1.0: must be above 0",)),
    ("regularization run --learning_rate nan", ("--learning_rate: expected float, got nan",)),
    ("batchnorm run --learning_rate 0", ("--learning_rate 0.0: must be above 0",)),
    ("freezing run --learning_rate 0", ("--learning_rate 0.0: must be above 0",)),
    ("regularization run --seeds 0", ("--seeds must be 1 or more",)),
    ("regularization run --seeds 0,1,2", ("--seeds: expected int, got 0,1,2",)),
    ("regularization run --seeds 2000", ("tuning seeds 1000, 1001", "fewer seeds")),
    ("regularization run --tuning_seeds 0", ("tuning_seeds must be 1 or more",)),
    ("regularization run --settings 0", ("--settings 0: must be 1 or more",)),
    ("regularization run --epochs 0", ("epochs 0: must be 1 or more",)),
    ("regularization run --epochs=", ("--epochs: expected int, got an empty word",)),
    ("regularization run --epochs", ("--epochs: a value is missing",)),
    ("regularization run --epochs --seeds 3", ("--epochs: a value is missing",)),
    ("regularization run --jobs x", ("--jobs: expected int, got x",)),
    ("regularization run --jobs 0 --dry_run", ("--jobs 0: must be 1 or more",)),
    ("losses run --boundary_iou maybe", ("--boundary_iou: expected bool, got maybe",)),
    ("regularization run --precision foo", ("--precision: expected one of '32-true', '16-mixed', 'bf16-mixed', '64-true'", "got foo")),
    ("regularization run --precision 16", ("--precision: expected one of '32-true', '16-mixed', 'bf16-mixed', '64-true'", "got 16")),
    pytest.param("regularization run --precision 16-mixed", ("--precision 16-mixed: needs a GPU",), marks=WITHOUT_GPU),
    # strengths
    ("regularization run --ratio 0.1", ("--ratio 0.1", "add --settings 1")),
    ("regularization run --strength 1e-4", ("--strength 0.0001", "add --settings 1")),
    ("regularization run --strength 1e-4 --ratio 0.1 --settings 1", ("--strength", "--ratio 0.1", "one of them")),
    ("regularization run --strength -1 --settings 1", ("--strength -1.0: must be 0 or more",)),
    ("regularization run --ratio -1 --settings 1", ("--ratio -1.0: must be 0 or more",)),
    # classes
    ("regularization run --loss seglab.L2", ("--loss: seglab.L2 is a Regularizer, no torch.nn.Module", "such as seglab.")),
    ("regularization run --loss own_words.Goood", ("--loss: own_words has no class 'Goood'", "did you mean own_words.Good?")),
    ("regularization run --loss own_words.Los", ("it has Good, DiceBCE, Raises, Breaks, Untyped",)),
    ("regularization run --loss Dicee", ("--loss: there is no class 'Dicee'", "did you mean seglab.Dice?")),
    ("regularization run --loss own_words.loss", ("own_words.loss is a function", "extends torch.nn.Module")),
    ("regularization run --loss own_words.DiceBCE", ("own_words.DiceBCE needs alpha; add --loss.alpha FLOAT",)),
    ("regularization run --loss own_words.DiceBCE --loss.alpha x", ("--loss.alpha: expected float, got x",)),
    ("losses run --loss own_words.DiceBCE --loss.alpha x", ("--loss.alpha: expected float, got x",)),
    (
        "regularization run --loss own_words.DiceBCE --loss.alpha 1 --loss.bta 2",
        ("--loss.bta", "no argument 'bta'", "did you mean beta?", "--loss.help own_words.DiceBCE"),
    ),
    ("regularization run --loss.gama 3", ("no argument 'gama'", "--loss.help")),
    ("regularization run --loss own_words.Raises --dry_run", ("--loss own_words.Raises: gamma 2.0: must be at most 1",)),
    (
        "regularization run --loss own_words.Breaks --dry_run",
        ("--loss own_words.Breaks: KeyError: 'key' (", "own_words.py:18, in __init__): correct it there"),
    ),
    ("losses run --loss own_words.Breaks --dry_run", ("--loss own_words.Breaks: KeyError: 'key'",)),
    ("regularization run --loss own_words.Untyped", ("weight of own_words.Untyped has no type", "weight: float")),
    ("regularization run --loss broken_words.Good", ("broken_words cannot be imported", "nothing_there", "broken_words.py, line 1")),
    ("regularization run --loss syntax_words.Good", ("syntax_words cannot be imported: SyntaxError", "line 1")),
    ("regularization run --loss nowhere.Good", ("there is no module 'nowhere'", "working directory")),
    ("regularization run --loss ./own_words.py", ("'./own_words.py' is no import path", "my_file.MyClass")),
    ("regularization run --loss null", ("--loss: null is no class",)),
    ("regularization run --loss torch.nn.Linear", ("--loss.in_features INT", "--loss.out_features INT")),
    ("losses run --data.source CamVid", ("CamVid needs root", "--data.source.root")),
    ("losses run --data.source ImageMaskFolder --data.source.root D", ("num_classes is missing", "--data.source.num_classes INT")),
    ("losses run --data.source Shapes --data.source.num_trian 3", ("--data.source.num_trian", "did you mean num_train?")),
    ("losses launch --launcher slurm", ("--launcher: there is no class 'slurm'", "did you mean Slurm?")),
    ("losses launch --launcher Slurm --launcher.partitoin gpu", ("--launcher.partitoin", "did you mean partition?")),
    ("losses launch --launcher Slurm --launcher.time 4 --dry_run", ("--launcher.time 4: expected hours:minutes:seconds",)),
    ("losses launch --launcher own_words.Good", ("own_words.Good does not extend seglab.Cluster",)),
    # none
    ("freezing run --weights null", ("--weights 'null'", "pretrained weights", "--arms scratch")),
    ("freezing run --weights None", ("--weights 'None'", "pretrained weights")),
    ("batchnorm run --weights none", ("has no weights 'none'", "null in a flag")),
    # flags and verbs
    ("regularization run --penalty l1", ("no flag --penalty of `run`", "did you mean --penalties?")),
    ("regularization run --metric test/miou", ("--metric is a flag of `compare`",)),
    ("regularization compare --epochs 3", ("--epochs is a flag of `run`",)),
    ("regularization status --dry_run", ("--dry_run is a flag of `run`, and not of `status`",)),
    ("regularization run --launcher Slurm", ("--launcher is a flag of `launch`",)),
    ("regularization launch --jobs 2", ("--jobs is a flag of `run`",)),
    ("regularization run --full", ("--full", "add --dry_run")),
    ("regularization run --dry_run true", ("--dry_run takes no value",)),
    ("regularization run --dry_run=true", ("--dry_run takes no value",)),
    ("regularization run epochs=3", ("'epochs=3'", "--epochs=3")),
    ("regularization run stray", ("'stray' belongs to no flag",)),
    ("regularization run -n 3", ("no flag -n",)),
    ("regularization --epochs 3 run", ("name a verb first",)),
    ("regularization", ("name a verb first: run, launch, status, cancel or compare",)),
    ("regularization rum", ("no verb 'rum'", "did you mean run?")),
]


@pytest.mark.parametrize(("typed", "expected"), REFUSED)
def test_a_script_names_the_form_to_type(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], typed: str, expected: tuple[str, ...]
) -> None:
    script, *words = shlex.split(typed)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *words])
    with pytest.raises(SystemExit) as ended:
        main(SCRIPTS[script])
    is_one_line(ended.value.code, *capfd.readouterr(), expected)
    assert not (here / "runs").exists()


COMMANDS = [
    ("", ("name a command: compare, status",)),
    ("comare runs", ("no command 'comare'", "did you mean compare?")),
    ("run", ("'run' is a verb of an experiment's script",)),
    ("launch", ("'launch' is a verb",)),
    ("fit", ("--config fit.yaml", "--model.network CLASS")),
    ("test", ("needs a folder", "seglab test runs/fit/version_0")),
    ("validate", ("needs a folder",)),
    ("validate nowhere extra", ("validate: one folder alone, as in seglab validate nowhere, got 'extra' after it",)),
    ("test a --data.batch_size 2", ("one folder alone", "seglab test --config a/config.yaml --ckpt_path a/checkpoints/last.ckpt")),
    ("compare", ("seglab compare needs RUNS: a study's folder",)),
    ("status a b", ("'b' is one word too many",)),
    ("compare a --metrics x", ("no flag --metrics", "did you mean --metric?")),
    ("compare a --margin x", ("--margin: expected float, got x",)),
    ("status", ("seglab status needs RUNS",)),
    ("prune", ("seglab prune needs CKPT",)),
    ("prune a.ckpt --size 3", ("--size", "--size 256 256")),
    ("check own_words.DiceBCE", ("own_words.DiceBCE needs --alpha FLOAT",)),
    ("check own_words.DiceBCE --alpha 1 --bta 2", ("no flag --bta", "did you mean --beta?")),
    ("check own_words.Los", ("own_words has no class 'Los'", "it has Good")),
    ("check own_words.Breaks", ("KeyError: 'key' (own_words.py, line 18)",)),
    ("check seglab.CrossEntropy --weight x", ("--weight: expected float, got x",)),
    ("fit --loss Dice", ("no flag --loss of `fit`", "did you mean --model.loss?")),
    ("fit --epochs 3", ("--trainer.max_epochs",)),
    ("fit --optimizer SGD", ("no flag --optimizer of `fit`", "--model.optimizer")),
    ("fit --model.loss seglab.L2", ("--model.loss: seglab.L2 is a Regularizer",)),
    ("fit --model.loss own_words.DiceBCE", ("needs alpha; add --model.loss.alpha FLOAT",)),
    ("fit --model.loss syntax_words.Good", ("syntax_words cannot be imported: SyntaxError",)),
    ("fit --model.regularizer l2", ("did you mean seglab.L2?",)),
    ("fit --model.regularizer seglab.L2", ("add --model.regularizer.strength FLOAT",)),
    ("fit --model.optimizer.lr x", ("--model.optimizer.lr: expected float, got x",)),
    ("fit --data.size 48", ("--data.size 96,128",)),
    ("fit --trainer.max-epochs x", ("--trainer.max_epochs: expected int, got x",)),
    ("fit --trainer.devices 1", ("fit needs --model.network CLASS",)),
    ("fit --trainer.accelerator cpu --trainer.logger false --trainer.profiler simple", ("fit needs --model.network CLASS",)),
]


@pytest.mark.filterwarnings(r"ignore:[\s\S]*(JSONARGPARSE_DEPRECATION|deprecated in v4)")
@pytest.mark.parametrize(("typed", "expected"), COMMANDS)
def test_seglab_names_the_form_to_type(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], typed: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sys, "argv", ["seglab", *shlex.split(typed)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    is_one_line(ended.value.code, *capfd.readouterr(), expected)


def is_one_line(code: object, out: str, err: str, expected: tuple[str, ...]) -> None:
    assert code == 2, out + err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    for part in expected:
        assert part in err
    for jargon in ("Parser key", "class_path", "NoneType", "Namespace", "Subtypes", "Traceback", "collections.abc"):
        assert jargon not in err


class Colour(Enum):
    red = 1
    blue = 2


PENALTY = Proximal(L1(1.0))


def every_kind(
    names: Sequence[str] = ("a",),
    numbers: Sequence[float] = (1.0,),
    counts: list[int] | None = None,
    pair: tuple[int, int] | None = (1, 2),
    colours: list[Colour] = [Colour.red],  # noqa: B006 - as a user may write it
    colour: Colour = Colour.red,
    penalties: Sequence[Regularizer] | None = None,
    penalty: Regularizer = PENALTY,
    loss: Callable[[], nn.Module] = CrossEntropy,
    other: Callable[[], nn.Module] | None = None,
    flag: bool = False,
    perhaps: bool | None = None,
    count: int | None = 3,
    text: str | None = None,
    plain: str = "x",
    data: SegmentationDataModule = SegmentationDataModule(Shapes(num_train=16), batch_size=4),
) -> Study:
    """A study of no arms: its flags are tried, and it is not run."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("typed", "name", "expected"),
    [
        ("--names l1", "names", ["l1"]),
        ("--names l1,l2", "names", ["l1", "l2"]),
        ("--names=l1,l2", "names", ["l1", "l2"]),
        ("--names [l1,l2]", "names", ["l1", "l2"]),
        ("--names 1e-3,null", "names", ["1e-3", "null"]),
        ("--numbers 1e-3", "numbers", [1e-3]),
        ("--numbers 1e-3,3e-3", "numbers", [1e-3, 3e-3]),
        ("--counts 1", "counts", [1]),
        ("--counts None", "counts", None),
        ("--counts null", "counts", None),
        ("--counts 010,020", "counts", [10, 20]),
        ("--counts [010]", "counts", [10]),
        ("--count 010", "count", 10),
        ("--numbers 00.5,-01,1e-05", "numbers", [0.5, -1.0, 1e-5]),
        ("--pair 48,96", "pair", (48, 96)),
        ("--pair (48,96)", "pair", (48, 96)),
        ("--pair 48,96,", "pair", (48, 96)),
        ("--pair none", "pair", None),
        ("--colours blue", "colours", [Colour.blue]),
        ("--colours blue,red", "colours", [Colour.blue, Colour.red]),
        ("--flag True", "flag", True),
        ("--flag 1", "flag", True),
        ("--flag yes", "flag", True),
        ("--flag off", "flag", False),
        ("--flag", "flag", True),
        ("--flag --count 4", "flag", True),
        ("--flag --count 4", "count", 4),
        ("--perhaps", "perhaps", True),
        ("--data.cache", "data.cache", True),
        ("--perhaps None", "perhaps", None),
        ("--perhaps no", "perhaps", False),
        ("--count None", "count", None),
        ("--count none", "count", None),
        ("--text none", "text", "none"),
        ("--text null", "text", None),
        ("--text None", "text", "None"),
        ("--plain null", "plain", "null"),
        ("--other None", "other", None),
    ],
)
def test_what_can_be_meant_in_one_way_is_taken(typed: str, name: str, expected: object) -> None:
    parser = study_parser(every_kind)
    found: Any = parser.instantiate(parse(parser, shlex.split(typed)))
    for part in name.split("."):
        found = getattr(found, part)
    assert found == expected


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--count 1:10", "--count: expected a number, got 1:10"),
        ("--counts 1:10,2", "--counts: expected a number, got 1:10"),
        ("--numbers=0:0.5", "--numbers: expected a number, got 0:0.5"),
        ("--colour Blue", "--colour: expected one of red, blue, got Blue"),
        ("--colours red,3", "--colours: expected one of red, blue, got 3"),
    ],
)
def test_what_would_be_another_value_is_refused(typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        parse(study_parser(every_kind), shlex.split(typed))


@pytest.mark.parametrize(
    "typed",
    [
        "--penalties seglab.L2 --penalties.strength 0.5",
        '--penalties \'[{"class_path": "seglab.L2", "init_args": {"strength": 0.5}}]\'',
    ],
)
def test_a_list_of_one_class(typed: str) -> None:
    parser = study_parser(every_kind)
    assert parser.instantiate(parse(parser, shlex.split(typed))).penalties == [L2(0.5)]


@pytest.mark.parametrize(
    ("typed", "short"),
    [
        ("", ""),
        ("--count 3 --names a --pair 1,2", ""),
        ("--count None", "--count null"),
        ("--names a,b", '--names ["a", "b"]'),
        ("--pair null", "--pair null"),
        ("--penalty.inner.strength 0.5", None),
        ("--penalty seglab.L2 --penalty.strength 0.1", "--penalty seglab.L2 --penalty.strength 0.1"),
        ("--loss Dice", "--loss seglab.Dice"),
        ("--loss.label_smoothing 0.1", "--loss.label_smoothing 0.1"),
        ("--loss CrossEntropy --loss.ignore_index 255", ""),
        ("--other CrossEntropy", "--other seglab.CrossEntropy"),
        ("--other CrossEntropy --other.label_smoothing 0.1", None),
        ("--data.batch_size 8 --data.source.num_train 200", None),
        ("--data.source Shapes", None),
        ("--data.source CamVid --data.source.root D --data.size 96,128", None),
        ("--data.augmentation null --plain null --text null", None),
        ("--penalties seglab.L2 --penalties.strength 0.5", None),
        ("--flag yes --perhaps no --colours blue", None),
    ],
)
def test_short_flags_give_the_same_parameters(typed: str, short: str | None) -> None:
    parser = study_parser(every_kind)
    parameters = parse(parser, shlex.split(typed))
    few, every = changed_flags_of(every_kind, parameters), flags_of(every_kind, parameters)
    again = parser.parse_args(few)
    assert flags_of(every_kind, again) == every
    assert short is None or few == tuple(shlex.split(short.replace('["a", "b"]', '\'["a", "b"]\'')))
    assert len(few) < len(every)


@pytest.mark.parametrize(
    ("script", "typed"),
    [
        pytest.param("regularization", "", marks=pytest.mark.slow),
        ("regularization", "--settings 1 --strength 1e-4 --penalties l2,l1 --data.source.image_size 48"),
        pytest.param(
            "regularization",
            "--settings 1 --loss seglab.Tversky --loss.alpha 0.3 --name other --root elsewhere --sync_batchnorm false",
            marks=pytest.mark.slow,
        ),
        pytest.param("batchnorm", "--weights imagenet --batch_norm frozen", marks=pytest.mark.slow),
        ("freezing", "--arms full,frozen --penalties none,l2 --data.train_fraction 0.1"),
        pytest.param(
            "losses",
            "--losses ce,dice --loss Dice --learning_rates 1e-3,3e-3 --data.size 48,48 --data.augmentation null",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_short_commands_of_a_dry_run_are_the_same_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str, typed: str
) -> None:
    def commands(full: bool) -> list[list[str]]:
        print_runs([planned(["run", *shlex.split(typed), "--dry_run"])], full=full)
        return [shlex.split(line) for line in capsys.readouterr().out.splitlines() if line.startswith("python ")]

    def planned(words: Sequence[str]) -> Any:
        function = SCRIPTS[script]
        parser = parser_of(function)
        chosen = parse(parser, words)
        return request.plans_of(function, chosen.run, parser.instantiate(chosen).run)[0]

    monkeypatch.setattr(sys, "argv", [f"experiments/{script}.py"])
    short, full = commands(full=False), commands(full=True)
    assert len(short) == len(full) > 1
    for one, other in ((short[0], full[0]), (short[-1], full[-1])):
        there, here = planned(one[2:]), planned(other[2:])
        assert (there.script.flags, there.folder, there.resources, there.runs) == (
            here.script.flags,
            here.folder,
            here.resources,
            here.runs,
        )
        assert len(shlex.join(one)) < 0.5 * len(shlex.join(other))


def test_a_strength_is_the_penalty_itself_under_the_same_names() -> None:
    given = experiments.regularization.study(settings=1, strength=1e-4, penalties=("l2", "l1"), encoder="tu-test_resnet")
    relative = experiments.regularization.study(settings=1, penalties=("l2", "l1"), encoder="tu-test_resnet")
    assert list(given.arms) == list(relative.arms) == ["none", "l2", "l1"]
    assert [given.factory(arm)().regularizer for arm in given.arms] == [None, L2(1e-4), Proximal(L1(1e-4))]
    mine, theirs = record(given, list(given.arms)), record(relative, list(relative.arms))
    for run, other in zip(given.runs(seed=0), relative.runs(seed=0), strict=True):
        assert (identity(mine, run) == identity(theirs, other)) == (run.arm == "none")


def named_root(root: int = 1, data: SegmentationDataModule = SegmentationDataModule(Shapes())) -> Study:
    raise NotImplementedError


def named_jobs(jobs: int = 1) -> Study:
    raise NotImplementedError


def named_seed(seed: int = 1) -> Study:
    raise NotImplementedError


@pytest.mark.parametrize(("function", "name"), [(named_root, "root"), (named_jobs, "jobs"), (named_seed, "seed")])
def test_a_parameter_with_the_name_of_a_flag_is_refused(function: StudyFunction, name: str) -> None:
    with pytest.raises(ValueError, match=f"parameter '{name}', and --{name} is a flag of every script; rename it"):
        parser_of(function)


MOST = {"run": 110, "launch": 110, "status": 20, "compare": 25, "cancel": 20}


@pytest.mark.parametrize("verb", MOST)
def test_help_fits_on_a_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    monkeypatch.setattr(sys, "argv", ["regularization.py", verb, "--help"])
    with pytest.raises(SystemExit) as ended:
        main(SCRIPTS["regularization"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert out.count("\n") <= MOST[verb]
    assert max(map(len, out.splitlines())) <= 120
    assert "torch.nn" not in out
    if verb == "run":
        assert [out.index(f"\n{group}:\n") for group in ("study", "data", "running")] == sorted(
            out.index(f"\n{group}:\n") for group in ("study", "data", "running")
        )
        for part in ("Tversky", "--epochs INT", "(default: 30)", "or any class by its import path", "COCO, CamVid, Cityscapes"):
            assert part in out
        for flag in ("--penalties", "--data.size", "--arm", "--wandb", "--jobs", "--dry_run", "--full", "--strength"):
            assert f"  {flag}" in out


@pytest.mark.filterwarnings(r"ignore:[\s\S]*(JSONARGPARSE_DEPRECATION|deprecated in v4)")
def test_help_of_fit_fits_on_two(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sys, "argv", ["seglab", "fit", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert out.count("\n") <= 100
    for part in ("--model.network CLASS", "required", "max_epochs", "--data.source CLASS", "Tversky", "HoyerSquare"):
        assert part in out


def test_the_verbs_that_only_run_starts_are_not_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["regularization.py", "--help"])
    with pytest.raises(SystemExit):
        main(SCRIPTS["regularization"])
    out = capsys.readouterr().out
    assert "compare" in out
    assert "work-tuning" not in out
    assert "execute" not in out
