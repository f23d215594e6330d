"""Log the numbers of a run: to `metrics.csv` in the run's folder, which is the truth, and to Weights & Biases, which is for looking."""

from seglab.tracking.csv_log import CSVLog
from seglab.tracking.modes import WandbMode, check_mode, resolved_mode
from seglab.tracking.run_loggers import loggers
from seglab.tracking.stderr import show_log, shown_log
from seglab.tracking.wandb_log import OnceLogger, finish, wandb_id

__all__ = ["CSVLog", "OnceLogger", "WandbMode", "check_mode", "finish", "loggers", "resolved_mode", "show_log", "shown_log", "wandb_id"]
