"""The card of a net: all measures with their errors, as far as the time allows."""

import dataclasses
import functools
import time
from collections.abc import Callable

from hw1 import command, compiled, evaluation
from hw1.measure import population, rows, steps, surroundings
from hw1.measure.rows import Row, row
from hw1.measure.work import Settings, Work, size_of


@dataclasses.dataclass
class Card:
    """What was measured of a net.

    Attributes:
        name: of the net.
        rows: the measured values.
        left_out: what was not measured → why.
        pictures: arrays for the figures, by name.
        settings: of the measurement.
        seconds: that it took.
        is_interrupted: whether it was stopped before its end.
        data: name and numbers of examples.
        work: the net and its examples.
    """

    name: str
    rows: list[Row]
    left_out: dict[str, str]
    pictures: dict
    settings: Settings
    seconds: float = 0.0
    is_interrupted: bool = False
    data: dict = dataclasses.field(default_factory=dict)
    work: Work | None = dataclasses.field(default=None, repr=False)

    @functools.cached_property
    def percentiles(self) -> dict[str, float]:
        """Measure → its percentile among this project's nets; see `hw1.measure.population`."""
        return population.percentiles(self)

    @property
    def loss(self) -> str:
        """The loss in a word."""
        return compiled.described(self.work.loss)

    @property
    def n(self) -> int:
        """Examples on which the Hessian was measured."""
        return self.work.n

    @property
    def described_settings(self) -> dict:
        """The settings with the loss in a word."""
        return {**dataclasses.asdict(self.settings), "loss": self.loss, "examples": self.n}

    def __getitem__(self, measure: str) -> Row:
        """The row of a measure; KeyError if it was not measured."""
        return {each.measure: each for each in self.rows}[measure]

    def table(self) -> str:
        """All rows as aligned text, and what was left out."""
        text = rows.table(self.rows)
        return text + "".join(f"\nleft out: {name}: {why}" for name, why in self.left_out.items())

    def save(self, folder) -> None:
        """Writes card.csv, card.json, card.html and card.pdf to a folder; see `hw1.measure.pages.save`."""
        from hw1.measure import pages

        pages.save([self], folder)


def card(model, data, name: str | None = None, tell: Callable[[str], None] | None = command.say, **settings) -> Card:
    """Measures how flat a net is.

    Args:
        model: a built Keras model that outputs logits, or what its loss takes. It is not changed.
        data: as `hw1.datasets.load` returns it; or (x, y); or (x_train, y_train, x_test, y_test).
        name: of the net, for tables; None takes that of the model.
        tell: told what is being measured and how long the rest will take; None for silence.
        settings: fields of `hw1.measure.work.Settings`, such as examples=500, loss="mse", minutes=15.

    Returns:
        A `Card`. If it is interrupted by Ctrl-C, it has what was measured until then.

    Raises:
        TypeError, ValueError: net, data or settings do not fit.
    """
    tell = tell or (lambda text: None)
    work = Work(model, data, Settings(**settings))
    found = Card(name or model.name, [], {}, work.pictures, work.settings, data=_data(data, work), work=work)
    found.rows.append(row("parameters", work.size, "trainable"))
    if work.note:
        tell(f"{found.name}: {work.note}")
    begin = time.monotonic()
    try:
        _run_all(found, work, tell)
    except KeyboardInterrupt:
        found.is_interrupted = True
    found.seconds = time.monotonic() - begin
    return found


def _data(data, work) -> dict:
    """Name and numbers of examples."""
    return {"name": str(getattr(data, "name", "arrays"))} | {part: size_of(x) for part, (x, _) in work.parts.items()}


def _run_all(found, work, tell) -> None:
    """Runs the steps in turn; what does not fit is left out by name."""
    first = steps.before(work)
    found.left_out |= dict.fromkeys((step.name for step in (*first, *_rest(work))), "interrupted")
    for step in first:
        tell(f"measure: {step.name}")
        _run(found, work, step)
    given = work.n
    tell(f"measure: a first product with the Hessian, on {work.n} examples")
    try:
        work.time()
        rest = _rest(work)
    except ValueError as error:  # there is no Hessian; what needs none is still measured
        rest = [step for step in _rest(work) if not step.products]
        for name in {step.name for step in _rest(work)} - {step.name for step in rest}:
            del found.left_out[name]
        found.left_out["second derivatives"] = command.describe(error)
    if work.n < given:
        note = f"of {given}: products on more would take more than --minutes={work.settings.minutes:g}"
        found.left_out["examples of the Hessian"] = f"{work.n} {note}"
    work.seconds |= _timed(work)
    for number, step in enumerate(rest):
        wanted, left = step.seconds(work), work.deadline - time.monotonic()
        if wanted > left and not step.is_partial:
            rest_of_it = f"more than the {duration(left)} left" if left > 0 else "and no time is left"
            minutes = f"--minutes={work.settings.minutes:g}"
            found.left_out[step.name] = f"would take about {duration(wanted)}, {rest_of_it} of {minutes}"
            continue
        remaining = max(0.0, min(left, sum(each.seconds(work) for each in rest[number:])))
        tell(f"measure: {step.name} ({number + 1} of {len(rest)}, about {duration(remaining)} left)")
        _run(found, work, step)


def _rest(work) -> list[steps.Step]:
    """All steps whose time is estimated; the estimates follow the number of examples."""
    return [*steps.after(work), *pictures(work), steps.last(work)]


def _run(found, work, step) -> None:
    """Runs a step; what cannot be measured of this net is left out, with the reason."""
    try:
        for each in step.run(work):
            found.rows.append(each)
    except TimeoutError as error:
        found.left_out[step.name] = f"{str(error) or 'not finished within'} --minutes={work.settings.minutes:g}"
    except (ValueError, TypeError, RuntimeError) as error:
        found.left_out[step.name] = command.describe(error)
    else:
        del found.left_out[step.name]


def pictures(work) -> list[steps.Step]:
    """The steps that only draw."""
    share = work.n / size_of(work.parts["train"][0])
    points = {
        "slice along the top eigenvector": (surroundings.eigenvector_slice, surroundings.SLICE),
        "slices along random directions": (surroundings.random_slices, surroundings.RANDOM * surroundings.SLICE),
        "plane": (surroundings.plane, surroundings.PLANE**2),
    }
    return [steps.Step(name, run, forwards=count * share) for name, (run, count) in points.items()]


def _timed(work) -> dict[str, float]:
    """Seconds of a forward pass and of a gradient over the training examples."""
    x, y = work.parts["train"]
    at = evaluation.objective(work.model, x, y, work.loss)
    problem, found = evaluation.Problem(work.model, x, y, work.loss), {}
    for name, call in (("gradient", lambda: at(work.theta)), ("forward", lambda: evaluation.evaluate_at(problem))):
        for _ in range(2):  # the first call may be tracing
            begin = time.perf_counter()
            call()
            found[name] = time.perf_counter() - begin
            if found[name] > 5:
                break
    return found


def duration(seconds: float) -> str:
    """A time in words; a short one to two digits."""
    if seconds < 10:
        return f"{max(seconds, 1e-3):.2g} s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
