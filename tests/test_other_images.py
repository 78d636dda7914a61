"""Every question on images of other sizes, channels and labels, and settings that do not suit the images.

Settings are made for every question and set. A unit is run of some of the questions that do more with images than to
give them to a dense net; with EVERY_CASE=1 in the environment, all questions are answered on all sets.
"""

import itertools

import cases
import numpy as np
import other_images
import pytest

from hw1 import catalogue, claims, command, datasets, question, records
from hw1.landscape import evidence, large_batch

QUESTIONS = other_images.questions()
PAIRS = [*itertools.product(QUESTIONS, other_images.SETS)]
UNITS = {  # question → set and number of the unit
    "actual_task": ("small", 2),  # convolutions on small images
    "gd_vs_sgd": ("colour", 4),  # colour
    "evidence": ("letters", 0),
    "label_noise": ("letters", 1),
    "ingredients": ("colour", 0),
    "reparametrization": ("colour", 0),  # another pool
    "spectrum": ("small", 0),  # classes
    "flatness": ("colour", -1),
    "large_batch": ("small", 2),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Name → path of each set."""
    folder = tmp_path_factory.mktemp("sets")
    return {name: other_images.write(folder, name) for name in other_images.SETS}


def prepared(name, path, size="smoke", **options):
    """A question's settings for a data set, and what is recorded of the data."""
    module = catalogue.experiment(name)
    settings = question.make_settings(module, size, **(other_images.given(name, path) | options))
    settings, (_, about) = question.prepare(module, settings)
    return settings, about


@pytest.mark.parametrize(("name", "images"), PAIRS)
def test_settings_suit_the_images_or_are_replaced(paths, name, images):
    """Before anything is trained; what is replaced is said, and what the file calls its classes is recorded."""
    settings, about = prepared(name, paths[images])
    labels = other_images.SETS[images][2]
    assert about["shape"] == other_images.SHAPES[images]
    assert about["classes"] == len(labels)
    assert about["chance"] == pytest.approx(1 / len(labels), rel=0.05 if settings.splits == "seed" else 0.5)
    assert about.get("labels") == ({"letters.npz": list(labels)} if images == "letters" else None)
    assert not any(length % getattr(settings, "pool", 1) for length in about["shape"][:2])
    said = " ".join(about.get("notes", ()))
    assert ("divided by 16" in said) == (images == "small")
    assert ("channels first" in said) == (images == "colour")
    assert ("numbered from 0" in said) == (images == "letters")
    before = question.make_settings(catalogue.experiment(name), "smoke", **other_images.given(name, paths[images]))
    changed = [
        field for field in ("pool", "test", "top", "images") if getattr(before, field, 0) != getattr(settings, field, 0)
    ]
    assert all(f"--{field}=" in said for field in changed)


@pytest.mark.parametrize("name", cases.some(UNITS, 5))
def test_a_unit_runs_on_other_images(paths, name):
    """With one seed, or the fewest that it takes: the columns of its rows, without a missing value."""
    module, (images, number) = catalogue.experiment(name), UNITS[name]
    fewest = next(field for field, *_ in question.fields(module.Settings) if field.name == "seeds").metadata["minimum"]
    settings, _ = prepared(name, paths[images], seeds=fewest or 1)
    data, _ = question.load_data(settings)
    unit = module.units(settings)[number]
    rows = list(module.run(settings, data, **unit))
    assert any("table" not in row for row in rows)
    for row in rows:
        table = row.pop("table", records.ROWS)
        if row.get("status") != "diverged":
            assert {*unit, *row} == {*module.COLUMNS[table]}
            assert not any(value != value for value in row.values())


@pytest.mark.slow  # an hour
@pytest.mark.parametrize(("name", "images"), PAIRS)
def test_every_question_runs_on_other_images(paths, tmp_path, name, images):
    """To its rows, without a missing value, its figure, its claims and its comment."""
    module, finding = catalogue.experiment(name), catalogue.finding(name)
    settings = question.make_settings(module, "smoke", **other_images.given(name, paths[images]))
    command.answer(module, settings, tmp_path)
    frame, recorded = records.read(tmp_path, name), records.settings(tmp_path, name)
    assert records.about(tmp_path, name)["complete"]
    assert "status" not in frame or not frame[frame.status != "diverged"].isna().any().any()
    assert list((tmp_path / "figures").glob("*.png"))
    tables = records.tables(tmp_path, name)
    claimed = list(finding.claims(frame, recorded, **tables))
    assert bool(claimed) == (len(claims.judge(records.COMMITTED, [name])) > 0)
    assert finding.comment(frame, recorded, **tables)["comment"]


# Settings that do not suit the images


@pytest.mark.parametrize(
    ("pool", "shape", "found"),
    [
        (4, (28, 28), 4),
        (4, (32, 32, 3), 4),
        (7, (32, 32, 3), 8),
        (14, (32, 32), 16),
        (14, (8, 8, 1), 4),
        (7, (8, 8), 2),
        (4, (30, 30), 3),
        (4, (31, 31), 1),
        (4, (28, 30), 2),
        (1, (64, 64), 1),
    ],
)
def test_a_default_pool_is_the_largest_that_tiles(pool, shape, found):
    """Of those that leave at least as many pixels on a side as on images of 28 × 28."""
    assert datasets.tiling(pool, [shape]) == found


def test_a_pool_that_is_given_is_refused_by_name(paths):
    """It is no default of any size; a default is replaced, with a word."""
    with pytest.raises(ValueError, match=r"--pool=3: squares .* do not tile images of 32 × 32; give --pool=2"):
        prepared("reparametrization", paths["colour"], pool=3)
    settings, about = prepared("reparametrization", paths["colour"])
    assert settings.pool == 8
    assert (
        "--pool=7 is a default; squares of this side do not tile images of 32 × 32: --pool=8 is taken" in about["notes"]
    )
    both = tuple(str(paths[name]) for name in ("letters", "colour"))
    assert prepared("spectrum", paths["letters"], data=both)[0].pool == 4  # 7 does not tile the second


def test_fewer_images_than_the_default_asks_for(paths):
    """With --train alone, all others are test images; what else is too large is named."""
    settings, about = prepared("random_labels", paths["letters"], "report", train=300)
    assert (settings.train, settings.test, about["test"]) == (300, 600, 600)
    assert "--test=2000 is a default; only 600 images are left for testing: --test=600 is taken" in about["notes"]
    with pytest.raises(ValueError, match=r"--train=300 --test=601: .*600 are left for testing"):
        prepared("random_labels", paths["letters"], "report", train=300, test=601)
    with pytest.raises(ValueError, match=r"--train=900 --test=2000"):
        prepared("random_labels", paths["letters"], "report", train=900)
    with pytest.raises(ValueError, match=r"^--batch_sizes=.*must be at most --train=300"):
        prepared("sharpness", paths["letters"], "report", train=300)


def test_fixed_splits_of_fewer_test_images(paths):
    """The data set's own test images, as many as there are."""
    settings, about = prepared("random_labels", paths["colour"], "report", train=300, splits="fixed")
    assert settings.test == about["test"] == 450


def test_defaults_for_ten_classes_on_others(paths):
    """Numbers of classes, of outliers and of images of a class."""
    assert prepared("spectrum", paths["letters"])[0].top == 52
    assert prepared("spectrum", paths["small"])[0].class_counts == (2,)
    with pytest.raises(ValueError, match=r"--top=25: it must be above 26, .*give --top=52"):
        prepared("spectrum", paths["letters"], top=25)
    settings, _ = prepared("evidence", paths["letters"])
    data, _ = question.load_data(settings)
    counts = [np.bincount(data.of(seed).y_train)[:2].min() for seed in settings.all_seeds]
    assert settings.images == 2 * min(counts) < question.make_settings(evidence, "smoke").images


# Settings in whatever order and form


def test_pairs_are_sorted():
    """The smaller is what the question calls the smaller."""
    settings = question.make_settings(
        catalogue.experiment("interpolation"), batch_sizes=(200, 10), learning_rates=(0.1, 0.01)
    )
    assert (settings.batch_sizes, settings.learning_rates) == ((10, 200), (0.01, 0.1))
    assert question.make_settings(large_batch, batch_sizes=(500, 25)).batch_sizes == (25, 500)


@pytest.mark.parametrize("text", ["30,20", "30-20", " 30, 20"])
def test_widths_are_written_alike(text):
    """As the names of nets are, or with commas."""
    assert question.read(text, int, True) == (30, 20)


@pytest.mark.parametrize("text", ["-5", "5-", "5--3", "5,-3", "5-x"])
def test_what_is_no_tuple_of_widths_stays_to_be_refused(text):
    """A minus sign is no hyphen."""
    assert question.read(text, int, True) not in ((5,), (5, 3))


def test_the_value_of_white_is_a_flag(paths):
    """Recorded where it is given, and nowhere else, so that older records can be gone on with."""
    settings, about = prepared("random_labels", paths["small"], pixels=32.0)
    assert "divided by 32" in " ".join(about["notes"])
    assert settings.pixels == 32
    with pytest.raises(ValueError, match=r"--data=.*not from 0 to --pixels=8"):
        prepared("random_labels", paths["small"], pixels=8.0)


def test_a_command_says_what_was_done(paths, tmp_path, capsys, monkeypatch, drawn):
    """One line for each note, before the work begins."""
    monkeypatch.setattr(question, "run_units", lambda *arguments: None)
    module = catalogue.experiment("reparametrization")
    command.main(module, ["", "--size=smoke", f"--data={paths['colour']}", f"--out={tmp_path}"])
    assert capsys.readouterr().err.splitlines() == [
        "reparametrization: colour.npz: the images have their 3 channels first; they are put last",
        "reparametrization: --pool=7 is a default; squares of this side do not tile images of 32 × 32: "
        "--pool=8 is taken",
    ]
