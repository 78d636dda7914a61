"""The package as users install it: what the wheel holds, and commands in a folder that knows nothing of this one."""

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import zipfile

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from toys import ROOT

NOT_SHIPPED = (".git", ".venv*", "runs", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


def has_setuptools():
    """Whether this environment can build the wheel; where not, pip fetches setuptools into one of its own."""
    try:
        import setuptools
    except ImportError:
        return False
    return int(setuptools.__version__.split(".")[0]) >= 77


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The path of the wheel, built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "tree", ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    options = ["--no-build-isolation"] * has_setuptools()
    line = [sys.executable, "-m", "pip", "wheel", "--no-deps", *options, "--wheel-dir", str(folder), "./tree"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def contents(wheel):
    """Name in the wheel → its bytes."""
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def metadata(contents, name):
    """The text of a file of the wheel's own folder."""
    (text,) = [value.decode() for path, value in contents.items() if re.fullmatch(rf"hw1-.*\.dist-info/{name}", path)]
    return text


@pytest.mark.parametrize(
    "pattern", ["**/*.py", "data/*.npz", "data/*.md", "report/*.typ", "results/*.csv", "results/*.json"]
)
def test_the_wheel_ships(wheel, contents, pattern):
    """All code, the images, the layouts of the report and the committed results, byte by byte."""
    tree = wheel.parent / "tree"
    paths = list((tree / "hw1").glob(pattern))
    assert paths
    for path in paths:
        assert contents.get(str(path.relative_to(tree))) == path.read_bytes(), path


def test_the_wheel_ships_no_more_than_the_package(contents):
    """Neither tests nor benchmarks, nor what a run leaves behind."""
    assert {name.split("/")[0].partition("-")[0] for name in contents} == {"hw1"}
    assert not [name for name in contents if re.search(r"(^|/)\.|\.tmp$|\.pyc$", name)]


def test_requirements_are_those_of_the_file(contents):
    """Whoever installs the wheel gets what requirements.txt pins."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    found = email.message_from_string(metadata(contents, "METADATA")).get_all("Requires-Dist")
    assert sorted(line for line in found if "extra ==" not in line) == sorted(line for line in lines if line)


def test_the_command_is_an_entry_point(contents):
    """`hw1` runs what `python -m hw1` does."""
    parser = configparser.ConfigParser()
    parser.read_string(metadata(contents, "entry_points.txt"))
    assert dict(parser["console_scripts"]) == {"hw1": "hw1.__main__:main"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python in a folder of its own, with hw1 from the installed wheel alone."""
    target, folder = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("elsewhere")
    line = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    environment = os.environ | {"PYTHONPATH": str(target)}

    def run(*arguments):
        line = [sys.executable, *arguments]
        done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    place = run("-c", "import hw1; print(hw1.__file__)")
    assert place.strip() == str(target / "hw1" / "__init__.py")
    return folder, run


@pytest.mark.slow
def test_a_question_from_the_wheel(installed):
    """Rows, record and figure, far from the repository: the images come with the package, and there is no commit."""
    folder, run = installed
    run("-m", "hw1", "sharpness", "--size=smoke")
    rows = pd.read_csv(folder / "runs" / "sharpness.csv")
    assert set(rows.batch_size[rows.net == "course"]) == {20, 100}
    assert (rows.sharpness > 0).all()
    record = (folder / "runs" / "sharpness.json").read_text()
    assert '"complete": true' in record
    assert '"commit": null' in record
    figures = folder / "runs" / "figures"
    image = matplotlib.image.imread(figures / "sharpness.png")
    assert image.shape[0] > 100
    assert np.ptp(image) > 0.5
    assert (figures / "sharpness.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_a_net_is_measured_from_the_wheel(installed):
    """A net that was built by the installed package and saved."""
    _, run = installed
    run("-c", "from hw1 import models; models.mlp((4,)).save('my_net.keras')")
    sizes = ["--train=200", "--test=200", "--examples=50", "--manifold=2"]
    table = run("-m", "hw1", "measure", "--net=my_net.keras", *sizes)
    values = {line.split()[0]: line.split()[1] for line in table.splitlines()[1:]}
    assert int(values["parameters"]) == 784 * 4 + 4 + 4 * 10 + 10
    assert 1 < float(values["train_loss"]) < 10
    assert float(values["spectral_norm_full"]) > 0
    assert float(values["keskar_subspace"]) >= 0


def test_jobs_from_the_wheel(wheel, installed):
    """The list of questions, and verdicts by the committed results that are shipped."""
    folder, run = installed
    assert "    sharpness  " in run("-m", "hw1", "list")
    results, judged = wheel.parent / "tree" / "hw1" / "results", folder / "judged"
    judged.mkdir()
    for suffix in ("csv", "json"):
        shutil.copy(results / f"random_labels.{suffix}", judged)
    run("-m", "hw1", "claims", "--out=judged")
    made, shipped = ((place / "claims.csv").read_text().splitlines() for place in (judged, results))
    expected = [line.rpartition("hw1/results")[0] for line in shipped if line.startswith("random_labels,")]
    found = [line.rpartition("judged")[0] for line in made[1:]]
    # All but which of them are discoveries, which depends on the other claims.
    assert [line.rpartition(",")[0].rpartition(",")[0] for line in found] == [
        line.rpartition(",")[0].rpartition(",")[0] for line in expected
    ]
