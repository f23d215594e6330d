"""Training or evaluation by `seglab fit`, `test` or `validate`: folder, processes, checkpoints, settings, messages."""
