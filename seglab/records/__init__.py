"""Names, folders and records of runs. No torch, so that reading results is fast.

A study's folder is `<root>/<study>/`. It holds `study.json` (the settings that all runs share, and the settings of each
arm) and one folder for each run, `<arm>/seed-<n>/`. In this folder `result.json` is written last, atomically: a run
without it is not done.

Both files carry `schema`, the version of their layout. Records of older schemas are read and compared; no run is added
to them.
"""

from seglab.records.names import (
    CROSSING,
    FILES,
    IMAGE_SCORES,
    MEAN,
    SETTING,
    SHIFT,
    TUNING,
    Run,
    arm_and_tuning,
    arm_of_tuning,
    check_name,
    levels_of,
    shifted_seeds,
)
from seglab.records.result import Result, corruption_mean
from seglab.records.storage import (
    has_diverged,
    read_record,
    read_result,
    read_results,
    started_runs,
    write_json,
    write_record,
    write_result,
    write_text,
)
from seglab.records.study import (
    AcceptedEdit,
    Amendment,
    Analysis,
    StudyRecord,
    alike,
    check_schema,
    fingerprint,
    identity,
    identity_of_entry,
    settings_of,
)
from seglab.records.version import CHANGED_BY, NUMERICS, SCHEMA, Changed, changed_since

__all__ = [
    "CHANGED_BY",
    "CROSSING",
    "FILES",
    "IMAGE_SCORES",
    "MEAN",
    "NUMERICS",
    "SCHEMA",
    "SETTING",
    "SHIFT",
    "TUNING",
    "AcceptedEdit",
    "Amendment",
    "Analysis",
    "Changed",
    "Result",
    "Run",
    "StudyRecord",
    "alike",
    "arm_and_tuning",
    "arm_of_tuning",
    "changed_since",
    "check_name",
    "check_schema",
    "corruption_mean",
    "fingerprint",
    "has_diverged",
    "identity",
    "identity_of_entry",
    "levels_of",
    "read_record",
    "read_result",
    "read_results",
    "settings_of",
    "shifted_seeds",
    "started_runs",
    "write_json",
    "write_record",
    "write_result",
    "write_text",
]
