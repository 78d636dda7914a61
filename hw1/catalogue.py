"""The parts and their questions in order: the one list that every command reads.

A question is two modules of one name: the experiment `hw1.<part>.<question>` computes rows, and the finding
`hw1.findings.<part>.<question>` draws and judges them. To add a question, write the two and add its name here.
"""

import importlib
from types import ModuleType

PARTS = {
    "deep_vs_shallow": ["simulate_function", "actual_task"],
    "optimization": ["trajectories", "gradient_norm", "zero_gradient", "error_surface"],
    "generalization": [
        "random_labels",
        "parameter_count",
        "interpolation",
        "sensitivity",
        "sharpness",
        "reparametrization",
    ],
    "landscape": [
        "large_batch",
        "remedies",
        "spectrum",
        "adversarial",
        "loss_functions",
        "evidence",
        "flatness",
        "redundancy",
    ],
    "dynamics": [
        "batch_size_scaling",
        "linear_scaling",
        "batch_growth",
        "gradient_noise",
        "gd_vs_sgd",
        "mean_field",
        "label_noise",
        "ingredients",
        "memorization",
        "flat_seeking",
    ],
    "paths": ["straight_line", "walk", "smoothing"],
}
COURSE = ["deep_vs_shallow", "optimization", "generalization"]
PAPERS = ["landscape", "dynamics", "paths"]
GROUPS = {"course": COURSE, "papers": PAPERS, "all": COURSE + PAPERS} | {part: [part] for part in PARTS}


def names(group: str = "all") -> list[str]:
    """The questions of a group in order.

    Args:
        group: "course", "papers", "all", or one part.
    """
    return [name for part in GROUPS[group] for name in PARTS[part]]


def part_of(name: str) -> str:
    """The part to which a question belongs.

    Raises:
        ValueError: there is no such question.
    """
    for part, questions in PARTS.items():
        if name in questions:
            return part
    raise ValueError(f"unknown question {name!r}; the questions are {', '.join(names())}")


def path(name: str) -> str:
    """The dotted path of a question's experiment, such as "hw1.generalization.sharpness"."""
    return f"hw1.{part_of(name)}.{name}"


def experiment(name: str) -> ModuleType:
    """Imports the module that computes the rows of a question, and with it TensorFlow."""
    return importlib.import_module(path(name))


def finding(name: str) -> ModuleType:
    """Imports the module that draws and judges the rows of a question; it needs no TensorFlow."""
    return importlib.import_module(f"hw1.findings.{part_of(name)}.{name}")
