"""What the choice of examples adds to the error of a measure: the jackknife over chunks of examples.

A measure on n examples is an estimate of its value on the population they were drawn from. With the chunks
j = 1 … g of n_j examples, the value θ on all of them and the value θ₍ⱼ₎ without chunk j, the jackknife for chunks of
unequal sizes takes h_j = n / n_j and the pseudo-values h_j θ − (h_j − 1) θ₍ⱼ₎, with the mean

    θ_J = Σ_j (θ − (1 − 1/h_j) θ₍ⱼ₎):    variance = (1/g) Σ_j (pseudo-value_j − θ_J)² / (h_j − 1),    bias = θ − θ_J.

The square root of variance + bias² is the error that is reported. The bias matters: the largest eigenvalue of a mean of
random matrices is larger on average than that of their expectation, because it is a convex function. For chunks of one
size this is Quenouille's and Tukey's jackknife. Of ten chunks the variance has nine degrees of freedom, so two errors
hold the truth in about 93 % of all cases, not in 95 %.

Quadratic measures cost nothing beside the products that are taken anyway (`Record`). An eigenvalue without a chunk is
that of a Rayleigh–Ritz projection (`eigenvalues_left_out`). Its basis holds the eigenvector u and the products of u
with each chunk's matrix, a step of Lanczos for each of the matrices, so the error is of third order in what a chunk
changes. It costs g + 1 products.

Source: Busing, Meijer and van der Leeden, Delete-m jackknife for unequal m, Statistics and Computing 9 (1999).
"""

from typing import NamedTuple

import numpy as np

from hw1.evaluation import checks
from hw1.measures import lanczos


class Sampling(NamedTuple):
    """The error of a measure by the sampling of its examples.

    Attributes:
        standard_error: falls as 1/√n.
        bias: of the value on n examples; falls as 1/n.
    """

    standard_error: float
    bias: float

    @property
    def error(self) -> float:
        """Root mean square of both."""
        return float(np.hypot(self.standard_error, self.bias))

    def examples(self, n: int, tolerance: float) -> int:
        """How many examples would bring the error down to `tolerance`, at least 1.

        Args:
            n: number of examples of this error.
            tolerance: the error that is wanted, in the unit of the measure.
        """
        if not tolerance > 0:
            raise ValueError(f"the error that is wanted must be above 0, not {tolerance!r}")
        linear, square = self.standard_error**2, self.bias**2  # linear · s + square · s² = tolerance², s = n / examples
        if not linear + square > 0:
            return 1
        share = 2 * tolerance**2 / (linear + np.sqrt(linear**2 + 4 * square * tolerance**2))
        return int(np.ceil(max(1.0, n / share)))


def mean(values) -> Sampling:
    """The sampling error of the mean of one value an example, shape [n]; infinite for a single example."""
    values = np.asarray(values, np.float64)
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    return Sampling(float(error), 0.0)


def jackknife(value: float, left_out, sizes) -> Sampling:
    """The sampling error of a measure from its values without one chunk each.

    Args:
        value: on all examples.
        left_out: without each chunk, shape [chunks].
        sizes: examples in each chunk, shape [chunks].

    Returns:
        A `Sampling`; infinite if there is one chunk only.
    """
    left_out, sizes = np.asarray(left_out, np.float64), np.asarray(sizes, np.float64)
    if left_out.shape != sizes.shape or left_out.ndim != 1:
        raise ValueError(f"a value and a size for each chunk are needed, not {left_out.shape} and {sizes.shape}")
    if len(sizes) < 2:
        return Sampling(np.inf, 0.0)
    shares = sizes.sum() / sizes
    estimate = np.sum(value - (1 - 1 / shares) * left_out)
    pseudo = shares * value - (shares - 1) * left_out
    return Sampling(float(np.sqrt(np.mean((pseudo - estimate) ** 2 / (shares - 1)))), float(value - estimate))


def without(means, sizes) -> np.ndarray:
    """The mean over all examples but those of one chunk, for each chunk.

    Args:
        means: over the examples of each chunk, shape [chunks, ...].
        sizes: examples in each chunk, shape [chunks].

    Returns:
        The means without each chunk, shape [chunks, ...].
    """
    means = np.asarray(means, np.float64)
    weights = np.reshape(np.asarray(sizes, np.float64), (-1,) + (1,) * (means.ndim - 1))
    sums = weights * means
    return (sums.sum(axis=0) - sums) / (weights.sum() - weights)


class Record:
    """Products with a mean of matrices, H = Σ_j (n_j / n) H_j, which notes what each chunk j contributes.

    With a diagonal scaling D, the matrix is DHD.

    Attributes:
        operator: for the algorithms that take one: scipy's linear operator of shape [size, size].
        sizes: examples in each chunk, shape [chunks].
        quadratic: for each product with a v, vᵀ H_j v in the rows of each block, shape [chunks, blocks].
        squares: for each product with a v, ‖Hv‖² and then ‖H₍ⱼ₎v‖² without each chunk j, shape [1 + chunks].
    """

    def __init__(self, multiply, blocks=(), scale=1.0):
        """Begins a record.

        Args:
            multiply: products by chunks, from `hw1.measures.products.product` or `hw1.measures.gauss_newton.product`.
            blocks: indices of the rows of each block; the block of all rows comes before them.
            scale: the diagonal of D, shape [size].
        """
        self._multiply, self._scale = multiply, scale
        self.sizes, self.quadratic, self.squares = np.array(multiply.sizes, np.float64), [], []
        blocks = [slice(None), *map(_as_slice, blocks)]
        n = self.sizes.sum()

        def noted(vector):
            images = self.chunks(vector)
            total = self.sizes @ images / n
            self.quadratic.append(np.stack([images[:, rows] @ vector[rows] for rows in blocks], axis=1))
            square, across, own = total @ total, images @ total, np.einsum("ji,ji->j", images, images)
            rest = n**2 * square - 2 * n * self.sizes * across + self.sizes**2 * own
            left = np.where(self.sizes < n, n - self.sizes, np.nan)  # without the only chunk nothing is left
            self.squares.append(np.append(square, np.maximum(rest, 0) / left**2))
            return total

        noted.size = multiply.size
        self.operator = lanczos.linear_operator(noted)

    def chunks(self, vector) -> np.ndarray:
        """H_j v of each chunk, shape [chunks, size]."""
        sums = np.stack([image.numpy() for image in self._multiply.chunks(self._scale * vector)])
        return self._scale * (sums / self.sizes[:, None])

    def traces(self, products: int) -> list[Sampling]:
        """The sampling errors of the traces of all blocks, of the one of all rows first.

        That of all rows takes the parts of Hutch++, the others its first vectors alone, whose own noise makes these
        errors too large: 2.5 times in the tests, where that of all rows is too large by a quarter.

        Args:
            products: number of products of the estimate by Hutch++, which must have been the first.
        """
        deflated, plain = self._means(self.quadratic, products)
        values = np.concatenate([deflated[:, :1], plain[:, 1:]], axis=1)
        return [
            jackknife(self.sizes @ block / self.sizes.sum(), without(block, self.sizes), self.sizes)
            for block in values.T
        ]

    def frobenius_norm(self, products: int) -> Sampling:
        """The sampling error of the Frobenius norm by Hutch++, as for `traces`."""
        whole, *left_out = np.sqrt(self._means(self.squares, products)[0])
        return jackknife(whole, left_out, self.sizes)

    def _means(self, noted, products):
        """What was noted in the parts of Hutch++: with the basis Q and its rest; and with the first random signs.

        tr A = tr QᵀAQ + E vᵀ(I − QQᵀ)A(I − QQᵀ)v, and ‖A‖_F² = ‖AQ‖_F² + E ‖A(I − QQᵀ)v‖², for any A that v does not
        depend on. If the unit vectors were taken instead, both are their sum.
        """
        size, third = self.operator.shape[0], products // 3
        if products >= size:
            return (np.sum(noted[:size], axis=0),) * 2
        signs, basis, rest = (np.array(noted[start * third : (start + 1) * third]) for start in range(3))
        return basis.sum(axis=0) + rest.mean(axis=0), signs.mean(axis=0)


def _as_slice(rows):
    """Indices without gaps as a slice, which takes no copy; others as they are."""
    is_plain = len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
    return slice(int(rows[0]), int(rows[0]) + len(rows)) if is_plain else rows


def eigenvalues_left_out(record: Record, vector: np.ndarray, value: float) -> tuple[float, np.ndarray]:
    """An extreme eigenvalue without one chunk each, by a Rayleigh–Ritz projection; see the module.

    Args:
        record: the products, from which it was found. What follows is not added to its notes.
        vector: the eigenvector, shape [size].
        value: the eigenvalue. Above 0 the largest of each projected matrix is taken, below 0 the smallest.

    Returns:
        The eigenvalue of the projected H, `value` up to the error of the eigenvector; and those of the projected H₍ⱼ₎,
        shape [chunks].
    """
    checks.whole("number of chunks", len(record.sizes), 2)
    images = without(record.chunks(vector), record.sizes)
    basis = np.linalg.qr(np.vstack([vector, images]).T)[0]
    projected = np.stack([record.chunks(column) @ basis for column in basis.T], axis=1)
    projected = (projected + np.swapaxes(projected, 1, 2)) / 2
    whole = np.einsum("j,jab->ab", record.sizes / record.sizes.sum(), projected)
    matrices = np.concatenate([whole[None], without(projected, record.sizes)])
    found = np.linalg.eigvalsh(matrices)[:, -1 if value > 0 else 0]
    return float(found[0]), found[1:]
