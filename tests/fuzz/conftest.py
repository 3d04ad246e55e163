"""What runs in a process of its own is no test."""

collect_ignore = ["mutations.py", "run.py", "samples.py"]
