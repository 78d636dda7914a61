"""The findings of part 1-1, deep against shallow nets, one file a question."""

import matplotlib
import numpy as np

from hw1.findings.style import DEPTH_COLOURS


def colours(nets) -> dict[str, object]:
    """Net → its colour, from the deepest to the shallowest; as many different ones as there are nets."""
    nets, found = list(nets), list(dict.fromkeys(DEPTH_COLOURS))
    if len(nets) > len(found):
        found = matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, len(nets)))
    return dict(zip(nets, found[: len(nets)], strict=True))
