"""What a measure is computed on: a model, examples and a loss, checked, and the sums of programs over the examples."""

import functools
from collections.abc import Callable, Iterator
from typing import TypedDict

import numpy as np
import tensorflow as tf

from hw1.evaluation import checks, graphs, losses
from hw1.evaluation.architectures import architecture, jit_compile
from hw1.evaluation.examples import Examples, read
from hw1.evaluation.functional import compiled, remember, single, variables

# Examples in one compiled call: fewer if the activations are large, see `Problem.chunk_size`.
CHUNK, DENSE_CHUNK = 1000, 5000
MEMORY = 2 * 10**9  # bytes that a compiled call may take
# Copies of the activations that the second derivative holds at once. Measured: 1.3 to 2.6 on two cores; on more, up to
# ten rows of a matrix are computed at once.
_COPIES = 8
_FEW = 32  # examples on which the model and its compiled form are compared


class Options(TypedDict, total=False):
    """Options that every measure of the loss takes.

    Attributes:
        chunk_size: examples in one compiled call. It bounds the memory, and affects the result only by rounding. None
            (the default) chooses such that a call takes at most about 2 GB. Products with the Hessian keep up to 2 GB
            more between their calls.
        sample_weight: weight of each example, shape [n]. The loss is then (1/n) Σ w_i ℓ_i, as Keras trains it.
        regularization: whether the loss includes the model's own losses, ``model.losses``: L2 regularisation of
            weights, activity regularisation and whatever `add_loss` adds. False (the default) measures the loss of the
            data alone, as the papers do, also for a model that was trained with regularisation.
    """

    chunk_size: int | None
    sample_weight: object
    regularization: bool


class Problem:
    """The mean loss of a model over examples, as a function of the model's variables.

    Attributes:
        model: the Keras model; its later changes have no effect.
        loss: as it was given.
        examples: the checked `Examples`.
        n: their number.
        parameters: the trainable variables at present, a list of tensors.
        state: the other variables, likewise.
        size: number of parameters.
        dtype: of the parameters, a NumPy dtype.
        outputs: of the model on the first examples; an array, or several in a list or dict.
        chunk_size: examples in one compiled call.
        regularization: as in `Options`.
    """

    def __init__(
        self, model, x, y=None, loss=None, chunk_size=None, sample_weight=None, regularization=False, targets=True
    ):
        """Checks everything.

        Args:
            model: a built Keras model.
            x: inputs, shape [n, ...]; a list or dict of them; or a data set, see `hw1.evaluation.examples.read`.
            y: targets: integers of shape [n] or one-hot rows for the cross-entropy, or what `loss` takes; None for a
                data set, and if the measure needs none.
            loss: as for `hw1.evaluation.per_example`. For None the outputs must be logits.
            chunk_size: as in `Options`; so are sample_weight and regularization.
            sample_weight: see there.
            regularization: see there.
            targets: whether targets are needed.

        Raises:
            TypeError, ValueError: naming what is wrong and what is needed instead.
        """
        checks.check_model(model)
        if chunk_size is not None and (
            isinstance(chunk_size, bool) or not hasattr(chunk_size, "__index__") or chunk_size < 1
        ):
            raise ValueError(f"chunk_size must be at least 1, not {chunk_size!r}")
        if not isinstance(regularization, bool):
            raise TypeError(f"regularization must be True or False, not {regularization!r}")
        self.model, self.loss, self.regularization = model, losses.by_place(model, loss), regularization
        self._architecture, self._compiled, self._given = architecture(model), {}, chunk_size
        x, y, weight = read(model, x, y, sample_weight)
        checks.check_scale(model, x)
        self.n = len(tf.nest.flatten(x)[0])
        self.parameters, self.state = variables(model)
        self.dtype = self.parameters[0].dtype.as_numpy_dtype
        self.size = sum(p.shape.num_elements() for p in self.parameters)
        self.examples = Examples(x, None, weight, self.n)
        self.outputs = self._check_forward()
        if regularization:
            self._check_own_losses()
        if y is None and targets:
            raise ValueError("y is missing: give a target for each example, or a data set of batches (x, y)")
        if isinstance(y, dict) and isinstance(self.outputs, list | tuple):
            y = losses.by_place(model, y)
        if y is not None:
            self.examples = self.examples._replace(y=checks.targets(y, self.n, self.outputs, self.loss))
        self.chunk_size = self.fitting()
        if regularization and self.chunk_size < self.n:
            self._check_own_losses_of_parts()

    def compile(self, program) -> Callable:
        """The compiled program, made once for each program; see `hw1.evaluation.functional`."""
        if program not in self._compiled:
            self._compiled[program] = compiled(program, self.model, self.loss, self.regularization, self._architecture)
        return self._compiled[program]

    @functools.cached_property
    def is_dense(self) -> bool:
        """Whether the model is a net of matrix products, of which several run faster side by side in one call."""
        return jit_compile(self.model)

    @property
    def key(self) -> tuple | None:
        """What two problems share only if their programs do the same; None if nobody can know.

        A problem with a key has model and loss of Keras's own parts, whose derivatives the tests hold against
        differences.
        """
        loss = losses.key(self.loss)
        if self._architecture is None or loss is None:
            return None
        shapes = tuple(array.shape[1:] for array in tf.nest.flatten((self.examples.x, self.examples.y)))
        return self._architecture, loss, self.regularization, shapes

    def trace(self, run, parts, *arguments) -> None:
        """Traces a compiled program for the first and the last of `parts`, so that no later change can reach it.

        What problems share is traced on a copy of the model, which nobody changes.
        """
        for part in (parts[0], parts[-1]) if self.key is None else ():
            run.get_concrete_function(self.parameters, self.state, *part, *arguments)

    def chunks(self, size: int | None = None) -> Iterator[tuple]:
        """Yields the examples as tensors (x, targets) for a compiled program, `size` or ``chunk_size`` at a time."""
        return self.examples.chunks(size or self.chunk_size)

    def mean(self, run, *arguments, parameters=None, state=None, copies=1):
        """The results of a compiled program that sums over examples, added up over all chunks and divided by n.

        Args:
            run: the program, from `compile`; it returns a tensor or a list of tensors.
            arguments: for the program, after parameters, state, inputs and targets.
            parameters: values of the trainable variables; None takes those of the model.
            state: values of the other variables, likewise.
            copies: nets whose activations the program holds at once.
        """
        parameters = self.parameters if parameters is None else parameters
        state = self.state if state is None else state
        total = None
        for chunk in self.chunks(self.fitting(copies)):
            found = tf.nest.map_structure(lambda t: t.numpy(), run(parameters, state, *chunk, *arguments))
            total = found if total is None else tf.nest.map_structure(np.add, total, found)
        return tf.nest.map_structure(lambda array: array / self.n, total)

    def _check_forward(self):
        """The model's outputs on a few examples, after a check that its compiled form gives the same."""
        run, few = self.compile(_outputs), self.examples.first(_FEW)
        x, _ = next(few.chunks(_FEW))
        if self._architecture is None:
            self._facts = self._read_facts(run, x)
        else:
            shapes = tuple(array.shape[1:] for array in tf.nest.flatten(self.examples.x))
            self._facts = remember((graphs.Facts, self._architecture, shapes), lambda: self._read_facts(run, x))
        found = self.outputs_at(self.parameters, self.state)
        plain = single(self.model(few.x, training=False))
        self._own = list(self.model.losses) if self.regularization else None
        self._restore()
        checks.check_outputs(self.model, found, plain, few.n)
        checks.check_kind(self.model, self.loss, found, self._facts.last)
        return found

    def _read_facts(self, run, x):
        """What the graph tells, after a check that an example has the same outputs alone and among others."""
        facts = graphs.Facts.of(self.model, run, self.parameters, self.state, x)
        try:
            among = run(self.parameters, self.state, x)
        except tf.errors.OpError as error:
            said = [line.strip() for line in str(error.message).split("[[")[0].splitlines() if line.strip()]
            raise ValueError(f"model {self.model.name!r} cannot be computed on x: {(said or ['?'])[-1]}") from None
        try:
            alone = run(self.parameters, self.state, tf.nest.map_structure(lambda array: array[-1:], x))
        except tf.errors.OpError as error:
            raise ValueError(f"model {self.model.name!r} cannot be computed for one example alone: {error}") from None
        checks.check_alone(self.model, *(tf.nest.map_structure(np.asarray, part) for part in (among, alone)))
        return facts

    def _restore(self):
        """Gives back the model its state, which a call may have changed."""
        for variable, value in zip(self.model.non_trainable_variables, self.state, strict=True):
            if self._architecture is None and not np.array_equal(variable, value, equal_nan=False):
                variable.assign(value)

    def _check_own_losses(self):
        """Compares the compiled sum of the model's own losses with ``model.losses`` after a call on some examples.

        Keras reads them off the variables, which a model that is made from its configuration may not have: the model
        itself is then compiled. ValueError if they differ even so.
        """
        try:
            own = float(sum(self._own))
        except (TypeError, ValueError):  # a tf.function in the model hides them from Keras
            return
        few = self.examples.first(_FEW)
        x, _ = next(few.chunks(_FEW))
        for known in (self._architecture, None):
            if known is None and self._architecture is not None:
                self._architecture, self._compiled = None, {}
            found = float(self.compile(_own_losses)(self.parameters, self.state, x))
            if abs(found - own) <= 1e3 * np.finfo(self.dtype).eps * max(abs(own), abs(found)):
                return
        raise ValueError(
            f"the own losses of model {self.model.name!r} are {own:.6g} when it is called, but {found:.6g} when it is "
            "compiled, so that no measure of them would be right"
        )

    def _check_own_losses_of_parts(self):
        """Raises ValueError unless the model's own losses on some examples are the mean of those on parts of them."""
        few, run = self.examples.first(_FEW), self.compile(_own_losses)
        parts = [*few.chunks(few.n), *few.chunks(-(-few.n // 2))]
        sizes = [len(tf.nest.flatten(x)[0]) for x, _ in parts]
        whole, *rest = (n * float(run(self.parameters, self.state, x)) for n, (x, _) in zip(sizes, parts, strict=True))
        if abs(whole - sum(rest)) > 1e3 * np.finfo(self.dtype).eps * abs(whole):
            raise ValueError(
                f"the own losses of model {self.model.name!r} depend on how many examples are in a batch, so that they "
                f"have no mean over chunks: give chunk_size={self.n}, or regularization=False"
            )

    def outputs_at(self, parameters, state):
        """The model's outputs on the first examples for other values of its variables, as arrays."""
        x, _ = next(self.examples.first(_FEW).chunks(_FEW))
        return tf.nest.map_structure(np.asarray, self.compile(_outputs)(parameters, state, x))

    def all_outputs(self, parameters=None, state=None) -> Iterator:
        """Yields the model's outputs on each chunk, as arrays, by default for the present values of its variables."""
        parameters, state = parameters or self.parameters, state or self.state
        for x, _ in self.chunks():
            yield tf.nest.map_structure(np.asarray, self.compile(_outputs)(parameters, state, x))

    def fitting(self, copies: int = 1) -> int:
        """How many examples fit into one compiled call that holds the activations of so many nets."""
        if self._given is not None:
            return self._given
        most = DENSE_CHUNK if self.is_dense else CHUNK
        return int(min(most, max(1, MEMORY // (_COPIES * copies * max(1, self._facts.bytes_per_example)))))


def check(model, x, y=None, loss=None) -> Examples:
    """Checks a model and the examples it is measured on, as every measure does first.

    Args:
        model: a built Keras model.
        x: as for `Problem`.
        y: as for `Problem`.
        loss: as for `Problem`.

    Returns:
        The examples as NumPy arrays, labels as int32.

    Raises:
        TypeError, ValueError: naming what is wrong and what is needed instead.
    """
    return Problem(model, x, y, loss, targets=y is not None).examples


def _outputs(net):
    """The program of the model's outputs."""
    return net.outputs


def _own_losses(net):
    """The program of the model's own losses."""
    return net.penalty
