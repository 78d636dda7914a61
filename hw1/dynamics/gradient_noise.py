"""Is the noise of mini-batches isotropic, how large is it, and does its shape lead to flat minima?

    python -m hw1.dynamics.gradient_noise
    python -m hw1.dynamics.gradient_noise --size=smoke    seconds

A net with one hidden layer is trained in four ways, which have the start of each seed, the learning rate and the number
of updates in common; none has momentum:

    SGD                   batches of B examples, drawn with replacement
    full batch            the gradient of all N examples
    isotropic noise       the full batch, plus Gaussian noise of covariance (tr C / Bp) I
    noise of covariance C the full batch, plus Gaussian noise of covariance C/B

C is the covariance of the gradients of the single examples at the present parameters, p their number. So the last two
have noise as strong as that of SGD at every step; one knows nothing of its directions, the other shares all of them.

Rows are the nets at the end ("equal updates") and where the training loss first came to the target ("equal loss"):
trace and spectral norm of the Hessian on the training set, distance from the start, losses and accuracies. The
curvature of the cross-entropy falls with the loss, so flatness is compared at equal loss.

Along SGD's training are measured on the whole training set:

    noise        trace of C; its participation ratio (tr C)² / tr C², which is p for isotropic noise; the share of tr C
                 in the space of the k top eigenvectors of the Hessian, which is k/p on average for a random space; the
                 overlap ‖VᵀU‖² / k of the top k eigenvectors V of C and U of H (k/p again)
    eigenvalues  the k largest of C and of H
    batches      the mean squared deviation of mini-batch gradients from the mean gradient, from batches that are drawn
                 with and without replacement, beside its prediction tr C / B, times (n − B) / (n − 1) without; with all
                 N examples and several B, and with one B and the first n examples of the training set

Source: Smith and Le, arXiv 1710.06451, section 5 (noise ∝ 1/B − 1/N); Welling and Teh, Bayesian learning via stochastic
gradient Langevin dynamics, ICML 2011 (isotropic noise); Zhu et al., arXiv 1803.00195 (the noise is anisotropic, and its
shape leads to flat minima); Wu et al., arXiv 1906.07405 (Gaussian noise of covariance C does as well as SGD).

Deviations: images averaged over squares of 4 × 4 pixels, few training images and a small net, so that the full batch
can take as many updates as SGD.

Learning rate and updates were chosen with the seeds 1000 to 1002. With 6,000 updates at a rate of 0.3, or 3,000 at 0.5,
losses (0.01 to 0.3) and accuracies of SGD and of the descent with noise of covariance C still jumped from step to step.
With 6,000 updates at 0.5 these losses are below 0.005, where the noise has almost died out. The rate and updates of
size paper were tried on fashion10k with the seed 1003: SGD came to the target after 3,100 updates, the full batch after
2,200.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, datasets, evaluation, models, question, recipe
from hw1.measures import hessian, noise
from hw1.training import directions

SGD, FULL, ISOTROPIC, SHAPED = "SGD", "full batch", "isotropic noise", "noise of covariance C"
NETS = (SGD, FULL, ISOTROPIC, SHAPED)
EQUAL_LOSS, EQUAL_UPDATES = "equal loss", "equal updates"


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and split of the images)")
    train: int = question.option(500, "training examples N")
    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    hidden: tuple[int, ...] = question.option((30,), "widths of the hidden layers", unique=False)
    batch_size: int = question.option(10, "examples B per step of SGD", at_most="train")
    learning_rate: float = question.option(
        0.5, "step size of all four ways of training (chosen with the seeds 1000 to 1002)"
    )
    updates: int = question.option(
        6000, "number of optimizer steps of all four ways of training (chosen with the seeds 1000 to 1002)"
    )
    every: int = question.option(50, "optimizer steps between evaluations", at_most="updates")
    target_loss: float = question.option(0.02, "training loss in nats at which flatness is compared")
    directions: int = question.option(10, "number k of top eigenvectors of C and of the Hessian (one for each class)")
    checkpoints: tuple[int, ...] = question.option(
        (0, 50, 200, 1000, 6000), "numbers of steps of SGD after which C is measured", minimum=0, at_most="updates"
    )
    drawn_at: int = question.option(
        200, "number of steps of SGD after which batches are drawn, one of the checkpoints", minimum=0
    )
    batch_sizes: tuple[int, ...] = question.option(
        (5, 10, 20, 50, 100, 200), "sizes of the batches that are drawn from the training set", at_most="train"
    )
    examples: tuple[int, ...] = question.option(
        (50, 100, 200, 500), "numbers n of examples from which batches of one size are drawn", at_most="train"
    )
    fixed_batch: int = question.option(40, "size of those batches")
    draws: int = question.option(100, "batches drawn for each estimate", minimum=2)


SIZES = {
    "smoke": {
        "train": 100,
        "test": 200,
        "hidden": (8,),
        "learning_rate": 0.3,
        "updates": 200,
        "every": 10,
        "target_loss": 1.5,
        "directions": 3,
        "checkpoints": (0, 10, 200),
        "drawn_at": 10,
        "batch_sizes": (5, 20, 50),
        "examples": (25, 50, 100),
        "fixed_batch": 20,
        "draws": 20,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "fashion_mnist",
        "train": 1000,
        "test": 10000,
        "pool": 1,
        "hidden": (100,),
        "batch_size": 20,
        "learning_rate": 0.1,
        "updates": 20000,
        "every": 250,
        "checkpoints": (0, 250, 1000, 5000, 20000),
        "drawn_at": 1000,
        "batch_sizes": (5, 10, 20, 50, 100, 200, 500),
        "examples": (50, 100, 200, 500, 1000),
        "draws": 200,
    },
}

BY_SEED = True
COLUMNS = {
    "rows": [
        "net",
        "at",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "trace",
        "spectral_norm",
        "distance",
        "status",
    ],
    "noise": [
        "net",
        "updates",
        "seed",
        "parameters",
        "train_loss",
        "trace",
        "squared_gradient",
        "participation_ratio",
        "share",
        "own_share",
        "overlap",
    ],
    "eigenvalues": ["net", "updates", "seed", "number", "noise", "hessian"],
    "batches": ["net", "updates", "seed", "examples", "batch_size", "replacement", "trace", "drawn", "predicted"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per way of training."""
    if settings.drawn_at not in settings.checkpoints:
        raise ValueError(
            f"--drawn_at={settings.drawn_at}: must be one of --checkpoints={question.write(settings.checkpoints)}"
        )
    if settings.fixed_batch >= min(settings.examples):
        raise ValueError(
            f"--fixed_batch={settings.fixed_batch}: must be below all of --examples={question.write(settings.examples)}"
        )
    if max(settings.batch_sizes) >= settings.train:
        raise ValueError(
            f"--batch_sizes={question.write(settings.batch_sizes)}: must be below --train={settings.train}, whose "
            "gradient has no noise"
        )
    for name in ("batch_sizes", "examples"):
        if len(getattr(settings, name)) < 2:
            raise ValueError(f"--{name}={question.write(getattr(settings, name))}: a slope takes two values or more")
    return [{"net": name} for name in NETS]


def run(settings: Settings, data, net: str):
    """Yields two rows per seed; for SGD the rows of the other tables too."""
    data = datasets.average_pool(data, settings.pool)

    def build(seed):
        return models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed)

    parameters = build(0).count_params()
    if settings.directions > parameters:
        raise ValueError(
            f"--directions={settings.directions}: must be at most the number of parameters, {parameters:,}"
        )
    for member in _train(settings, data, net, build):
        if member.lost:
            for at in (EQUAL_LOSS, EQUAL_UPDATES):
                yield {"at": at, "seed": member.seed, "updates": member.updates, "status": "diverged"}
            continue
        start = models.flat_parameters(build(member.seed))
        yield from _ends(settings, member, start)
        if net == SGD:
            yield from _along(settings, member, start)


def _train(settings, data, net, build):
    """Trains one member per seed in one of the four ways; its weights are recorded at every evaluation."""
    direction = None
    if net in (ISOTROPIC, SHAPED):
        direction = directions.sampling_noise(settings.batch_size, isotropic=net == ISOTROPIC)
    return recipe.train(
        settings,
        data,
        settings.batch_size if net == SGD else settings.train,
        build,
        optimizer=lambda: keras.optimizers.SGD(settings.learning_rate),
        updates=settings.updates,
        evaluate_updates=settings.every,
        target_loss=None,
        replacement=net == SGD,
        direction=direction,
        record=("weights",),
        progress=net,
    )


def _ends(settings, member, start):
    """Yields the rows of a net where it first comes to the target loss, and at the end of its training."""
    images, taken = member.data, member.evaluated
    reached = np.flatnonzero(member.history["train_loss"] <= settings.target_loss)
    last = len(taken) - 1
    for at, place in ((EQUAL_LOSS, reached[0] if len(reached) else last), (EQUAL_UPDATES, last)):
        model = models.with_parameters(member.model, member.weights[place])
        yield {
            "at": at,
            "seed": member.seed,
            "updates": int(taken[place]),
            **{name: float(values[place]) for name, values in member.history.items() if name != "epoch"},
            "trace": hessian.trace(model, images.x_train, images.y_train),
            "spectral_norm": hessian.spectral_norm(model, images.x_train, images.y_train),
            "distance": float(np.linalg.norm(member.weights[place] - start)),
            "status": "target not reached" if at == EQUAL_LOSS and not len(reached) else "ok",
        }


def _along(settings, member, start):
    """Yields the rows of the tables on C along a training."""
    taken = np.concatenate([[0], member.evaluated])
    weights = np.concatenate([[start], member.weights])
    places = {int(abs(taken - wanted).argmin()): wanted for wanted in settings.checkpoints}
    images = member.data
    for place, wanted in places.items():
        model = models.with_parameters(member.model, weights[place])
        common = {"updates": int(taken[place]), "seed": member.seed}
        rows = noise.gradients(model, images.x_train, images.y_train)
        yield from _shape(settings, model, images, noise.Covariance.of(rows), common)
        if wanted == settings.drawn_at:
            yield from _batches(settings, model, images, rows, common)


def _shape(settings, model, images, covariance, common):
    """Yields the rows of the tables "noise" and "eigenvalues"."""
    x, y, k = images.x_train, images.y_train, settings.directions
    ours = covariance.eigenpairs(k)
    top = hessian.eigenpairs(model, x, y, k, which="LA")
    yield {
        "table": "noise",
        **common,
        "parameters": model.count_params(),
        "train_loss": evaluation.evaluate(model, x, y)[0],
        "trace": covariance.trace,
        "squared_gradient": float(covariance.mean @ covariance.mean),
        "participation_ratio": covariance.participation_ratio,
        "share": covariance.share(top.vectors),
        "own_share": covariance.share(ours.vectors),
        "overlap": overlap(ours.vectors, top.vectors),
    }
    for number, (of_noise, of_hessian) in enumerate(zip(ours.values, top.values, strict=True), 1):
        yield {"table": "eigenvalues", **common, "number": number, "noise": of_noise, "hessian": of_hessian}


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """‖VᵀU‖² / k of two orthonormal bases of shape [parameters, k]: 1 for one space, k/p on average for random ones."""
    return float(np.sum((first.T @ second) ** 2) / first.shape[1])


def _batches(settings, model, images, rows, common):
    """Yields the rows of the table "batches"."""
    cases = [(settings.train, size) for size in settings.batch_sizes]
    cases += [(count, settings.fixed_batch) for count in settings.examples]
    for number, (count, size) in enumerate(dict.fromkeys(cases)):
        covariance = noise.Covariance.of(rows[:count])
        for replacement in (True, False):
            drawn = noise.batch_gradients(
                model,
                images.x_train[:count],
                images.y_train[:count],
                size,
                settings.draws,
                replacement,
                seed=1000 * common["seed"] + 2 * number + replacement,
            )
            yield {
                "table": "batches",
                **common,
                "examples": count,
                "batch_size": size,
                "replacement": "with" if replacement else "without",
                "trace": covariance.trace,
                "drawn": float(np.mean(np.sum((drawn - covariance.mean) ** 2, axis=1))),
                "predicted": noise.batch_trace(covariance.trace, size, None if replacement else count),
            }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
