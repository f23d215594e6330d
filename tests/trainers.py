"""A real trainer for tests that need one step."""

import lightning as L


def quiet_trainer(**settings: object) -> L.Trainer:
    """A real trainer that logs and prints nothing."""
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
    }
    return L.Trainer(**(defaults | settings))  # type: ignore[arg-type]
