"""One training or evaluation of `seglab fit`, `test` and `validate`: its folder, processes, checkpoints, settings and messages."""
