"""Schedulers: submitting jobs, and what a job knows about itself."""
