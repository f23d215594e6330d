"""Put finished runs to W&B: `seglab sync` uploads offline logs, `seglab dashboard` saves a workspace, `seglab report --wandb` a report."""
