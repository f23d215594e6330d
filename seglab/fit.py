"""`seglab fit`, `test` and `validate`: train and evaluate without a script, by Lightning's command line on seglab's classes."""

import os
import sys
import warnings
from argparse import ArgumentError
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
from jsonargparse import set_parsing_settings
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from typing_extensions import override

from seglab.callbacks import FiniteLoss, NonFiniteLossError, Throughput, WeightDiagnostics
from seglab.data import SegmentationDataModule, Shapes
from seglab.exit_codes import BAD_INPUT, DONE, FAILED
from seglab.module import SegmentationModule
from seglab.optimizers import AdamW
from seglab.script.errors import one_line
from seglab.script.help import Help
from seglab.script.words import parse
from seglab.tracking import resolved_mode, show_log

FOLDER = "runs/fit"


class SeglabCLI(LightningCLI):
    """LightningCLI with seglab's defaults. Network and module take their number of classes from the data."""

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
        """Parse the command line as an experiment script does: one dialect, and the same words for what cannot be parsed."""
        self.config = parse(parser, sys.argv[1:])

    @override
    def instantiate_classes(self) -> None:
        self._check_checkpoint()
        super().instantiate_classes()
        seed = self._given("seed_everything")
        self.datamodule = self.datamodule.with_seed(int(seed))

    @override
    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Make the trainer. Seglab's plugin replaces `sync_batchnorm`, which drops the activation in timm's batch norms."""
        if self._given("trainer.sync_batchnorm"):
            from seglab.networks.batch_norm import JointBatchNorm  # imports timm, for which `--help` must not wait

            plugins = self.config_init[self.subcommand].trainer.plugins
            given = plugins if isinstance(plugins, list) else [] if plugins is None else [plugins]
            kwargs |= {"sync_batchnorm": False, "plugins": [*given, JointBatchNorm()]}
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """Check all samples on rank 0, so that a bad sample is found before the training. A study checks before it starts its runs."""
        if self.trainer.is_global_zero:
            self.datamodule.check()

    def _given(self, key: str) -> Any:
        """Return a setting of the subcommand, from the command line or a configuration file."""
        return self.config[self.subcommand].get(key)

    def _check_checkpoint(self) -> None:
        """Check that an evaluation has a checkpoint. Lightning would evaluate the initial weights without a warning."""
        path = self._given("ckpt_path")
        if self.subcommand != "fit" and (path is None or not Path(path).is_file()):
            what = "none is named" if path is None else f"{path} is no file"
            raise ValueError(
                f"--ckpt_path: {self.subcommand} evaluates a checkpoint, such as {FOLDER}/version_0/checkpoints/last.ckpt; {what}"
            )


def train() -> NoReturn:
    """Run the command line and exit: 0 done, 1 the training failed, 2 bad input."""
    show_log()
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    sys.path.insert(0, str(Path.cwd()))  # a user's own classes, by import path from the working directory
    os.environ["WANDB_MODE"] = resolved_mode("auto")
    project = os.environ.get("WANDB_PROJECT", "seglab")
    best = ModelCheckpoint(filename="best", monitor="val/miou", mode="max", save_last=True, auto_insert_metric_name=False)
    defaults = {
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
        "callbacks": [FiniteLoss(), Throughput(), WeightDiagnostics(), best],
        "logger": [
            {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": FOLDER, "name": ""}},
            {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"save_dir": FOLDER, "project": project}},
        ],
    }
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message="The .srun. command is available")
            SeglabCLI(
                SegmentationModule,
                SegmentationDataModule,
                seed_everything_default=0,
                auto_configure_optimizers=False,  # Lightning's --optimizer would replace the module's, which knows the stages
                trainer_defaults=defaults,
                parser_kwargs={
                    "formatter_class": Help,
                    "exit_on_error": False,
                    "allow_abbrev": False,
                    **{name: {"exit_on_error": False} for name in ("fit", "validate", "test", "predict")},
                },
            )
    except (ValueError, ArgumentError, ImportError, OSError, MisconfigurationException) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except NonFiniteLossError as error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(FAILED)
    sys.exit(DONE)
