"""What a record says of the machine and the code that computed it."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path


def describe() -> dict:
    """Versions, commit and device of this process."""
    versions = {"python": platform.python_version()}
    for package in ("hw1", "tensorflow", "keras", "numpy", "scipy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, TypeError):  # Not Linux, or a processor without a name.
        cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"versions": versions, "commit": commit(), "device": {"cpu": cpu, "cores": cores}}


def commit() -> str | None:
    """The commit of this code, with "+changes" if a Python file differs from it; None outside its repository."""
    git = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent)]
    commands = [
        ["ls-files", "--error-unmatch", Path(__file__).name],  # fails where another project's repository is around it
        ["rev-parse", "HEAD"],
        ["status", "--porcelain", "--untracked-files=all", "--", "*.py"],
    ]
    try:
        _, head, changes = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True, timeout=30).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changes else head
