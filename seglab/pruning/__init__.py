"""Smaller networks with the same outputs, once a penalty has made filters exactly zero."""

from seglab.pruning.program import Written, check_equal, write_pruned
from seglab.pruning.surgery import Cost, Report, prune, prune_with_report

__all__ = ["Cost", "Report", "Written", "check_equal", "prune", "prune_with_report", "write_pruned"]
