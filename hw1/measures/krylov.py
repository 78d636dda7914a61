"""The Krylov space of a symmetric operator H from a random vector, beside eigenvectors that are already known.

Lanczos (1950): the space span{v, Hv, H²v, …} has an orthonormal basis q₁, q₂, … in which H is tridiagonal, and each
further vector costs one product with H. The eigenvalues θᵢ of H restricted to the space, the Ritz values, converge to
the ends of the spectrum first. The residual ‖Hu − θu‖ of a Ritz vector u is β times its component along the last q,
where β is the norm of the part of Hq that lies outside the basis.

Deflation: a space from one vector contains one eigenvector of each eigenvalue, however often that is repeated. Kept
orthogonal to known eigenvectors, it is the Krylov space of PHP, where P projects onto their complement. It shows what
is left: further eigenvectors of the same eigenvalues, or eigenvalues that were missed.

Restart: a full basis is replaced by the Ritz vectors at the wanted end (Wu and Simon, SIAM J. Matrix Anal. Appl. 22,
2000). They span the Krylov space of a better start ψ(H)v. The roots of the polynomial ψ are the Ritz values dropped.

What a space excludes: a small residual shows that θ is close to an eigenvalue, not that it is the outermost, for
another may hardly have entered the space. But the next q is χ(H)ψ(H)v divided by all β so far, where the roots of χ
are the Ritz values. If v has the component c along an eigenvector with the eigenvalue μ, then |c| Π |μ − root| <= Π β.
For a random v, |c| is below _CHANCE / √n with a probability of 0.8 _CHANCE only. Where the inequality would need a
smaller one, there is no eigenvalue μ (van Dorsselaer, Hochstenbach and van der Vorst, SIAM J. Matrix Anal. Appl. 22,
2000). This test costs no product.
"""

import numpy as np
import scipy.linalg

_CHANCE = 0.01  # our choice: an exclusion holds with 99 %; 90 % would save about one product in ten
_SMALLEST = 1e-130  # of products with random vectors: squares of numbers far below them must not be 0
_ROUNDING = 1e-13  # β below this share of ‖H‖ is rounding: H maps the space into itself


def product(operator, vector: np.ndarray) -> np.ndarray:
    """Hv, shape [n].

    Raises:
        ValueError: if it is not finite.
    """
    return check_finite(operator.matvec(vector))


def check_finite(image: np.ndarray) -> np.ndarray:
    """Products as they are; ValueError if they are not finite."""
    if not np.isfinite(image).all():
        raise ValueError("a product of the operator with a vector is not finite")
    return image


def check_size(images: np.ndarray) -> np.ndarray:
    """Products with random vectors, or a whole matrix, as they are.

    Raises:
        ValueError: if they are so small that squares of their entries are 0.
    """
    if 0 < np.abs(images).max(initial=0) < _SMALLEST:
        raise ValueError(
            f"the Hessian is so small (entries of a product: {np.abs(images).max():.2g}) that squares of its entries "
            "are 0 in float64: measure the loss times a large number"
        )
    return images


class Space:
    """Known eigenvectors, and a Krylov space in their complement; together an orthonormal basis.

    Attributes:
        basis: rows, of which the first `size` are in use and the first `known` are eigenvectors, shape [rows, n].
        images: H times each of them, as the products returned it, shape [rows, n].
        projected: H in this basis, shape [rows, rows].
        outside: β, the norm of the part of the last image that lies outside the basis; 0 for an invariant space.
        products: number of products with H so far.
        norm: the largest ‖Hq‖ and |Ritz value| so far, a lower bound of ‖H‖₂ that soon comes close.
    """

    def __init__(self, operator, rows: int):
        """An empty space.

        Args:
            operator: symmetric, a scipy `LinearOperator` of shape [n, n].
            rows: vectors that the basis can hold, at most n.
        """
        self._operator = operator
        self.basis, self.images = np.empty((2, rows, operator.shape[0]))
        self.projected = np.zeros((rows, rows))
        self.size, self.known, self.products, self.norm = 0, 0, 0, 0.0

    def begin(self, start: np.ndarray):
        """Takes all vectors as known, and begins a Krylov space from the part of `start`, shape [n], outside them."""
        self.known, self._roots, self._log_betas = self.size, np.empty(0), 0.0
        rest = self._split(start)[1]
        self._next = rest / np.linalg.norm(rest)

    def grow(self):
        """Adds a vector to the Krylov space, for one product."""
        at, self.size, self.products = self.size, self.size + 1, self.products + 1
        image = product(self._operator, self._next)
        if not self.norm:
            check_size(image)
        self.basis[at], self.images[at] = self._next, image
        column, rest = self._split(image)
        self.projected[at, : self.size] = self.projected[: self.size, at] = column
        self.norm, self.outside = max(self.norm, np.linalg.norm(image)), np.linalg.norm(rest)
        if self.outside <= _ROUNDING * self.norm or self.size == len(rest):
            self.outside = 0.0
        else:
            self._next = rest / self.outside
            self._log_betas += np.log(self.outside)

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values of the Krylov space, ascending; Ritz vectors in its basis, as columns; their residuals."""
        krylov = slice(self.known, self.size)
        values, vectors = np.linalg.eigh(self.projected[krylov, krylov])
        self.norm = max(self.norm, np.abs(values).max())
        return values, vectors, self.outside * np.abs(vectors[-1])

    def excludes(self, point: float, values: np.ndarray) -> bool:
        """Whether the complement of the known vectors has no eigenvalue at `point` nor farther out.

        Args:
            point: above all Ritz values of the Krylov space, or below all.
            values: these Ritz values.
        """
        if not self.outside:
            return True
        distances = np.abs(point - np.concatenate([values, self._roots]))
        return np.log(distances).sum() - self._log_betas > np.log(np.sqrt(self.basis.shape[1]) / _CHANCE)

    def restart(self, vectors: np.ndarray, dropped: np.ndarray):
        """Keeps these Ritz vectors of the Krylov space, columns in its basis; `dropped` are the other Ritz values."""
        self._roots = np.concatenate([self._roots, dropped])
        self._rotate(scipy.linalg.block_diag(np.eye(self.known), vectors))

    def rayleigh_ritz(self, choose) -> np.ndarray:
        """Keeps, of known vectors and Krylov space together, the chosen Ritz vectors, and returns their Ritz values.

        Args:
            choose: function from all Ritz values to the indices of those to keep.
        """
        values, vectors = np.linalg.eigh(self.projected[: self.size, : self.size])
        chosen = choose(values)
        self._rotate(vectors[:, chosen])
        return values[chosen]

    def _split(self, vector):
        """Coefficients of a vector along the basis, and its part outside.

        Most of Hq lies along the last two vectors. With that taken off, one pass over the basis is enough. Where it
        takes off much more, as after a restart, rounding calls for a second (Parlett 1980).
        """
        column, rest = np.zeros(self.size), vector
        last, whole = slice(max(0, self.size - 2), self.size), slice(0, self.size)
        for part in (last, whole, whole):
            before = np.linalg.norm(rest)
            along = self.basis[part] @ rest
            column[part] += along
            rest = rest - along @ self.basis[part]
            if part == whole and np.linalg.norm(rest) > before / 2:
                break
        return column, rest

    def _rotate(self, vectors):
        """Replaces the basis by these combinations of it, columns of shape [size, fewer]."""
        fewer, before = vectors.shape[1], slice(0, self.size)
        for rows in (self.basis, self.images):
            rows[:fewer] = vectors.T @ rows[before]
        self.projected[:fewer, :fewer] = vectors.T @ self.projected[before, before] @ vectors
        self.size = fewer
