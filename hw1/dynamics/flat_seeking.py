"""Does a method that seeks flat minima generalise better?

    python -m hw1.dynamics.flat_seeking
    python -m hw1.dynamics.flat_seeking --size=smoke    seconds

Sharpness and generalisation may go together because something else moves both. An intervention says more: train the
same net in a way that is meant to flatten, and see whether it becomes flatter, whether it becomes better, and whether
both happen. One deep net, its initial weights, its images and its batch order are trained by

    plain                  SGD with momentum
    plain, twice as long   the same with twice as many steps, as SAM and Entropy-SGD take two gradients per step
    SAM                    sharpness-aware minimisation: the gradient at θ + ρ g / ‖g‖
    Entropy-SGD            steps towards the mean of short Langevin runs, `inner_steps` on parts of a large mini-batch
    weight averaging       constant rate; the net is the average of its weights at several times of the last part
    skip connections       SGD as "plain", of the net in which each pair of layers is bypassed; no further parameters

All minimise F(θ) = L(θ) + λ/2 ‖θ‖², L the mean cross-entropy. With the penalty, F has minima at finite weights, so
there is a plateau; without it, L would fall for ever and every measure of sharpness with it. The rate is constant for
the first part of training and then falls by a cosine to 0, except for weight averaging, where it stays. The plateau is
judged at the constant rate, where a fall of F is not hidden by smaller steps: the mean of F over the second half of the
constant part is at most `fall` lower than that over the quarter before it, or the net has the status "target not
reached".

Each net is measured on its training set, of L without the penalty:

    value      Keskar's sharpness φ in the full space, in per cent
    trace      of the Hessian
    largest    its spectral norm ‖H‖₂
    adaptive   ‖diag|θ| H diag|θ|‖₂, normalised by the scale of each weight (Kwon et al., arXiv 2102.11600): rescaling
               the layers of a ReLU net (Dinh et al.) does not change it

Source: Keskar et al., arXiv 1609.04836 (outlook); Foret et al., arXiv 2010.01412 (SAM); Chaudhari et al., arXiv
1611.01838 (Entropy-SGD); Izmailov et al., arXiv 1803.05407 (weight averaging); Li et al., arXiv 1712.09913 (skip
connections); Dinh et al., arXiv 1703.04933 (can the model itself be made flatter?).

Deviations: a fully connected net on 5,000 images in place of convolutional nets on CIFAR. The penalty is part of the
objective for all methods, so that it means the same for each. Entropy-SGD moves θ towards the Langevin mean μ by SGD
with the momentum of all methods: the gradient is γ (θ − μ), the rate the schedule times a share of the way, over γ.
γ is constant, and a mini-batch has a part for each Langevin step, so that such a step sees as many examples as a plain
step and an epoch costs as much as one of SAM.

Chosen with the seeds 1000 and 1001: λ, as with 5e-4 to 2e-3 the objective was still falling at the constant rate for
some methods; the step size among 0.0125 to 0.2, of which 0.05 had the highest test accuracy of plain SGD (0.949), of
SAM and of the net with skip connections, and for weight averaging was within 0.002 of 0.035; ρ among 0.02 to 0.2 (at
0.2 training fails); of Entropy-SGD γ among 0.03 to 0.3, Langevin steps of 0.1 and 0.2, and shares of the way of 0.25
and 0.5, of which the smaller ones had not come to a plateau.
"""

import dataclasses
import functools
import sys

import keras
import numpy as np
import tensorflow as tf

from hw1 import command, evaluation, models, question, recipe, training
from hw1.measures import hessian, lanczos
from hw1.measures.sharpness import keskar_sharpness

PLAIN, LONGER = "plain", "plain, twice as long"
SAM, ENTROPY, AVERAGING, SKIP = "SAM", "Entropy-SGD", "weight averaging", "skip connections"
METHODS = (PLAIN, LONGER, SAM, ENTROPY, AVERAGING, SKIP)


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    width: int = question.option(30, "units of each hidden layer")
    blocks: int = question.option(3, "pairs of hidden layers after the first one, which skip connections bypass")
    batch_size: int = question.option(50, "examples per step; of Entropy-SGD per Langevin step", at_most="train")
    epochs: int = question.option(100, "passes over the training set", minimum=10)
    every: int = question.option(4, "passes between the weights that are averaged", at_most="epochs")
    constant: float = question.option(0.6, "share of training with the constant rate", maximum=0.95)
    fall: float = question.option(0.1, "relative fall of the objective at the constant rate that is none", maximum=1)
    learning_rate: float = question.option(0.05, "step size of SGD (chosen with the seeds 1000 and 1001)")
    momentum: float = question.option(0.9, "momentum of SGD", minimum=0, maximum=0.999)
    penalty: float = question.option(
        3e-3, "λ of the penalty λ/2 ‖θ‖² (chosen with the seeds 1000 and 1001: large enough for a plateau)"
    )
    radius: float = question.option(0.05, "ρ of SAM (the default of the source)")
    inner_steps: int = question.option(5, "Langevin steps of Entropy-SGD per step")
    inner_rate: float = question.option(
        0.2, "step size of the Langevin steps (chosen with the seeds 1000 and 1001; the source takes 0.1)"
    )
    outer_rate: float = question.option(
        0.5,
        "step of Entropy-SGD towards the Langevin mean, as a share of the way (chosen with the seeds 1000 and 1001)",
    )
    scope: float = question.option(0.1, "γ of Entropy-SGD, which holds the Langevin steps near θ")
    epsilon: float = question.option(1e-3, "size ε of the box of φ")
    probes: int = question.option(30, "Hessian-vector products to estimate the trace", minimum=6)
    examples: int = question.option(
        1000, "training examples on which trace, spectral norm and adaptive sharpness are computed", at_most="train"
    )
    seeds: int = question.option(15, "independent repetitions (initial weights, batch order and split of the images)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "width": 8,
        "blocks": 1,
        "batch_size": 10,
        "inner_steps": 4,
        "radius": 0.02,
        "epochs": 10,
        "every": 1,
        "examples": 100,
        "probes": 6,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "fashion_mnist",
        "train": 60000,
        "test": 10000,
        "width": 256,
        "batch_size": 100,
        "epochs": 200,
        "examples": 10000,
        "seeds": 10,
    },
}

COLUMNS = {
    "rows": [
        "method",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "objective",
        "norm",
        "value",
        "trace",
        "largest",
        "adaptive",
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per method."""
    large = settings.batch_size * settings.inner_steps
    if large > settings.train:
        raise ValueError(
            f"--inner_steps={settings.inner_steps}: a mini-batch of Entropy-SGD has batch_size · inner_steps = {large} "
            f"examples, which must be at most --train={settings.train}"
        )
    if settings.train % large and (settings.train % large) % settings.inner_steps:
        raise ValueError(
            f"--inner_steps={settings.inner_steps}: the last mini-batch of an epoch, of {settings.train % large} "
            "examples, must be a multiple of it too"
        )
    return [{"method": method} for method in METHODS]


def run(settings: Settings, data, method: str):
    """Yields a row per seed."""
    for member in _train(settings, data, method):
        if member.lost:
            yield {"seed": member.seed, "updates": member.updates, "status": "diverged"}
            continue
        images = member.data
        row = member.row | evaluation.evaluate_sets(member.model, images)
        row["norm"] = float(np.linalg.norm(models.flat_parameters(member.model)))
        row["objective"] = row["train_loss"] + settings.penalty / 2 * row["norm"] ** 2
        yield row | _measures(settings, member.model, images)


def build(settings: Settings, data, skip: bool, seed: int) -> keras.Model:
    """A net of 2 + 2 · blocks dense layers; with `skip` the input of each pair of layers is added to its output.

    The pair is h ↦ relu(W₂ relu(W₁h + b₁) + b₂), and with the skip connection relu(h + W₂ relu(W₁h + b₁) + b₂). The
    initial weights of a seed are the same with and without.
    """
    layers, rng = keras.layers, np.random.default_rng(seed)

    def dense(units, name):
        initial = keras.initializers.GlorotUniform(seed=int(rng.integers(2**31)))
        return layers.Dense(units, kernel_initializer=initial, name=name)

    images = keras.Input(data.shape, name="images")
    hidden = dense(settings.width, "first")(layers.Flatten(name="flatten")(images))
    hidden = layers.Activation("relu", name="first_activation")(hidden)
    for number in range(1, settings.blocks + 1):
        inside = dense(settings.width, f"block_{number}_first")(hidden)
        inside = layers.Activation("relu", name=f"block_{number}_first_activation")(inside)
        inside = dense(settings.width, f"block_{number}_second")(inside)
        if skip:
            inside = layers.Add(name=f"block_{number}_skip")([hidden, inside])
        hidden = layers.Activation("relu", name=f"block_{number}_second_activation")(inside)
    return keras.Model(images, dense(data.classes, "logits")(hidden), name="deep")


def penalised(net, x, y, loss, penalty: float, members: int):
    """The objective: each example's loss plus λ/2 ‖θ‖² of its member.

    Args:
        net: a stack of nets, whose variables have shape [members, ...].
        x: inputs of all members, one member after the other, shape [members · n, ...].
        y: labels, shape [members · n].
        loss: a function (y, outputs) -> [members · n].
        penalty: λ.
        members: their number.

    Returns:
        A value per example, shape [members · n].

    Raises:
        ValueError: the net is no stack of so many; penalties would be those of parts of members.
    """
    if any(v.shape[0] != members for v in net.trainable_variables):
        raise ValueError(f"all {members} members must be trained in one stack")
    losses = loss(y, net(x, training=True))
    squares = [tf.reduce_sum(tf.reshape(v.value, [members, -1]) ** 2, axis=1) for v in net.trainable_variables]
    return losses + tf.repeat(penalty / 2 * tf.add_n(squares), losses.shape[0] // members)


def _train(settings, data, method):
    """The members of a method, each with the weights and the status that it is to be measured with."""
    epochs, sgd = settings.epochs * (2 if method == LONGER else 1), settings.learning_rate
    falling = functools.partial(recipe.schedule, epochs=epochs, constant=settings.constant)
    options = {
        "batch_size": settings.batch_size,
        "optimizer": lambda: keras.optimizers.SGD(momentum=settings.momentum),
        "learning_rate": lambda passed: sgd * falling(passed),
        "evaluate_every": epochs,
    }
    if method == SAM:
        options["direction"] = training.directions.sam(settings.radius)
    if method == ENTROPY:
        options["direction"] = training.directions.entropy(settings.inner_steps, settings.inner_rate, settings.scope)
        options["batch_size"] *= settings.inner_steps
        options["learning_rate"] = lambda passed: settings.outer_rate / settings.scope * falling(passed)
    if method == AVERAGING:
        options |= {"learning_rate": sgd, "evaluate_every": settings.every}
    members = training.train(
        functools.partial(build, settings, data, method == SKIP),
        data,
        epochs=epochs,
        seeds=settings.all_seeds,
        objective=functools.partial(penalised, penalty=settings.penalty, members=settings.seeds),
        record=["steps", "weights"] if method == AVERAGING else ["steps"],
        progress=method,
        **options,
    )
    for member in members:
        if member.status == "diverged":
            continue
        if method == AVERAGING:
            last = member.history["epoch"] > settings.constant * epochs
            member.model = models.with_parameters(member.model, member.weights[last].mean(axis=0, dtype=np.float64))
        if not recipe.at_plateau(member.steps["loss"], settings.constant, settings.fall):
            member.status = "target not reached"
    return members


def _measures(settings, model, images) -> dict[str, float]:
    x, y = images.x_train[: settings.examples], images.y_train[: settings.examples]
    multiply, scale = hessian.product(model, x, y), abs(models.flat_parameters(model).astype(np.float64))

    def scaled(vector):
        return scale * multiply(scale * vector)

    scaled.size = multiply.size
    return {
        "value": keskar_sharpness(model, images.x_train, images.y_train, settings.epsilon, starts=1).value,
        "trace": float(hessian.trace(model, x, y, probes=settings.probes)),
        "largest": hessian.spectral_norm(model, x, y),
        "adaptive": abs(lanczos.eigenvalues(lanczos.linear_operator(scaled), 1, "LM", 1e-3)[0]),
    }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
