"""Every long operation as a job: queued, kept, run in a process of its own, cancelled, run again."""
