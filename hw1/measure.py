"""How flat is your own net? Computes all measures on one saved Keras model.

    python -m hw1.measure --net=my_net.keras                      half a minute for 24,380 parameters on two cores
    python -m hw1.measure --net=my_net.keras --data=fashion10k --out=my_net.csv

The net must have been saved by `model.save("my_net.keras")`, take the images of the data set (pixels in [0, 1], or
those times --pixels) and output logits, without a softmax. If the net expects it, a channel axis is added to the
images, or they are flattened. A convolutional net takes minutes: its second derivatives are slow, and Keskar's maxima
need hundreds of gradients.

The rows, with L the mean softmax cross-entropy in nats and H its Hessian:

    parameters                number of trainable parameters
    train_loss, train_accuracy, test_loss, test_accuracy
                              L and the fraction of correct predictions, on all training and on all test images
    spectral_norm_block       largest |eigenvalue| of H without the blocks between two variables, as in `tf.hessians`
    spectral_norm_full        largest |eigenvalue| of H
    gauss_newton_norm         largest eigenvalue of the Gauss–Newton part of H, which ignores the curvature of the net
    trace                     trace of H, by Hutch++
    frobenius_norm            Frobenius norm of H, by Hutch++
    hessian_sharpness         the course's ‖H‖₂ ε² / (2 (1 + L)) with the norm of the blocks and ε = --epsilon
    keskar_box                Keskar's sharpness in per cent: the largest L in a box of --keskar_epsilon around the net
    keskar_subspace           the same within a random subspace of --manifold dimensions
    loss_gradient_norm        mean over images of the norm of the gradient of an image's loss with respect to the image
    whole_loss_gradient_norm  norm of the gradient of L with respect to all images; the more images, the smaller
    jacobian_norm             mean over images of the norm of the Jacobian of the class probabilities

The Hessian is that of the first --examples training images. Keskar's sharpness is measured on all training images, and
the last three rows on the test images. L is the loss of the data alone. If the net has losses of its own, such as L2
regularisation, each measure of L is followed by that of the whole objective, named `…_regularized`. A net in half
precision is measured as a float32 copy. hw1/measures explains each measure and names its source.
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from absl import flags

from hw1 import command, saved


class Row(NamedTuple):
    """One measured value.

    Attributes:
        measure: name of the measure.
        value: the number.
        standard_error: standard error of a stochastic estimate, else None.
        examples: number of images on which it was measured; None if it needs no images.
        unit: its unit, with a short description.
    """

    measure: str
    value: float | int
    standard_error: float | None
    examples: int | None
    unit: str


def measure(
    model,
    data,
    examples: int = 500,
    epsilon: float = 1e-4,
    keskar_epsilon: float = 1e-3,
    manifold: int = 100,
    seed: int = 0,
    pixels: float = 1.0,
) -> Iterator[Row]:
    """Yields a row per measure, and prints to stderr which one is being computed.

    Args:
        model: a built Keras model that outputs logits.
        data: as returned by `hw1.datasets.load`.
        examples: number of training images on which the Hessian is measured.
        epsilon: radius ε of the course's sharpness, in parameter space.
        keskar_epsilon: size ε of Keskar's box.
        manifold: dimension of Keskar's random subspace.
        seed: of random probes, starts and subspace.
        pixels: what the model expects of a white pixel; the images, in [0, 1], are multiplied by it.

    Raises:
        TypeError, ValueError: the model does not fit the data.
    """
    from hw1 import evaluation
    from hw1.measures import gauss_newton, hessian, sensitivity, sharpness

    train, test = saved.parts(data, model, pixels)
    first = train[0][:examples], train[1][:examples]
    penalised = bool(sum(map(float, model.losses)))
    parameters = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    if not 1 <= manifold <= parameters:
        raise ValueError(f"--manifold={manifold}: a net of {parameters} parameters has subspaces of 1 to {parameters}")
    yield Row("parameters", parameters, None, None, "trainable")
    for name, part in (("train", train), ("test", test)):
        loss, accuracy = evaluation.evaluate(model, *part)
        yield Row(f"{name}_loss", loss, None, len(part[0]), "nats")
        if penalised:
            whole, _ = evaluation.evaluate(model, *part, regularization=True)
            yield Row(f"{name}_loss_regularized", whole, None, len(part[0]), "nats, with the net's own losses")
        yield Row(f"{name}_accuracy", accuracy, None, len(part[0]), "share of right answers")

    def row(name, unit, function, on, *arguments, **options):
        command.say(f"measure: {name} on {len(on[0])} images")
        value = function(model, *on, *arguments, **options)
        value = getattr(value, "value", value)  # keskar_sharpness returns a record
        return Row(name, float(value), getattr(value, "standard_error", None), len(on[0]), unit)

    def rows(name, unit, *arguments, **options):
        yield row(name, unit, *arguments, **options)
        if penalised:
            unit += ", with the net's own losses"
            yield row(f"{name}_regularized", unit, *arguments, regularization=True, **options)

    yield from rows("spectral_norm_block", "‖H‖₂, blocks", hessian.spectral_norm, first, "block")
    yield from rows("spectral_norm_full", "‖H‖₂", hessian.spectral_norm, first, "full")
    yield from rows("gauss_newton_norm", "‖G‖₂", gauss_newton.spectral_norm, first)
    yield from rows("trace", "trace H", hessian.trace, first, seed=seed)
    yield from rows("frobenius_norm", "‖H‖_F", hessian.frobenius_norm, first, seed=seed)
    unit = f"‖H‖₂ ε² / (2 (1 + L)), blocks, ε = {epsilon:g}"
    yield from rows("hessian_sharpness", unit, sharpness.hessian_sharpness, first, epsilon)
    unit = f"per cent, ε = {keskar_epsilon:g}"
    yield from rows("keskar_box", unit, sharpness.keskar_sharpness, train, keskar_epsilon, seed=seed)
    unit = f"per cent, ε = {keskar_epsilon:g}, {manifold} dimensions"
    yield from rows("keskar_subspace", unit, sharpness.keskar_sharpness, train, keskar_epsilon, manifold, seed=seed)
    yield row("loss_gradient_norm", "mean of ‖∂ℓ/∂x‖", sensitivity.loss_gradient_norm, test)
    yield row("whole_loss_gradient_norm", "‖∂L/∂X‖", sensitivity.loss_gradient_norm, test, "whole")
    yield row("jacobian_norm", "mean of ‖∂p/∂x‖_F", sensitivity.jacobian_norm, test[:1])


def table(rows: list[Row]) -> str:
    """Formats the rows as aligned text: values to five digits, with their standard errors."""
    lines = [("measure", "value", "images", "unit")]
    for row in rows:
        error = f" ± {row.standard_error:.1g}" if row.standard_error else ""
        value = f"{row.value:.5g}" if isinstance(row.value, float) else str(row.value)
        lines.append((row.measure, value + error, str(row.examples or ""), row.unit))
    return saved.aligned(lines)


def main(argv: list[str] | None = None) -> None:
    """Runs the command. Exits with 2 for wrong flags, with 1 for an error during the work."""
    values = saved.define_flags()
    flags.DEFINE_string("net", None, "the .keras file of the net (required)", flag_values=values)
    for name, default, text in (
        ("examples", 500, "training images on which the Hessian is measured"),
        ("manifold", 100, "dimension of Keskar's random subspace"),
    ):
        flags.DEFINE_integer(name, default, f"{text} [{default}]", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("seed", 0, "seed of random probes, starts and subspace [0]", lower_bound=0, flag_values=values)
    flags.DEFINE_float("epsilon", 1e-4, "radius ε of the course's sharpness [0.0001]", flag_values=values)
    flags.DEFINE_float("keskar_epsilon", 1e-3, "size ε of Keskar's box [0.001]", flag_values=values)
    flags.DEFINE_string("out", None, "CSV file to write the rows to; it must not exist yet [none]", flag_values=values)
    with command.exit_on_error(code=2):
        command.parse(values, argv, __doc__)
        _check(values)
    with command.exit_on_error(traceback=values.traceback, interrupted="nothing was written"):
        from hw1 import datasets

        data = datasets.load(values.data, values.train, values.test)
        options = {
            name: values[name].value for name in ("examples", "epsilon", "keskar_epsilon", "manifold", "seed", "pixels")
        }
        rows = list(measure(saved.single_precision(saved.load(values.net)), data, **options))
        print(table(rows))
        if values.out:
            with Path(values.out).open("x", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([Row._fields, *rows])


def _check(values) -> None:
    """Raises ValueError for wrong flags that would otherwise fail only after all measurements."""
    if not values.net:
        raise ValueError("--net is needed: the .keras file of the net, for example --net=my_net.keras")
    if values.examples > values.train:
        raise ValueError(f"--examples={values.examples}: must be at most the {values.train} training images")
    saved.check_positive(values, "epsilon", "keskar_epsilon")
    if values.out and not Path(values.out).parent.is_dir():
        raise ValueError(f"--out={values.out}: there is no folder {Path(values.out).parent}; make it first")
    if values.out and Path(values.out).exists():
        raise ValueError(f"--out={values.out}: the file exists; name another or remove it")


if __name__ == "__main__":
    main()
