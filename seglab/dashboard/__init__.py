"""Send finished runs to W&B.

`seglab sync` uploads offline logs, `seglab dashboard` saves a workspace, and `seglab report --wandb` saves a report.
"""
