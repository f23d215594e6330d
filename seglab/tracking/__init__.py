"""Log a run's numbers to `metrics.csv` in its folder, the authoritative record, and to Weights & Biases and others.

The other loggers are for viewing only.
"""

from seglab.tracking import tables
from seglab.tracking.artifacts import Kept
from seglab.tracking.config import Circumstances, Described, described, described_fit, wandb_id
from seglab.tracking.csv_log import CSVLog
from seglab.tracking.missing import expect_scores, lacks_rows, log_missing, log_scores
from seglab.tracking.modes import WandbMode, check_mode, not_followed, resolved_mode
from seglab.tracking.run_loggers import conclude, loggers
from seglab.tracking.state import State, read_state
from seglab.tracking.stderr import show_log, shown_log
from seglab.tracking.tables import End
from seglab.tracking.tracker import LightningLogger, TensorBoard, Tracker
from seglab.tracking.wandb_log import OnceLogger
from seglab.tracking.wandb_run import finish, import_wandb

__all__ = [
    "CSVLog",
    "Circumstances",
    "Described",
    "End",
    "Kept",
    "LightningLogger",
    "OnceLogger",
    "State",
    "TensorBoard",
    "Tracker",
    "WandbMode",
    "check_mode",
    "conclude",
    "described",
    "described_fit",
    "expect_scores",
    "finish",
    "import_wandb",
    "lacks_rows",
    "log_missing",
    "log_scores",
    "loggers",
    "not_followed",
    "read_state",
    "resolved_mode",
    "show_log",
    "shown_log",
    "tables",
    "wandb_id",
]
