"""What the steps of a card share: the net, its examples, its loss, and what a product costs."""

import dataclasses
import math
import time

import keras
import numpy as np

from hw1 import compiled, evaluation, inputs, models, saved
from hw1.evaluation.checks import positive, whole
from hw1.evaluation.layers import layers
from hw1.evaluation.losses import from_logits
from hw1.measures import products, sampling

LOSSES = {"crossentropy": None, "binary": keras.losses.BinaryCrossentropy(from_logits=True)}
SIZES = (500, 200, 100, 50, 20)  # examples of the Hessian, so many as the time allows
CHUNKS = 10  # into which they are divided for the error by the choice of examples
PRODUCTS = 300  # that the Hessian's measures take together, roughly
SHARE = 0.6  # of the time that they may take


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, and how.

    Attributes:
        loss: "crossentropy" of logits, "binary" cross-entropy of one logit, or any other that
            `hw1.evaluation.per_example` takes, such as "mse". None: that with which the net was compiled, as
            `hw1.compiled.chosen` has it; without one "binary" for one output, else "crossentropy".
        examples: training examples on which the Hessian is measured. None: 500, or as many of 200, 100, 50 and 20 as
            the time allows.
        minutes: time for one net. What would take longer is left out, and named.
        epsilon: radius ε of the course's sharpness, in parameter space.
        keskar_epsilon: size ε of Keskar's box.
        manifold: dimension of Keskar's random subspace; at most the number of parameters is taken.
        rho: radius of the worst-case adaptive sharpness, relative to the parameters (Kwon et al.: 0.5).
        adaptive_sigma: standard deviation of the average-case one, likewise.
        rise: of the loss, in its unit, up to which the PAC-Bayes radius counts as flat.
        seed: of random probes, starts and subspaces.
        pixels: what the net expects of a white pixel; the inputs are multiplied by it.
    """

    loss: object = None
    examples: int | None = None
    minutes: float = 15.0
    epsilon: float = 1e-4
    keskar_epsilon: float = 1e-3
    manifold: int = 100
    rho: float = 0.5
    adaptive_sigma: float = 0.1
    rise: float = 0.1
    seed: int = 0
    pixels: float = 1.0

    def __post_init__(self):
        """Raises ValueError for a setting out of its range."""
        for name in ("minutes", "epsilon", "keskar_epsilon", "rho", "adaptive_sigma", "rise", "pixels"):
            positive(name, getattr(self, name))
        whole("manifold", self.manifold, 1)
        whole("seed", self.seed, 0)
        if self.examples is not None:
            whole("examples", self.examples, 2)


class Work:
    """A net and its examples, checked.

    Attributes:
        model: the net.
        settings: as they were given.
        loss: as `hw1.evaluation.per_example` takes it.
        note: what is to be said of the choice of the loss, or empty.
        is_image: whether the inputs are images from black to white, as far as that can be told.
        parts: "train" and, if there are any, "test" → (x, y) with targets for the loss.
        labels: the same names → integer labels, shape [n]; none if the targets are no classes.
        first: the examples of the Hessian, (x, y).
        n: their number.
        classes: number of classes, of one logit 2; None if the targets are no labels.
        theta: the parameters, float64, shape [parameters].
        layers: layer → the places of its parameters.
        kinds: suffix of the rows → options; a second one if the net has losses of its own.
        deadline: of `time.monotonic`, after which no product is begun.
        seconds: "product" on `first`, "forward" and "gradient" on the training examples; as far as they are known.
        top: the eigenvector of the largest eigenvalue and the eigenvalue, once they are known.
        pictures: what the figures show, by name.
    """

    def __init__(self, model, data, settings: Settings):
        """Checks net and data; raises TypeError or ValueError if they do not fit."""
        evaluation.check_model(model)
        self.model, self.settings, self.pictures, self.top = model, settings, {}, None
        self.deadline = time.monotonic() + 60 * settings.minutes
        parts = parts_of(data, model)
        self.is_image = bool(data.labels) if hasattr(data, "labels") else _is_image(parts["train"][0])
        parts = {name: (inputs.scaled(inputs.shaped(x, model), settings.pixels), y) for name, (x, y) in parts.items()}
        outputs = getattr(model, "output_shape", None)
        is_single = compiled.default(model) == "binary"
        given, self.note = (settings.loss, "") if settings.loss is not None else compiled.chosen(model)
        self.loss = _loss(given, is_single)
        self.parts, self.labels = {}, {}
        several = isinstance(outputs, tuple) and not is_single
        for name, (x, y) in parts.items():
            if self.loss is None or (is_binary(self.loss) and is_single):
                y = labels_of(y)
            try:
                targets = targets_for(self.loss, y, outputs)
                _check_binary(targets, self.loss, given)
                examples = evaluation.check(model, x, targets, self.loss)
            except ValueError as error:
                hint, flags = _hint(str(error))
                if "pixels" in flags and self.loss in LOSSES.values() and saved.last_activation(model):
                    hint += "; and it gives probabilities" + _hint("gives probabilities")[0]  # in the same message
                text = f"{error}{hint}{f'; {self.note}' if self.note else ''}"
                raise (inputs.LackingError(text, **flags) if flags else ValueError(text)) from None
            if examples.weight is not None:
                raise ValueError("a card counts all examples alike: leave out the weights")
            self.parts[name] = examples.x, examples.y
            labels = examples.y if self.loss is None else y  # of one-hot rows the check has made labels
            if is_labels(labels) and (several or is_binary(self.loss)):
                self.labels[name] = np.asarray(labels)
        self.classes = (outputs[-1] if several else 2) if self.labels else None
        if self.loss is None:
            inputs.check_pixels(model, *self.parts["train"], settings.pixels)
        self.theta = models.flat_parameters(model).astype(np.float64)
        self.layers = layers(model)
        penalised = bool(sum(map(float, model.losses)))
        self.kinds = {"": {}} | ({"_regularized": {"regularization": True}} if penalised else {})
        self.seconds, self._products = {}, {}
        self.restrict(min(settings.examples or SIZES[0], size_of(self.parts["train"][0])))

    def restrict(self, n: int) -> None:
        """Takes the first n training examples for the Hessian."""
        x, y = self.parts["train"]
        self.n, self._products = n, {}
        self.first = tuple(keras.tree.map_structure(lambda array: array[:n], part) for part in (x, y))

    @property
    def is_probable(self) -> bool:
        """Whether the loss takes probabilities, as that of a name such as "binary_crossentropy" does."""
        return self.loss is not None and from_logits(self.loss) is False

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self.theta)

    @property
    def chunk(self) -> int:
        """Examples in a chunk."""
        return math.ceil(self.n / CHUNKS)

    def product(self, suffix: str = "", scope: str = "full"):
        """Products by chunks with the Hessian, made once."""
        if (suffix, scope) not in self._products:
            made = products.product(
                self.model, *self.first, self.loss, self._chunk_size(), scope=scope, **self.kinds[suffix]
            )
            self._products[suffix, scope] = self.timed(made)
        return self._products[suffix, scope]

    def timed(self, multiply):
        """The products; TimeoutError from a chunk after the deadline."""
        chunks = multiply.chunks

        def until_the_deadline(vector):
            for image in chunks(vector):
                if time.monotonic() > self.deadline:
                    raise TimeoutError
                yield image

        multiply.chunks = until_the_deadline
        return multiply

    def _chunk_size(self):
        """As many examples as a chunk has, or fewer if a call would take more than 2 GB."""
        fitting = evaluation.Problem(self.model, *self.first, self.loss).chunk_size
        return min(self.chunk, fitting)

    def record(self, suffix: str = "", scope: str = "full", **options) -> sampling.Record:
        """A record of such products."""
        return sampling.Record(self.product(suffix, scope), **options)

    def time(self) -> None:
        """Times a product and a gradient; takes fewer examples if the Hessian's measures would take too long."""
        limit = 60 * self.settings.minutes * SHARE
        multiply = self.product()
        chunk = next(iter(multiply.sizes))
        vector = np.random.default_rng(0).standard_normal(self.size)
        deadline, self.deadline, found = self.deadline, np.inf, []
        for _ in range(4):  # the first call may still be tracing
            begin = time.perf_counter()
            next(iter(multiply.chunks(vector))).numpy()
            found.append(time.perf_counter() - begin)
        self.deadline = deadline
        each = np.median(found[1:]) / chunk
        if self.settings.examples is None and PRODUCTS * each * self.n > limit:
            self.restrict(
                next((n for n in SIZES if PRODUCTS * each * n <= limit and n < self.n), min(SIZES[-1], self.n))
            )
        self.seconds["product"] = each * self.n


def parts_of(data, model) -> dict:
    """The examples for training and, if there are any, for testing.

    Args:
        data: with ``x_train``, ``y_train`` and perhaps ``x_test``, ``y_test``; (x, y); or (x, y, x_test, y_test).
        model: that takes them; see `hw1.inputs.labelled`.

    Returns:
        "train", and perhaps "test", → (x, y).
    """
    if hasattr(data, "x_train"):
        data = inputs.labelled(data, model)
        found = {"train": (data.x_train, data.y_train)}
        return found | ({"test": (data.x_test, data.y_test)} if hasattr(data, "x_test") else {})
    if isinstance(data, tuple) and len(data) in (2, 4):
        return {
            name: data[start : start + 2]
            for name, start in zip(("train", "test"), range(0, len(data), 2), strict=False)
        }
    raise TypeError(
        "data must be what hw1.datasets.load returns, (x, y), or (x_train, y_train, x_test, y_test), not "
        f"{type(data).__name__}"
    )


def size_of(x) -> int:
    """Number of examples."""
    return len(keras.tree.flatten(x)[0])


def _is_image(x) -> bool:
    """Whether inputs are one array of images, shape [n, height, width(, channels)], from 0 to 1 or to 255."""
    if not isinstance(x, np.ndarray) or x.ndim not in (3, 4) or x.dtype.kind not in "uf" or not x.size:
        return False
    return bool(x.min() >= 0) and bool(x.max() <= 255)


def is_labels(y) -> bool:
    """Whether targets are integer labels, one an example."""
    y = y if isinstance(y, np.ndarray) else np.asarray(y) if not isinstance(y, dict | list) else np.empty(0)
    return y.ndim == 1 and y.size > 0 and np.issubdtype(y.dtype, np.integer)


def labels_of(y):
    """Targets of a classifier: whole numbers, one an example, as integers whatever type and column hold them.

    Tables often have classes as 0.0 and 1.0, as booleans, or in a column of their own, shape [n, 1].
    """
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "biuf" or y.shape not in ((len(y),), (len(y), 1)):
        return y
    return y.reshape(-1).astype(np.int64) if np.array_equal(y, np.round(y)) else y


def targets_for(loss, y, outputs):
    """One-hot targets where a loss of Keras compares all outputs and the targets are labels; else as they are."""
    by_keras, name = isinstance(loss, str | keras.losses.Loss), _kind(loss)
    several = isinstance(outputs, tuple) and len(outputs) == 2 and (outputs[1] or 0) > 1
    if not by_keras or not several or "sparse" in name or not is_labels(y):
        return y
    if np.max(y) >= outputs[1] or np.min(y) < 0:
        raise ValueError(f"labels go from {np.min(y)} to {np.max(y)}, but the net has {outputs[1]} outputs")
    return keras.utils.to_categorical(y, outputs[1])


def _loss(given, is_single):
    """The loss, by default the cross-entropy that fits the number of outputs."""
    if given is None:
        return LOSSES["binary" if is_single else "crossentropy"]
    return LOSSES.get(given, given) if isinstance(given, str) else given


def _check_binary(y, loss, given) -> None:
    """Raises ValueError for a binary cross-entropy of targets that are no probabilities: it would be below 0.

    By default they must be classes: other numbers from 0 to 1 may be those of a regression.
    """
    if not is_binary(loss) or not isinstance(y, np.ndarray) or not y.size:
        return
    low, high = y.min(), y.max()
    if not (low >= 0 and high <= 1):
        wanted, remedy = "targets from 0 to 1", ""
    elif given is None and not np.isin(y, (0, 1)).all():
        wanted, remedy = "the classes 0 and 1", ", for probabilities loss='binary' (--loss=binary)"
    else:
        return
    raise ValueError(
        f"the binary cross-entropy, which one output gets by default, needs {wanted}, but the targets go from "
        f"{low:.5g} to {high:.5g}: for a regression give loss='mse' (--loss=mse){remedy}"
    )


def _hint(error: str) -> tuple[str, dict]:
    """What to add to an error of the checks: how the card takes such a net; and the flags that would do."""
    hints = {
        "rescales pixels from 0 to 255": (": --pixels=255 (in Python pixels=255) multiplies them", {"pixels": 255.0}),
        "but not of probabilities": (
            "; for several labels at once give loss='binary' (--loss=binary), for a regression loss='mse' (--loss=mse)",
            {},
        ),
        "the loss takes probabilities": ("; for --loss: binary or crossentropy, or leave out --probabilities", {}),
        "gives probabilities": ("; hw1.measure.logits(model) (--probabilities) takes it off", {}),
        "keras.losses knows no loss": ("; --loss is crossentropy, binary, mse or a name in keras.losses", {}),
        " takes [": ("; --data names the data, and --raw takes inputs that are no images", {}),
    }
    return next((hint for part, hint in hints.items() if part in error), ("", {}))


def is_binary(loss) -> bool:
    """Whether a loss is the binary cross-entropy of a logit."""
    return "binary_crossentropy" in _kind(loss)


def _kind(loss) -> str:
    """The name of the function of a loss of Keras, such as "sparse_categorical_crossentropy", whatever its own name."""
    if isinstance(loss, keras.losses.Loss):
        return getattr(getattr(loss, "fn", None), "__name__", loss.name)
    return loss if isinstance(loss, str) else ""
