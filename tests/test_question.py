"""Questions, with toys: settings and their ranges, what is computed and written, determinism, seeds and splits."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from toys import ROOT, TOY, module_of

from hw1 import question

# Settings


def test_overrides_come_before_the_size_and_that_before_the_defaults(toy):
    """None is the same as not given."""
    settings = question.make_settings(toy, "smoke", sizes=(1, 2), seeds=None)
    assert (settings.sizes, settings.seeds, settings.rate) == ((1, 2), 2, 1e-3)
    assert question.make_settings(toy) == toy.Settings()
    assert question.make_settings(toy, "paper").seeds == 10


def test_unknown_sizes_and_settings(toy):
    """The message has what there is, or what is not."""
    with pytest.raises(ValueError, match="unknown size 'tiny'; the sizes are smoke, report, paper"):
        question.make_settings(toy, "tiny")
    with pytest.raises(TypeError, match="epoch"):
        question.make_settings(toy, epoch=3)


WRONG = {
    "seeds": [(0, "at least 1"), (-1, "at least 1"), (2.0, "whole number"), ("3", "whole"), (True, "whole")],
    "sizes": [
        ((), "different"),
        ((8, 8), "different whole numbers"),
        ((8, 0), "at least 1, such as 8,64"),
        ([8, 64], "tuple"),
        (8, "tuple"),
    ],
    "hidden": [((), "whole numbers of at least 1, such as 30,30"), ((30, 0), "at least 1"), (30, "tuple")],
    "rates": [((0.1, 0.0), "different finite numbers above 0, such as 0.1,0.2"), ((0.1, float("nan")), "finite")],
    "rate": [(0.0, "above 0"), (-1e-3, "above 0"), (float("inf"), "finite"), (float("nan"), "finite"), ("a", "finite")],
    "noise": [(-0.1, "at least 0"), (float("nan"), "finite")],
    "epochs": [(-1, "at least 0"), (1.5, "whole")],
    "scope": [("layer", "one of full, block"), (1, "one of")],
    "label": [("", "some text"), (1, "some text")],
    "bias": [(1, "true or false"), ("yes", "true or false")],
    "train": [(0, "at least 1")],
    "share": [(1.5, "above 0 and at most 1"), (0.0, "above 0"), (float("nan"), "finite")],
    "repeated": [(6, "at most --seeds=5"), (0, "at least 1")],
}


@pytest.mark.parametrize(("name", "value", "right"), [(name, *pair) for name in WRONG for pair in WRONG[name]])
def test_wrong_settings_are_named_with_what_would_be_right(toy, tmp_path, name, value, right):
    """Both where settings are made and where they are used, before any file is."""
    with pytest.raises(ValueError, match=rf"^--{name}=.*: must be .*{right}"):
        question.make_settings(toy, **{name: value})
    with pytest.raises(ValueError, match=rf"^--{name}="):
        question.run_units(toy, toy.Settings(**{name: value}), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_right_settings_pass(toy):
    """The edges of the ranges, and integers where floats are meant."""
    most = {"seeds": 2**31 - 1, "repeated": 2**31 - 1}
    settings = question.make_settings(
        toy, noise=0, epochs=0, rate=1, rates=(1, 2.5), train=1, bias=False, share=1, **most
    )
    assert (settings.rate, settings.rates, settings.train) == (1, (1, 2.5), 1)


# The answer


def test_answer_writes_rows_and_record_and_nothing_else(toy, tmp_path, drawn, capsys):
    """No figure, no message: these are the command's."""
    path = question.run_units(toy, question.make_settings(toy, "smoke"), tmp_path)
    assert path == tmp_path / "toy.csv"
    assert path.read_text() == "size,seed,value\n8,0,2.666667\n8,1,2\n64,0,21.33333\n64,1,16\n"
    about = json.loads((tmp_path / "toy.json").read_text())
    assert about["settings"] == json.loads(json.dumps(question.make_settings(toy, "smoke").__dict__))
    assert about["data"] is None
    assert about["columns"] == toy.COLUMNS
    assert {file.name for file in tmp_path.iterdir()} == {".lock", "toy.csv", "toy.json"}
    assert drawn == []
    assert capsys.readouterr() == ("", "")


def test_answer_tells_of_its_progress(toy, tmp_path):
    """Before the first unit and after each; what is done is not done again."""
    states, settings = [], question.make_settings(toy, "smoke")

    def watch(done, total, unit, seconds):
        assert seconds >= 0
        states.append((done, total, unit))

    question.run_units(toy, settings, tmp_path, watch=watch)
    assert states == [(0, 2, None), (1, 2, {"size": 8}), (2, 2, {"size": 64})]
    states.clear()
    question.run_units(toy, settings, tmp_path, watch=watch)
    assert states == [(2, 2, None)]


def test_units_may_be_divided_by_seed(toy, tmp_path):
    """The rows are the same, and each is a unit; a question whose seeds belong together refuses."""
    toy.Settings = dataclasses.make_dataclass(
        "Settings",
        [("by_seed", bool, question.option(False, "apart"))],
        bases=(toy.Settings, question.Repeated),
        frozen=True,
    )
    whole = question.run_units(toy, question.make_settings(toy, "smoke"), tmp_path / "whole")
    with pytest.raises(ValueError, match="--by_seed: the seeds of toy are computed together; leave it out"):
        question.make_settings(toy, "smoke", by_seed=True)
    toy.BY_SEED = True
    toy.run = lambda settings, data, size: ({"seed": s, "value": size / (3 + s)} for s in settings.all_seeds)
    settings, states = question.make_settings(toy, "smoke", by_seed=True, first_seed=0), []
    apart = question.run_units(toy, settings, tmp_path / "apart", watch=lambda *state: states.append(state[2]))
    assert apart.read_bytes() == whole.read_bytes()
    assert states == [None, *({"size": size, "seed": seed} for size in (8, 64) for seed in (0, 1))]
    with pytest.raises(ValueError, match="by_seed is 'absent' there but True here"):
        question.run_units(toy, settings, tmp_path / "whole")


def test_the_files_may_have_another_name(toy, tmp_path):
    """As a question has in the catalogue whose module was imported under another."""
    assert question.run_units(toy, question.make_settings(toy, "smoke"), tmp_path, "other") == tmp_path / "other.csv"
    assert json.loads((tmp_path / "other.json").read_text())["question"] == "other"


def test_a_unit_that_fails_is_not_written(toy, tmp_path):
    """Not even the rows before the failure; the units before it stay."""

    def run(settings, data, size):
        yield {"seed": 0, "value": 1}
        if size == 64:
            raise RuntimeError("boom")

    toy.run = run
    with pytest.raises(RuntimeError, match="boom"):
        question.run_units(toy, question.make_settings(toy, "smoke"), tmp_path)
    assert (tmp_path / "toy.csv").read_text() == "size,seed,value\n8,0,1\n"


RANDOM = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
import keras, numpy, random
import tensorflow as tf
from tensorflow.python.framework import config
import toys
from hw1 import question
toy, stop = toys.module_of(), 0

def run(settings, data, size):
    if size == stop:
        raise InterruptedError
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1), keras.layers.Dropout(0.5)])
    draws = [random.random(), numpy.random.rand(), tf.random.uniform(()), keras.random.uniform(()),
             model.weights[0][0, 0], tf.reduce_sum(model(tf.ones((9, 3)), training=True))]
    assert config.is_op_determinism_enabled()
    yield from ({"seed": i, "value": float(draw)} for i, draw in enumerate(draws))

toy.run = run
settings = question.make_settings(toy, "report")
whole = question.run_units(toy, settings, sys.argv[2] + "/whole").read_bytes()
for stop in (64, 512, 0):
    try:
        path = question.run_units(toy, settings, sys.argv[2] + "/parts")
    except InterruptedError:
        random.random(), numpy.random.rand(), tf.random.uniform(()), keras.random.uniform(())
print(json.dumps([whole.decode(), path.read_bytes().decode()]))
"""


def test_random_numbers_do_not_depend_on_where_a_run_was_resumed(tmp_path):
    """Seven sources without a seed of their own, from Python's to dropout's; determinism of TensorFlow is on."""
    line = [sys.executable, "-c", RANDOM, str(ROOT), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, parts = json.loads(done.stdout)
    assert whole == parts
    assert whole.count("\n") == 1 + 3 * 6


# Data, seeds and splits


def write_images(path):
    """Thirty tiny images of three classes for training and as many for testing."""
    path.parent.mkdir(exist_ok=True)
    images, labels = np.arange(120, dtype=np.uint8).reshape(30, 2, 2), np.arange(30) % 3
    np.savez(path, x_train=images, y_train=labels, x_test=images + 120, y_test=labels)
    return str(path)


@pytest.mark.parametrize(("train", "test"), [(None, None), (20, 10)])
def test_data_are_loaded_and_recorded_without_their_folder(toy, tmp_path, train, test):
    """As large as the fields train and test say; the same file in another folder makes the same run."""
    fields = """
    data: str = option("mnist10k", "data set")
    test: int | None = option(None, "number of tests")
    splits: str = option("seed", "division")
    seeds: int"""
    module, seen = module_of(TOY.replace("\n    seeds: int", fields, 1)), []
    module.run = lambda settings, data, size: seen.append(data) or [{"seed": 0, "value": len(data.of(0).x_train)}]
    for place in ("one", "two"):
        path = write_images(tmp_path / place / "tiny.npz")
        settings = question.make_settings(module, data=path, sizes=(8,), train=train, test=test)
        question.run_units(module, settings, tmp_path / "runs")
    assert len(seen) == 1
    text = (tmp_path / "runs" / "toy.json").read_text()
    expected = {"name": "tiny.npz", "sha256": seen[0].sha256, "train": train or 30, "test": test or 30}
    expected |= {"classes": 3, "shape": [2, 2], "chance": 1 / 3}
    assert json.loads(text)["data"] == expected
    assert json.loads(text)["settings"]["data"] == "tiny.npz"
    assert len(seen[0].of(0).x_train) == expected["train"]
    assert str(tmp_path) not in text


IMAGES = '''
import dataclasses
from hw1 import question

@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Nothing of its own."""

SIZES = {"smoke": {}, "report": {}, "paper": {}}
COLUMNS = {"rows": ["seed", "first", "last"]}

def units(settings):
    return [{}]

def run(settings, data):
    for seed in settings.all_seeds:
        x = data.of(seed).x_train
        yield {"seed": seed, "first": x[0, 0, 0], "last": x[-1, 0, 0]}
'''


@pytest.fixture
def images(toy, tmp_path):
    """Answers a question of two seeds whose rows are pixels; gives the rows below the header."""
    module, path = module_of(IMAGES, "images"), write_images(tmp_path / "data" / "tiny.npz")

    def answer(out, **overrides):
        settings = question.make_settings(module, data=path, **{"train": 20, "test": 10, "seeds": 2} | overrides)
        return question.run_units(module, settings, tmp_path / out).read_text().splitlines()[1:]

    return answer


def test_seeds_count_from_the_first(images):
    """A seed's row does not depend on what other seeds there are; and seeds draw images of their own."""
    rows = images("0", seeds=6)
    assert [line.split(",")[0] for line in rows] == list("012345")
    assert images("2", first_seed=2, seeds=3) == rows[2:5]
    assert len({line.partition(",")[2] for line in rows}) > 3


def test_a_fixed_split_is_the_same_for_every_seed(images):
    """All training images of the data set in their order."""
    rows = images("fixed", splits="fixed", train=30)
    assert [line.split(",", 1) for line in rows] == [[seed, f"0,{116 / 255:.7g}"] for seed in "01"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"first_seed": 100}, "first_seed is 0 there but 100 here"),
        ({"splits": "fixed"}, "splits is 'seed' there but 'fixed' here"),
        ({"seeds": 3}, "seeds is 2 there but 3 here"),
    ],
)
def test_other_seeds_and_other_splits_are_another_run(images, tmp_path, changed, named):
    """Their rows are never mixed; the record stays as it was."""
    images("runs")
    before = (tmp_path / "runs" / "images.json").read_bytes()
    with pytest.raises(ValueError, match="records another run") as caught:
        images("runs", **changed)
    assert named in str(caught.value)
    assert (tmp_path / "runs" / "images.json").read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"first_seed": -1}, "--first_seed=-1: must be a whole number of at least 0"),
        ({"splits": "random"}, "--splits=random: must be one of seed, fixed"),
        ({"train": 51, "test": 10}, "train is 51 and test 10, but .*tiny.npz holds 60 images"),
    ],
)
def test_seeds_and_splits_that_there_are_not(images, wrong, right):
    """The message has what would be right."""
    with pytest.raises(ValueError, match=right):
        images("runs", **wrong)
