"""Is there a barrier between two nets of your own? Loss and error on the line between them and on a path around it.

    hw1 paths --net=a.keras --net=b.keras               a few minutes for 15,910 parameters on two cores
    hw1 paths --net=a.keras --net=b.keras --data=fashion10k --bezier --out=between
    python -m hw1.barriers --net=a.keras --net=b.keras  the same as the first

Both nets must be of one architecture, take the images of the data set (pixels in [0, 1], or those times --pixels) and
output logits; of nets that end in a softmax, --probabilities takes that off. Files, images, labels and --raw are as for
`hw1 measure`. The curves go from the first net to the second:

    line      the straight line (1 − α) θ_a + α θ_b
    matched   the straight line to the second net with its hidden units in another order, that which brings it nearest
              to the first by weights: the same function, another point (`hw1.measures.alignment`)
    string    a path of low training loss, by the string method (`hw1.measures.paths.string`)
    bezier    with --bezier, a smooth path of low mean training loss, by a Bézier curve (`hw1.measures.paths.bezier`)

With L the mean softmax cross-entropy in nats, the barrier on a curve is the largest L on it less that of the worse end;
likewise for the error, the share of wrong answers. Both are given for all training and all test images, from --points
points of a curve or more. Between these L may be higher: the value is a lower bound of the barrier on this curve. What
a search finds is an upper bound of the lowest barrier on all paths. More --pivots, --steps and --cycles may lower it.
In nets with batch normalisation the statistics are those of the training images at every point, the ends included.

Where layers cannot be permuted, the row "matched" names one, and the other rows are measured all the same. Layers that
give the outputs keep their order always. --out gets `paths.csv` (the curves), `paths.json` (barriers, settings,
versions) and `figures/paths.png` and `.pdf`.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from hw1 import command, environment, files, inputs, saved
from hw1.findings import style

TITLES = {"line": "straight line", "matched": "units matched", "string": "string method", "bezier": "Bézier curve"}
COLUMNS = ["curve", "position", "length", "train_loss", "train_error", "test_loss", "test_error"]
NORMALISED = "batch normalisation has the statistics of the training images at every point, in both nets too"
_CHECKED = 200  # images on which a net is compared with itself after a permutation


class Curve(NamedTuple):
    """Loss and error on a curve between two nets.

    Attributes:
        name: "line", "matched", "string" or "bezier".
        train: the `hw1.measures.interpolation.Barrier` on the training images; None if there is no such curve.
        test: that on the test images, likewise.
        note: what else is to be said, such as which layers were permuted, or why there is no such curve.
    """

    name: str
    train: object
    test: object
    note: str = ""


def between(
    model_a,
    model_b,
    data,
    points: int = 200,
    pivots: int = 10,
    steps: int = 300,
    cycles: int = 4,
    learning_rate: float = 0.01,
    batch_size: int | None = None,
    bezier: bool = False,
    seed: int = 0,
    pixels: float = 1.0,
) -> Iterator[Curve]:
    """Yields the curves between two nets one by one, and shows on stderr what is being computed.

    Everything is checked before the first is measured.

    Args:
        model_a: a built Keras model that outputs logits.
        model_b: another of the same architecture.
        data: as returned by `hw1.datasets.load`.
        points: at which a curve is measured, or more: at least 10 parts of each segment.
        pivots: of the string at first, see `hw1.measures.paths.string`.
        steps: in each cycle of the string method; the Bézier curve gets `steps` · `cycles`.
        cycles: of the string method.
        learning_rate: of both searches.
        batch_size: images in each step of both; None for all training images.
        bezier: whether to look for a Bézier curve too.
        seed: of both searches.
        pixels: what the models expect of a white pixel; the images, in [0, 1], are multiplied by it.

    Raises:
        TypeError, ValueError: the models do not fit the data or each other, are equal, or a search diverges.
    """
    from hw1.measures import interpolation, paths

    (train, test), _ = (inputs.parts(data, model, pixels) for model in (model_a, model_b))
    problem = interpolation.between_models(model_a, model_b, *train)
    if all(np.array_equal(*pair) for pair in zip(model_a.get_weights(), model_b.get_weights(), strict=True)):
        raise ValueError("the two nets are equal, weight for weight: no path leads from one to the other")
    end, note = _matched(model_a, model_b, train[0][:_CHECKED])

    def measured(name, end=model_b, path=None, note=""):
        segments = 1 if path is None else len(path.points) - 1
        options = {"path": path, "per_segment": max(10, -(-points // segments)), "statistics_x": train[0]}
        sets = {"training": train, "test": test}
        return Curve(
            name,
            *(
                interpolation.barrier(model_a, end, *part, **options, progress=f"{TITLES[name]}, {images} images")
                for images, part in sets.items()
            ),
            note,
        )

    yield measured("line", note="" if interpolation.statistics(problem) is None else NORMALISED)
    yield Curve("matched", None, None, note) if end is None else measured("matched", end, note=note)
    options = {"learning_rate": learning_rate, "batch_size": batch_size, "seed": seed}
    found = paths.string(
        model_a, model_b, *train, pivots=pivots, steps=steps, cycles=cycles, progress="string method", **options
    )
    yield measured("string", path=found)
    if bezier:
        found = paths.bezier(model_a, model_b, *train, steps=steps * cycles, progress="Bézier curve", **options)
        yield measured("bezier", path=found)


def _matched(model_a, model_b, x) -> tuple:
    """The second net with its units matched to the first, or None; and a note."""
    from hw1.measures import alignment
    from hw1.measures.units import Graph

    try:
        matched = alignment.match(model_a, model_b, x)
    except ValueError as error:
        return None, command.describe(error)
    moving, kept = Graph(matched, [x[:1].astype(matched.inputs[0].dtype)]).split()
    if not moving:
        return None, "there are no hidden units that may be permuted"
    return matched, f"units of {', '.join(moving)} permuted; {', '.join(kept)} in their order"


def _positions(curve) -> np.ndarray:
    """Of the points, as shares of the curve's length; evenly spread if that is 0, as between two orders of one net."""
    length = curve.train.arc_length
    return length / length[-1] if length[-1] else np.linspace(0, 1, len(length))


def rows(curves: list[Curve]) -> list[dict]:
    """A row for each measured point, with the columns `COLUMNS`; the position is a share of the curve's length."""
    found = []
    for curve in curves:
        if curve.train is None:
            continue
        columns = [_positions(curve), curve.train.arc_length]
        for part in (curve.train, curve.test):
            columns += [part.loss, 1 - part.accuracy]
        found += [
            dict(zip(COLUMNS, (curve.name, *map(float, values)), strict=True)) for values in zip(*columns, strict=True)
        ]
    return found


def barriers(curves: list[Curve]) -> dict[str, dict]:
    """Curve → note, length, number of points, and of both sets the barriers and the losses and errors of its ends."""
    found = {}
    for curve in curves:
        found[curve.name] = {"note": curve.note}
        if curve.train is not None:
            found[curve.name] |= {"length": float(curve.train.arc_length[-1]), "points": len(curve.train.loss)}
        for name, part in (("train", curve.train), ("test", curve.test)):
            if part is not None:
                found[curve.name] |= {
                    f"{name}_loss_barrier": part.loss_barrier,
                    f"{name}_error_barrier": part.error_barrier,
                    f"{name}_loss_of_ends": part.loss[[0, -1]].tolist(),
                    f"{name}_error_of_ends": (1 - part.accuracy[[0, -1]]).tolist(),
                }
    return found


def table(curves: list[Curve], names: list[str]) -> str:
    """Both nets and the barrier on each curve as aligned text, with the notes below."""
    line, found = curves[0], barriers(curves)
    cells = [("", "length", "train loss", "train error", "test loss", "test error")]
    for end, name in zip((0, -1), names, strict=True):
        values = ((part.loss[end], 1 - part.accuracy[end]) for part in (line.train, line.test))
        cells.append((name, "", *_cells(values)))
    cells.append(("barriers",) + 5 * ("",))
    for name, about in found.items():
        if "length" not in about:
            cells.append((TITLES[name],) + 5 * ("–",))
            continue
        values = ((about[f"{part}_loss_barrier"], about[f"{part}_error_barrier"]) for part in ("train", "test"))
        cells.append((TITLES[name], f"{about['length']:.4g}", *_cells(values)))
    notes = [f"{TITLES[name]}: {about['note']}" for name, about in found.items() if about["note"]]
    return "\n".join([command.aligned(cells), *notes])


def _cells(values) -> list[str]:
    """Losses to four digits, errors in per cent."""
    return [text for loss, error in values for text in (f"{loss:.4g}", f"{error:.2%}")]


def figure(points: list[dict], names: list[str]) -> Figure:
    """Loss and error along the curves; solid on the training images, dashed on the test images, the ends marked.

    Args:
        points: as `rows` gives them.
        names: of the two nets.
    """
    fig, panels = style.figure(1, 2, 3.0)
    colours = {name: look["color"] for name, look in style.looks(TITLES).items()}
    drawn = {name: [point for point in points if point["curve"] == name] for name in TITLES}
    drawn = {name: found for name, found in drawn.items() if found}
    labels = {"loss": (1, style.LOSS), "error": (100, "error (% of images)")}
    for axes, (quantity, (factor, label)) in zip(panels, labels.items(), strict=True):
        for part, line in style.SETS.items():
            for name, found in drawn.items():
                places, values = ([point[key] for point in found] for key in ("position", f"{part}_{quantity}"))
                axes.plot(places, np.multiply(values, factor), color=colours[name], linestyle=line)
            ends = [drawn["line"][end] for end in (0, -1)]
            heights = [factor * point[f"{part}_{quantity}"] for point in ends]
            axes.plot([0, 1], heights, "o", color=style.BLACK, zorder=3)
        axes.set(xlabel="position (share of the length)", ylabel=label)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], [f"0\n{names[0]}", "0.25", "0.5", "0.75", f"1\n{names[1]}"])
        axes.set_ylim(bottom=0)
    style.legend(fig, {TITLES[name]: {"color": colours[name]} for name in drawn} | style.sets(style.BLACK))
    return fig


def write(folder: str, curves: list[Curve], names: list[str], about: dict) -> None:
    """Writes `paths.csv`, `paths.json` and the figure; OSError if the folder cannot be written."""
    points, text = rows(curves), io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(points)
    with files.lock(folder):
        files.replace(Path(folder, "paths.csv"), text.getvalue())
        record = {"barriers": barriers(curves)} | about | environment.describe()
        files.replace(Path(folder, "paths.json"), json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        files.save(figure(points, names), Path(folder, "figures"), "paths")


def main(argv: list[str] | None = None) -> None:
    """Runs the command. Exits with 2 for wrong flags and files, 1 for an error during the work, 130 if interrupted."""
    values = inputs.define_flags()
    flags.DEFINE_multi_string("net", [], "the file of a net (required, two of them)", flag_values=values)
    for name, default, text in (
        ("points", 200, "points of a curve at which it is measured, or more"),
        ("pivots", 10, "pivots of the string at first"),
        ("steps", 300, "steps in each cycle of the string method; the Bézier curve gets those of all cycles"),
        ("cycles", 4, "cycles of the string method, between which pivots are inserted"),
    ):
        least = 10 if name == "points" else 1
        flags.DEFINE_integer(name, default, f"{text} [{default}]", lower_bound=least, flag_values=values)
    text = "training images in each step of a search [all]"
    flags.DEFINE_integer("batch_size", None, text, lower_bound=1, flag_values=values)
    flags.DEFINE_float("learning_rate", 0.01, "step size of Adam in the searches [0.01]", flag_values=values)
    flags.DEFINE_bool("bezier", False, "look for a Bézier curve too [false]", flag_values=values)
    flags.DEFINE_integer("seed", 0, "seed of the searches [0]", lower_bound=0, flag_values=values)
    flags.DEFINE_string(
        "out", None, "folder of CSV, JSON and figure, which must not hold a paths.csv yet [none]", flag_values=values
    )
    with command.exit_on_error(code=2):
        command.parse(values, argv, __doc__)
        _check(values)
    untouched = {"traceback": values.traceback, "interrupted": "nothing was written"}
    with command.exit_on_error(code=2, **untouched):
        models = [saved.taken(path, values.probabilities) for path in values.net]
        data = inputs.load(values)
        _check_batch(values, len(data.y_train))
    with command.exit_on_error(**untouched):
        searched = ("points", "pivots", "steps", "cycles", "learning_rate", "batch_size", "bezier", "seed", "pixels")
        options = {name: values[name].value for name in searched}
        names = [Path(path).name for path in values.net]
        names = [command.printable(name) for name in (names if names[0] != names[1] else values.net)]
        try:
            curves = list(between(*models, data, **options))
        except ValueError as error:
            raise ValueError(f"{names[0]} and {names[1]}: {error}") from error
        print(table(curves, names))
        if values.out:
            about = {"nets": values.net, "data": data.name, "sha256": data.sha256, "settings": options}
            about["settings"] |= {"train": len(data.y_train), "test": len(data.y_test)}
            write(values.out, curves, names, about)


def _check(values) -> None:
    """Raises ValueError for wrong flags that would otherwise fail only after the search."""
    if len(values.net) != 2:
        given = "1 net" if len(values.net) == 1 else f"{len(values.net)} nets"
        raise ValueError(f"--net names {given}: name the files of two, for example --net=a.keras --net=b.keras")
    inputs.check_flags(values, "learning_rate")
    _check_batch(values, values.train)
    if values.out and Path(values.out, "paths.csv").exists():
        raise ValueError(f"--out={values.out}: it holds a paths.csv already; name another folder or remove it")


def _check_batch(values, images: int) -> None:
    """Raises ValueError if a batch is larger than the training set."""
    if values.batch_size is not None and values.batch_size > images:
        raise ValueError(f"--batch_size={values.batch_size}: must be at most the {images} training images")


if __name__ == "__main__":
    main()
