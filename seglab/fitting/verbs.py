"""The verbs of `seglab` that train or evaluate one module. No torch."""

TRAINING = {
    "fit": "train one module from flags or a YAML file",
    "test": "evaluate a run's folder, or a checkpoint, on the test split",
    "validate": "evaluate a run's folder, or a checkpoint, on the validation split",
}
"""Purpose of each verb."""
