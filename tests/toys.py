"""A toy question without TensorFlow, and how commands are called in this process or in one of their own."""

import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import hw1

ROOT = Path(hw1.__file__).parents[1]

TOY = '''"""Does the toy work?

    python -m toy
"""
import dataclasses, sys
from hw1 import question
from hw1.question import option

@dataclasses.dataclass(frozen=True)
class Settings:
    seeds: int = option(5, "independent repetitions")
    sizes: tuple[int, ...] = option((8, 64, 512), "sizes to compare")
    rates: tuple[float, ...] = option((0.1, 0.2), "step sizes")
    hidden: tuple[int, ...] = option((30, 30), "widths", unique=False)
    rate: float = option(1e-3, "step size")
    noise: float = option(0.0, "standard deviation", minimum=0)
    epochs: int = option(0, "passes", minimum=0)
    scope: str = option("full", "part of the Hessian", choices=("full", "block"))
    label: str = option("a", "any text")
    bias: bool = option(True, "with bias")
    train: int | None = option(None, "number of examples")
    share: float = option(0.5, "share of the examples", maximum=1)
    repeated: int = option(1, "repetitions that are measured twice", at_most="seeds")

SIZES = {"smoke": {"seeds": 2, "sizes": (8, 64)}, "report": {}, "paper": {"seeds": 10}}
COLUMNS = {"rows": ["size", "seed", "value"]}

def units(settings):
    return [{"size": size} for size in settings.sizes]

def run(settings, data, size):
    for seed in range(settings.seeds):
        yield {"seed": seed, "value": size / (3 + seed)}
'''

# What follows TOY where it is a command: no figures, no TensorFlow.
COMMAND = """
from hw1 import command
from hw1.findings import drawing

drawing.draw = lambda name, folder: []
question._make_deterministic = lambda: None
if __name__ == "__main__":
    command.main(sys.modules[__name__])
"""


def module_of(source=TOY, name="toy"):
    """A module made from source text."""
    module = ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


def exit_code(main, *arguments):
    """The exit code of a command called in this process."""
    with pytest.raises(SystemExit) as caught:
        main(["command", *arguments])
    return caught.value.code or 0


def beside(defaults, arguments):
    """The defaults of flags that are not among the arguments: no flag may be given twice."""
    given = {argument.partition("=")[0] for argument in arguments}
    return [default for default in defaults if default.partition("=")[0] not in given]


def python(code, *arguments):
    """The command line that runs `code` in an interpreter of its own."""
    return [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]


def contents(folder):
    """Every file of a folder, byte by byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
