"""What is claimed about part 1-1. Functions as in `hw1.ledger.generalization`."""

import itertools
from collections.abc import Iterator

from hw1.ledger.verdict import Claim, claim
from hw1.statistics import geometric_mean, paired_difference

COURSE = "MLDS 2018, homework 1-1"
FUNCTIONS = {"sinc": "sin(5πx)/(5πx)", "sign": "sgn(sin(5πx))"}
# Mean squared errors of 5-10-10-10-10-10-5 and of 190 on the course's slides.
SLIDES = {"sinc": "2.9e-6 against 1.8e-5", "sign": "0.0095 against 0.0655"}


def simulate_function(frame, settings, predictions) -> Iterator[Claim]:
    """Depth helps to learn a function."""
    deep, shallow = settings["nets"][0], settings["nets"][-1]
    last = frame[frame.epoch == frame.epoch.max()].assign(hidden=frame.hidden.astype(str))
    for function in settings["functions"]:
        losses = last[last.function == function].pivot(index="seed", columns="hidden", values="loss")
        yield claim(
            COURSE,
            f"Of equally many parameters, deep {deep} learns {FUNCTIONS[function]} better than shallow {shallow} "
            "(ratio of errors, shallow to deep)",
            geometric_mean(losses[shallow] / losses[deep]),
            published=SLIDES[function],
            above=1,
        )


def actual_task(frame, settings) -> Iterator[Claim]:
    """Depth helps on images."""
    last = frame[frame.epoch == frame.groupby(["kind", "data"]).epoch.transform("max")]
    for data, kind in itertools.product(frame.data.unique(), ("dnn", "cnn")):
        rows = last[(last.data == data) & (last.kind == kind)]
        names = [str(name) for name in settings[f"{kind}s"]]
        accuracy = rows.astype({"hidden": str}).pivot(index="seed", columns="hidden", values="test_accuracy")
        accuracy = accuracy.reindex(columns=names)  # a net of which all diverged is missing
        yield claim(
            COURSE,
            f"At equal size the deepest {kind.upper()} generalises best on {data} "
            "(difference in test accuracy, deepest less shallowest)",
            paired_difference(accuracy[names[0]], accuracy[names[-1]]),
            above=0,
        )


QUESTIONS = (simulate_function, actual_task)
