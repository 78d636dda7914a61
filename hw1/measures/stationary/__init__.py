"""Points of zero gradient: how to find them, and in how many directions the loss rises from them.

- `descend` minimises ‖∇L‖² by a first-order method, which may stop at a minimum of ‖∇L‖ where ∇L ≠ 0.
- `newton` solves ∇L = 0 by damped steps with the exact Hessian, which lead to saddles as well as to minima.
- `levenberg_marquardt` minimises a squared error, and follows its narrow valleys to the minimum.
- `nearness` says whether a gradient is zero, as far as the Hessian and rounding allow.
- `minimal_ratio`, `rank_ratio` and `sampled_minimal_ratios` measure what was found.

All nets of one architecture are searched at once (`stack`). The methods are meant for small nets in float64: H takes
p² numbers for each net and p products for each iteration, its eigenvectors take of the order of p³ operations.
"""

from hw1.measures.stationary.damped_newton import newton
from hw1.measures.stationary.first_order import descend
from hw1.measures.stationary.least_squares import levenberg_marquardt, singular_values
from hw1.measures.stationary.nearness import Nearness, nearness
from hw1.measures.stationary.ratio import ZERO, minimal_ratio, rank_ratio, sampled_minimal_ratios, signs
from hw1.measures.stationary.stack import TOLERANCE, Expansion, Point, expansions

__all__ = [
    "TOLERANCE",
    "ZERO",
    "Expansion",
    "Nearness",
    "Point",
    "descend",
    "expansions",
    "levenberg_marquardt",
    "minimal_ratio",
    "nearness",
    "newton",
    "rank_ratio",
    "sampled_minimal_ratios",
    "signs",
    "singular_values",
]
