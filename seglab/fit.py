"""`seglab fit`, `test` and `validate`: train and evaluate without a script, by Lightning's command line.

The command line takes seglab's classes.
"""

import copy
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
from jsonargparse import set_parsing_settings
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger
from typing_extensions import override

from seglab.callbacks import FiniteLoss, PredictionPictures, StepRandomness, Throughput, WeightDiagnostics
from seglab.checkpoints import AtomicCheckpoints
from seglab.data import SegmentationDataModule, Shapes
from seglab.fitting.attempt import Attempt
from seglab.fitting.checkpoint import check_fits, read
from seglab.fitting.evaluated import evaluated
from seglab.fitting.folder import new_folder
from seglab.fitting.keeper import FitCheckpoints, take_over_best
from seglab.fitting.loggers import loggers
from seglab.fitting.monitors import check_monitors
from seglab.fitting.narrator import Narrator, described
from seglab.fitting.parser import FitParser
from seglab.fitting.settings import check_same, planned, settings_of
from seglab.fitting.trainer import KeptConfig, listed, trainer_arguments
from seglab.fitting.verbs import TRAINING
from seglab.interruption import Interrupted, Interruption
from seglab.module import SegmentationModule
from seglab.optimizers import AdamW
from seglab.records import fingerprint
from seglab.running.process import run_settings
from seglab.running.trial import TrialSettings, trial_images, try_training
from seglab.script.command_line import parse
from seglab.script.help import Help
from seglab.tracking import described_fit

FOLDER = "runs/fit"


class SeglabCLI(LightningCLI):
    """LightningCLI with seglab's defaults. Network and module take their number of classes from the data.

    Everything that can refuse a command is checked before its folder is made.

    Args:
        attempt: what happens to the command.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.checkpoint_io = AtomicCheckpoints("")
        super().__init__(
            SegmentationModule,
            SegmentationDataModule,
            save_config_callback=KeptConfig,
            parser_class=FitParser,
            seed_everything_default=0,
            auto_configure_optimizers=False,  # its --optimizer would replace the groups by stage, and its --lr_scheduler alone do nothing
            trainer_defaults={
                "use_distributed_sampler": False,
                "num_sanity_val_steps": 0,
                "callbacks": [FiniteLoss(), Throughput(), WeightDiagnostics()],
            },
            parser_kwargs={
                "formatter_class": Help,
                "exit_on_error": False,
                "allow_abbrev": False,
                **{
                    verb: {"exit_on_error": False, "description": f"{TRAINING[verb][0].upper()}{TRAINING[verb][1:]}."}
                    for verb in self.subcommands()
                },
            },
        )

    @override
    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the verb of this command alone, because each verb takes about half a second to prepare."""
        return {verb: arguments for verb, arguments in LightningCLI.subcommands().items() if verb == sys.argv[1]}

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.set_defaults(
            {
                "model.loss": "seglab.losses.CrossEntropy",
                "model.optimizer": {
                    "class_path": "torch.optim.AdamW",
                    "init_args": asdict(AdamW()),
                },  # a parser cannot represent seglab.AdamW here
                "data.source": Shapes(),
            }
        )

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line as an experiment script does, and read the checkpoint that it names.

        Lightning would not check the checkpoint.
        """
        self.config = parse(parser, sys.argv[1:])
        self.attempt.verb = verb = self.config["subcommand"]
        path = self.config[verb].get("ckpt_path")
        if verb != "fit" and (path is None or not Path(path).is_file()):  # Lightning would evaluate the initial weights without a warning
            what = "none is named" if path is None else f"{path} is no file"
            raise ValueError(f"--ckpt_path: {verb} evaluates a checkpoint, such as {FOLDER}/version_0/checkpoints/last.ckpt; {what}")
        self.path = None if path is None else Path(path)
        self.held = None if self.path is None else read(self.path)

    @override
    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        self.datamodule = self.datamodule.with_seed(int(self._given("seed_everything")))

    @override
    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Make the trainer, as yet without loggers.

        A row is logged every ten steps, or at the end of a shorter epoch.
        """
        given = self.config_init[self.subcommand].trainer
        kwargs |= trainer_arguments(given, self.checkpoint_io, self.attempt.interruption)
        if given.log_every_n_steps is None and self.subcommand == "fit":
            kwargs["log_every_n_steps"] = max(1, min(10, len(self.datamodule.train_dataloader()) // given.accumulate_grad_batches))
        self.attempt.trainer = trainer = super().instantiate_trainer(**kwargs)
        return trainer

    def before_fit(self) -> None:
        """Check everything, all samples included, then make the folder of the training."""
        trainer, module, data = self.trainer, self.model, self.datamodule
        check_monitors(trainer, module, data.class_names)
        parts = 1 if self._given("trainer.sync_batchnorm") else trainer.world_size
        settings = settings_of(trainer, module, data, parts)
        if self.path is not None and self.held is not None:
            check_fits(self.held, self.path, module, data)
            check_same(self.held, self.path, settings, module)
        checked = self._checked() if trainer.is_global_zero else ""
        if trainer.is_global_zero and not self._given("trainer.fast_dev_run"):
            self._try_training(parts)
        self.checkpoint_io.identity = fingerprint(settings)
        folder = self._begin(settings)
        saves = folder is not None and self._given("trainer.enable_checkpointing") is not False
        keeper = FitCheckpoints(folder / "checkpoints" if folder is not None and saves else None, settings, self.attempt.interruption)
        self.attempt.keeper = keeper
        if keeper.folder is not None and self.path is not None and self.held is not None and trainer.is_global_zero:
            take_over_best(self.path, self.held, keeper.folder)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        what = described(module, data, settings, folder)
        if self.held is not None:
            what += f"; continues after step {self.held['global_step']} of {self.path}"
        what += f"\n{checked}"
        callbacks += [StepRandomness(data.seed), keeper, Narrator(what, keeper)]
        self.held = None  # frees its memory

    def _try_training(self, batch_norm_parts: int) -> None:
        """Train one step of a copy of the module on the trainer's device, and evaluate one image."""
        trainer, data = self.trainer, self.datamodule
        images = trial_images(data, data.seed, batch_norm_parts, evaluates=trainer.limit_val_batches != 0)
        settings = TrialSettings(planned(trainer, data), trainer.precision, trainer.gradient_clip_val, trainer.strategy.root_device)
        shared = {id(self): self}  # the module's factories know this command, and a copy of its W&B logger would start a run
        try_training(lambda: copy.deepcopy(self.model, dict(shared)), images, settings, self.attempt.interruption)

    def before_test(self) -> None:
        """Check that the checkpoint fits, then make the folder of the evaluation."""
        assert self.path is not None
        assert self.held is not None
        check_fits(self.held, self.path, self.model, self.datamodule)
        self.held = None
        self._begin({})

    def before_validate(self) -> None:
        """Check that the checkpoint fits, then make the folder of the evaluation."""
        self.before_test()

    def after_test(self) -> None:
        """Give the tables of the test to W&B."""
        self.attempt.end = evaluated(self.model, self.datamodule, "test")

    def after_validate(self) -> None:
        """Give the scores of the validation to W&B."""
        self.attempt.end = evaluated(self.model, self.datamodule, "val")

    def _checked(self) -> str:
        """Check all samples, and that the network takes the images.

        Return a sentence on the images' sizes, and notes, each on a line.
        """
        data = self.datamodule.check()
        if data.images is not None:
            self.model.check_images(data.images)
        return "\n".join([data.sizes, *(f"note: {note}" for note in data.notes)])

    def _begin(self, settings: Mapping[str, Any]) -> Path | None:
        """Make the folder with the configuration and the loggers on rank 0; return it, or None for a `fast_dev_run`.

        The other ranks write nothing, and return the root folder.
        """
        given = self.config_init[self.subcommand].trainer
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        if given.fast_dev_run:
            return None
        named: list[Logger] | None = None if given.logger in (None, True) else [] if given.logger is False else listed(given.logger)
        tables = [logger for logger in named or () if type(logger) is CSVLogger]
        root = Path(tables[0].root_dir) if tables else Path(FOLDER if given.default_root_dir is None else given.default_root_dir)
        folder = new_folder(root) if self.trainer.is_global_zero else root
        if not any(isinstance(callback, PredictionPictures) for callback in callbacks):
            callbacks.append(PredictionPictures(folder, self.datamodule.palette, validation=4))
        if not self.trainer.is_global_zero:
            return root  # the first rank alone writes
        self.attempt.folder = folder
        next(callback for callback in callbacks if isinstance(callback, KeptConfig)).write(folder)
        self.trainer.loggers = loggers(named, described_fit(self.attempt.verb, settings, folder, ["seglab", *sys.argv[1:]]))
        return folder

    def _given(self, key: str) -> Any:
        """Return a setting of the subcommand, from the command line or a configuration file."""
        return self.config[self.subcommand].get(key)


def train(interruption: Interruption) -> NoReturn:
    """Run the command line and exit with one of `seglab.exit_codes`."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    sys.path.insert(0, str(Path.cwd()))  # a user's own classes, by import path from the working directory
    os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"  # Lightning 2.6 calls names of before
    os.environ.setdefault("WANDB_SILENT", "true")
    attempt = Attempt(interruption)
    try:
        with run_settings(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
            SeglabCLI(attempt)
            code = attempt.done()
    except Interrupted:
        code = attempt.interrupted()
    except Exception as error:  # noqa: BLE001 - whatever it is, the user reads one line, and finds the traceback in a file
        code = attempt.failed(error)
    sys.exit(code)
