"""What each member is trained with: batch size, learning rate, momentum, number of examples; constant or scheduled."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hw1.training.run import Stage

_EDGE = 1e-9  # an epoch so close below a milestone has reached it


def per_member(name: str, value, members: int, whole: bool = False, low: float = 0.0) -> np.ndarray:
    """One value for each member, shape [members], from one number or one for each.

    Args:
        name: of the argument, for the message.
        value: what was given.
        members: how many.
        whole: whether they must be integers, then of at least 1.
        low: what they must be at least, if not whole.

    Raises:
        ValueError: it is neither, or out of range.
    """
    numbers = np.asarray(value)
    kind = "positive integer" if whole else f"finite number of at least {low:g}"
    if numbers.ndim > 1 or numbers.dtype.kind not in ("iu" if whole else "iuf"):
        raise ValueError(f"{name} must be a {kind}, or one for each member, not {value!r}")
    if numbers.ndim == 1 and len(numbers) != members:
        raise ValueError(f"{name} has {len(numbers)} values for {members} members (one for each of the seeds)")
    if not np.isfinite(numbers).all() or (numbers < (1 if whole else low)).any():
        raise ValueError(f"{name} must be a {kind}, or one for each member, not {value!r}")
    return np.broadcast_to(numbers, members)


def differs(value) -> bool:
    """Whether an argument has one value for each member."""
    return any(map(differs, value.values())) if isinstance(value, Mapping) else np.ndim(value) > 0


def schedule(name: str, value: Mapping, epochs: float) -> list[tuple[int, object]]:
    """The milestones of a schedule, epoch → value, in order.

    Raises:
        ValueError: they do not begin at 0, do not rise, are no whole epochs, or lie beyond the end.
    """
    milestones = list(value)
    whole = all(isinstance(epoch, int | np.integer) and not isinstance(epoch, bool) for epoch in milestones)
    if not milestones or not whole or milestones[0] != 0 or sorted(set(milestones)) != milestones:
        raise ValueError(f"{name}: the epochs of a schedule must be whole numbers that begin at 0 and rise: {value!r}")
    if milestones[-1] >= epochs:
        raise ValueError(f"{name}: the milestone {milestones[-1]} lies beyond the end, after {epochs:g} epochs")
    return list(value.items())


def rates(value, members: int, epochs: float) -> Callable[[np.ndarray], np.ndarray] | None:
    """The learning rates as a function of the epochs passed before each step: [steps] -> [steps, members].

    Args:
        value: see `hw1.training.train`.
        members: how many.
        epochs: at which training ends; infinity if updates alone end it.

    Raises:
        ValueError: for values that do not fit.
    """
    if value is None:
        return None
    if callable(value):

        def of(passed):
            found = np.asarray(value(passed), dtype=float)
            right = found.shape in ((len(passed),), (len(passed), members))
            if not right or not np.isfinite(found).all() or (found < 0).any():
                raise ValueError(
                    f"learning_rate must give finite numbers of at least 0, one for each of the {len(passed)} epochs "
                    f"it is called with, or of shape [{len(passed)}, {members}]; it gave shape {found.shape}"
                )
            return np.broadcast_to(found.reshape(len(passed), -1), (len(passed), members))

        of(np.zeros(1))
        return of
    plan = schedule("learning_rate", value, epochs) if isinstance(value, Mapping) else [(0, value)]
    table = np.stack([per_member("learning_rate", entry, members) for _, entry in plan])
    begins = np.array([epoch for epoch, _ in plan])
    return lambda passed: table[np.searchsorted(begins, passed + _EDGE, side="right") - 1]


def batch_sizes(value, members: int, epochs: float) -> list[tuple[tuple[int, int], ...]]:
    """Of each member the milestones of its batch size, ((epoch, batch size), …).

    Raises:
        ValueError: for values that do not fit.
    """
    plan = schedule("batch_size", value, epochs) if isinstance(value, Mapping) else [(0, value)]
    columns = [per_member("batch_size", entry, members, whole=True) for _, entry in plan]
    return [
        tuple((epoch, int(sizes[m])) for (epoch, _), sizes in zip(plan, columns, strict=True)) for m in range(members)
    ]


def stages(
    plan: Sequence[tuple[int, int]],
    n: int,
    epochs: int | None,
    updates: int | None,
    every: Callable[[int], int],
    pieces: int,
) -> list[Stage]:
    """The stages of a member.

    Args:
        plan: milestones of the batch size, (epoch, batch size).
        n: training examples.
        epochs: at most.
        updates: at most.
        every: steps in an epoch → steps between evaluations.
        pieces: looks at the loss in each of these intervals.
    """
    left, found = np.inf if updates is None else updates, []
    ends = [*(epoch for epoch, _ in plan[1:]), np.inf if epochs is None else epochs]
    for (begin, size), end in zip(plan, ends, strict=True):
        per_epoch = -(-n // size)
        most = min((end - begin) * per_epoch, left)
        if most > 0:
            interval = every(per_epoch)
            found.append(Stage(size, per_epoch, int(most), interval, -(-interval // pieces)))
        left -= most
    return found


def groups(keys: Sequence) -> list[list[int]]:
    """The positions of the members that have equal keys, in order of their first member."""
    order = dict.fromkeys(keys)
    return [[place for place, key in enumerate(keys) if key == wanted] for wanted in order]


def total(plans: Sequence[Sequence[Stage]]) -> int:
    """The steps of all stages."""
    return sum(stage.most for stage in itertools.chain.from_iterable(plans))
