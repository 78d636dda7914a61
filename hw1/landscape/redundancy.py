"""How does a redundant parameter change the loss surface: w² against (w₁w₂)², the same function with w = w₁w₂?

    python -m hw1.landscape.redundancy
    python -m hw1.landscape.redundancy --size=smoke    seconds

f(w) = w² has one minimum, with curvature 2. g(w₁, w₂) = (w₁w₂)² has a valley of minima, the cross w₁w₂ = 0. Its Hessian
[[2w₂², 4w₁w₂], [4w₁w₂, 2w₁²]] has the eigenvalues 2t² and 0 at (t, 0), so the minima have every curvature, and the
centre of the cross is flat. g is the squared error of a linear net with one hidden unit for input 1 and label 0; the
eigenvalues are computed by `hw1.measures.hessian` on that net. Rows "valley" hold them along (t, 0).

Rows "descent", "label noise" and "parameter noise" follow w from random starts, with step size η:

    descent            w ← w − η ∇g, which is (w₁, w₂) ← (w₁ − a w₂, w₂ − a w₁) with a = 2η w₁w₂. Each step multiplies
                       the difference w₁² − w₂² by 1 − a², so gradient flow (η → 0) conserves it.
    label noise        the same with a = 2η (w₁w₂ − ξ), labels ξ ~ N(0, σ²). The difference shrinks in the valley too,
                       by 1 − 4η²σ² per step on average, so w drifts to the flat centre.
    parameter noise    w ← w − η ∇g + √(2ηT) ζ, ζ ~ N(0, 1)². The width of the valley, in proportion to √T / |t|, draws
                       w to the centre, and w diffuses along the valley. The two effects together keep ‖w‖² constant on
                       average: d⟨‖w‖²⟩ / dt = 4T − 8⟨g⟩, and ⟨g⟩ = T/2 in a narrow valley.

The last tenth of the steps has no noise, so that all runs end in the valley.

Source: Sagun et al., arXiv 1706.04454 (over-parametrised nets have Hessians with many eigenvalues near zero); Du et
al., arXiv 1806.00900 (gradient flow conserves w₁² − w₂²). The kinds of noise are our own choice.

Deviations: none; apart from the finite number of steps, everything is exact.
"""

import dataclasses
import sys

import numpy as np
from keras import losses

from hw1 import command, models, question
from hw1.measures import hessian

METHODS = ("descent", "label noise", "parameter noise")


@dataclasses.dataclass(frozen=True)
class Settings(question.Repeated):
    """Settings of the question; each field is a flag."""

    learning_rate: float = question.option(0.01, "step size η (our choice: stable up to a curvature of 200)")
    steps: int = question.option(5000, "number of steps of each run", minimum=20)
    every: int = question.option(250, "steps between recorded points", at_most="steps")
    label_noise: float = question.option(1.0, "standard deviation σ of the labels")
    temperature: float = question.option(0.05, "temperature T of the parameter noise (in units of g)")
    reach: float = question.option(
        2.0, "reach of the starts, uniform in |w₁|, |w₂| ≤ reach, and of the valley, |t| ≤ reach"
    )
    points: int = question.option(21, "number of points along the valley", minimum=3)
    seeds: int = question.option(30, "independent starts, the same for all methods", minimum=2)


SIZES = {
    "smoke": {"steps": 2000, "every": 500, "points": 5, "seeds": 4},
    "report": {},
    "paper": {"steps": 50000, "every": 500, "learning_rate": 0.003, "seeds": 200},
}

COLUMNS = {
    "rows": ["part", "seed", "step", "first", "second", "loss", "largest_eigenvalue", "smallest_eigenvalue"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work for the valley and one per method."""
    return [{"part": part} for part in ("valley", *METHODS)]


def run(settings: Settings, data, part: str):
    """Yields a row per seed and recorded step, or per point of the valley, whose number is the step."""
    model = net()
    if part == "valley":
        for number, t in enumerate(np.linspace(-settings.reach, settings.reach, settings.points)):
            yield _row(model, 0, number, np.array([t, 0.0]))
        return
    for seed in settings.all_seeds:
        for step, w in enumerate(path(settings, part, seed)):
            if step % settings.every == 0 or step == settings.steps:
                yield _row(model, seed, step, w)


def path(settings: Settings, method: str, seed: int) -> np.ndarray:
    """Runs one method from a random start, which depends on the seed alone.

    Args:
        settings: gives learning_rate, steps, label_noise, temperature and reach.
        method: one of `METHODS`.
        seed: of start and noise.

    Returns:
        The points w, shape [steps + 1, 2].
    """
    start = np.random.default_rng([seed, 0]).uniform(-settings.reach, settings.reach, 2)
    noise = np.random.default_rng([seed, 1]).standard_normal((settings.steps, 2))
    noise[settings.steps * 9 // 10 :] = 0
    labels = settings.label_noise * noise[:, 0] * (method == "label noise")
    shake = np.sqrt(2 * settings.learning_rate * settings.temperature) * noise * (method == "parameter noise")
    points = [start]
    for label, kick in zip(labels, shake, strict=True):
        w = points[-1]
        points.append(w - 2 * settings.learning_rate * (w[0] * w[1] - label) * w[::-1] + kick)
    return np.array(points)


def net():
    """Builds the linear net with one hidden unit, whose squared error for input 1 and label 0 is (w₁w₂)²."""
    return models.mlp((1,), "linear", use_bias=False, input_shape=(1,), classes=1, dtype="float64")


def eigenvalues(model, w) -> np.ndarray:
    """Eigenvalues of the Hessian of (w₁w₂)² at w, descending, shape [2]; sets the weights of `model` to w."""
    model.set_weights([np.reshape(weight, (1, 1)) for weight in w])
    return hessian.eigenvalues(model, np.ones((1, 1)), np.zeros((1, 1)), k=2, loss=losses.mean_squared_error)


def _row(model, seed, step, w) -> dict:
    largest, smallest = eigenvalues(model, w)
    about = {"seed": seed, "step": step, "first": w[0], "second": w[1], "loss": (w[0] * w[1]) ** 2}
    return about | {"largest_eigenvalue": largest, "smallest_eigenvalue": smallest}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
