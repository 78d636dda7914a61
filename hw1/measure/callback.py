"""Sharpness, trace and sensitivity during training: a callback for `model.fit`."""

import time

import keras
import numpy as np

from hw1 import command, compiled
from hw1.evaluation.checks import whole
from hw1.measures import hessian, lanczos, sampling, sensitivity, stability, stochastic

COLD_EVERY = 5  # measurements, of which the first searches without a guess
TOLERANCE = 1e-2  # of Lanczos: an error of λ of about 1e-4


class Flatness(keras.callbacks.Callback):
    """Follows how flat a net is while it is trained, and how far the optimiser is from its edge of stability.

    Into ``logs``, and so into History, CSVLogger and TensorBoard, if they come later in the list of callbacks, it puts

        largest_eigenvalue   λ₁, the largest eigenvalue of the Hessian H of the training objective
        edge_of_stability    λ₁ of P⁻¹H / threshold of the optimiser (`hw1.measures.stability`): without momentum
                             λ₁ · learning rate / 2. Above 1 the quadratic along the eigenvector oscillates ever wider.
        trace, trace_error   trace of H with the standard error of its probes (Hutch++)
        sensitivity          mean over the examples of the norm of the loss's gradient in the input; not of integers
        flatness_seconds     what the measurement took

    H is that of the loss the model was compiled with, plus the model's own losses (regularisation), on the given
    examples, in inference mode: without dropout, with the stored statistics of batch normalisation. It is the mean over
    examples, all alike: a compilation with loss_weights or a sum is refused, and ``class_weight`` and ``sample_weight``
    of ``fit`` are not seen.

    A measurement costs some 10 products with H for λ₁ (as many again for an adaptive optimiser, whose P⁻¹H is another
    matrix), `probes` products for the trace, and a gradient in the input. A product costs one to three gradients on
    the examples. On 500 images and the course's net of 24,380 parameters that is about 0.1 s. The first measurement,
    which also compiles, prints what the next ones will take; a net written as a class is compiled in each.

    λ₁ starts from the eigenvector found before, which takes 6 to 8 products. Such a search might miss an eigenvalue
    that overtakes from elsewhere, so each fifth measurement searches anew, with proof that none was missed.

    Example:
        flatness = Flatness(x_train[:500], y_train[:500])
        model.fit(x_train, y_train, epochs=20, callbacks=[flatness, keras.callbacks.CSVLogger("log.csv")])
    """

    def __init__(self, x, y=None, every: int = 1, probes: int = 12, loss=None, edge: bool = True, seed: int = 0):
        """Sets what is measured.

        Args:
            x: inputs on which it is measured, as for `hw1.evaluation.Problem`; some hundred training examples.
            y: targets, likewise.
            every: epochs from one measurement to the next. The first and the last epoch are always measured.
            probes: products of the trace, at least 6; 0 for no trace.
            loss: None takes that of ``model.compile``.
            edge: whether to measure the distance to the edge of stability, which is known for SGD, Adam, AdamW, RMSprop
                and Adagrad.
            seed: of the probes.

        Raises:
            ValueError: a number is out of its range.
        """
        super().__init__()
        self.every, self.edge, self._examples, self._loss = whole("every", every, 1), edge, (x, y), loss
        self.probes, self.seed = whole("probes", probes, 0), whole("seed", seed, 0)
        if 0 < self.probes < 6:
            raise ValueError(f"probes must be 0 or at least 6, not {probes}")
        self.products: list[int] = []
        self._guesses, self._count = {}, 0

    def on_train_begin(self, logs=None):
        """Checks the loss and the optimiser, so that no epoch is lost."""
        if (
            self._loss is None
            and not isinstance(self.model.loss, str | keras.losses.Loss)
            and not callable(self.model.loss)
        ):
            raise ValueError("Flatness needs a loss: compile the model with one, or give loss=")
        why = compiled.reduced(self.model) if self._loss is None else ""
        if why:
            raise ValueError(
                f"the loss {compiled.described(self.model.loss)} is compiled {why}, but Flatness measures its mean "
                "over examples: give loss= to measure that, and edge=False, as the edge is that of another objective"
            )
        if self.edge:
            stability.check(self.model.optimizer)
        if not self._has_derivative():
            command.say("Flatness: the inputs are integers, in which there is no derivative: no sensitivity")

    def _has_derivative(self) -> bool:
        """Whether the inputs are floating point, as far as they are arrays; tokens are not."""
        found = [getattr(part, "dtype", "float32") for part in keras.tree.flatten(self._examples[0])]
        return all("float" in keras.backend.standardize_dtype(dtype) for dtype in found)

    def on_epoch_end(self, epoch, logs=None):
        """Measures, and adds to the logs."""
        is_last = epoch + 1 == self.params.get("epochs")
        if logs is not None and (epoch % self.every == 0 or is_last):
            logs |= self.measure()

    def measure(self) -> dict[str, float]:
        """Measures the model as it is now.

        Returns:
            The values that the class names.
        """
        begin = time.perf_counter()
        loss = self.model.loss if self._loss is None else self._loss
        multiply = hessian.product(self.model, *self._examples, loss, regularization=bool(self.model.losses))
        found = {"largest_eigenvalue": self._largest("H", multiply)}
        if self.edge:
            threshold, diagonal = stability.edge(self.model.optimizer, self.model.trainable_variables)
            largest = found["largest_eigenvalue"]
            if diagonal is not None:
                largest = self._largest("P⁻¹H", multiply, 1 / np.sqrt(diagonal))
            found["edge_of_stability"] = largest / threshold
        if self.probes:
            estimate = stochastic.trace(lanczos.linear_operator(multiply), self.probes, self.seed)
            found |= {"trace": float(estimate), "trace_error": estimate.standard_error}
        if self._has_derivative():
            found["sensitivity"] = sensitivity.loss_gradient_norm(self.model, *self._examples, loss=loss)
        found["flatness_seconds"] = time.perf_counter() - begin
        self._count += 1
        if self._count == 2:
            command.say(
                f"Flatness: a measurement takes {found['flatness_seconds']:.2g} s, with {self.products[-1]} products "
                f"for an eigenvalue and {self.probes} for the trace"
            )
        return found

    def _largest(self, name, multiply, scale=1.0) -> float:
        """The largest eigenvalue of the scaled Hessian, from the eigenvector of the measurement before."""
        record = sampling.Record(multiply, scale=scale)
        guess = self._guesses.get(name) if self._count % COLD_EVERY else None
        found = lanczos.eigenpairs(record.operator, 1, "LA", TOLERANCE, guess)
        if not found.converged.all():
            raise RuntimeError(f"the largest eigenvalue has not converged after {found.products} products")
        self.products.append(found.products)
        self._guesses[name] = found.vectors[:, 0]
        return float(found.values[0])
