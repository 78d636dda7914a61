"""Points of zero gradient: how to find them, and in how many directions the loss rises from them.

- `descend` minimises ‖∇L‖² by a first-order method, which may stop at a minimum of ‖∇L‖ where ∇L ≠ 0.
- `newton` solves ∇L = 0 by damped steps with the exact Hessian, which lead to saddles as well as to minima.
- `levenberg_marquardt` minimises a squared error, and follows its narrow valleys to the minimum.
- `minimal_ratio` and `sampled_minimal_ratio` measure what was found.

All nets of one architecture are searched at once (`stack`). The methods are meant for small nets in float64: H takes
p² numbers for each net and p products for each iteration, its eigenvectors take of the order of p³ operations.
"""

from hw1.measures.stationary.damped_newton import DAMPINGS, newton
from hw1.measures.stationary.first_order import descend
from hw1.measures.stationary.least_squares import levenberg_marquardt
from hw1.measures.stationary.ratio import ZERO, minimal_ratio, sampled_minimal_ratio, signs
from hw1.measures.stationary.stack import TOLERANCE, Point, hessians

__all__ = [
    "DAMPINGS",
    "TOLERANCE",
    "ZERO",
    "Point",
    "descend",
    "hessians",
    "levenberg_marquardt",
    "minimal_ratio",
    "newton",
    "sampled_minimal_ratio",
    "signs",
]
