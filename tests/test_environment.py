"""What a record says of machine and code: versions, device, commit."""

import json
import platform
import socket
import subprocess

import numpy as np
from toys import ROOT

from hw1 import environment


def git(folder, *arguments):
    """Runs git in the folder, as somebody."""
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_versions_and_device_without_paths_and_names():
    """The package's own version where it is installed; no path and no host name."""
    found = environment.describe()
    assert set(found) == {"versions", "commit", "device"}
    assert set(found["versions"]) - {"hw1"} == {"python", "tensorflow", "keras", "numpy", "scipy"}
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["numpy"] == np.__version__
    assert set(found["device"]) == {"cpu", "cores"}
    assert found["device"]["cpu"]
    assert found["device"]["cores"] >= 1
    text = json.dumps(found)
    assert str(ROOT) not in text
    assert socket.gethostname() not in text


def test_commit_and_changes(tmp_path, monkeypatch):
    """No repository, no commit, clean, results beside it, changed code, no git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)  # Set while git runs a hook.
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    assert environment.commit() is None
    (tmp_path / "environment.py").write_text("x = 1\n")
    git(tmp_path, "init")
    assert environment.commit() is None
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "core.hooksPath=/dev/null", "commit", "-m", "one")
    clean = environment.commit()
    assert len(clean) == 40
    (tmp_path / "toy.csv").write_text("results change no code\n")
    assert environment.commit() == clean
    (tmp_path / "environment.py").write_text("x = 2\n")
    assert environment.commit() == f"{clean}+changes"
    monkeypatch.setenv("PATH", "")
    assert environment.commit() is None


def test_another_projects_repository_is_not_that_of_this_code(tmp_path, monkeypatch):
    """The package may be installed below a repository that knows nothing of it."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init")
    (tmp_path / "theirs.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "core.hooksPath=/dev/null", "commit", "-m", "one")
    (tmp_path / "environment.py").write_text("x = 1\n")
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    assert environment.commit() is None
