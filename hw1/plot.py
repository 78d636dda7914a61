"""Draws figures from the CSVs of a run; needs no TensorFlow and trains nothing.

    python -m hw1.plot                           # every question in runs/, seconds
    python -m hw1.plot --out=hw1/results --only=sharpness

Figures go to figures/ in the same folder, as PNG and PDF.
"""

from collections.abc import Callable
from pathlib import Path

from absl import flags

from hw1 import question, records
from hw1.figures import deep_vs_shallow, generalization, landscape, optimization

# Question → function of its rows, its settings and its other tables by name, that gives a figure.
FIGURES: dict[str, Callable] = {
    figure.__name__: figure
    for part in (deep_vs_shallow, optimization, generalization, landscape)
    for figure in part.QUESTIONS
}


def draw(name: str, folder: str | Path) -> list[Path]:
    """Draws the figure of a question.

    Args:
        name: of the question.
        folder: holds its CSV and JSON; the figure goes to `folder`/figures.

    Returns:
        The paths of the PNG and the PDF.

    Raises:
        FileNotFoundError, ValueError: the CSV or JSON is missing or damaged.
        OSError: the folder cannot be written.
    """
    if name not in FIGURES:
        raise ValueError(f"{name} has no figure: write a function of this name in hw1/figures; the rows are kept")
    rows, tables = records.read(folder, name), records.tables(folder, name)
    figure = FIGURES[name](rows, records.settings(folder, name), **tables)
    target = Path(folder, "figures")
    paths = [target / f"{name}.png", target / f"{name}.pdf"]
    try:
        target.mkdir(exist_ok=True)
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"CreationDate": None, "Creator": None, "Producer": None})
    except OSError as error:
        raise OSError(f"cannot draw into {target} ({error.strerror or error}); the rows are kept") from error
    return paths


def main(argv: list[str] | None = None) -> None:
    """The command; exit codes as in `hw1.question.main`."""
    values = question.base_flags()
    flags.DEFINE_list(
        "only", [], "questions to draw, with commas between them [all that are there]", flag_values=values
    )
    with question.exit_on_error(code=2):
        question.parse(values, argv, __doc__)
        if unknown := [name for name in values.only if name not in FIGURES]:
            raise ValueError(f"--only={unknown[0]}: must be some of {', '.join(FIGURES)}")
    with question.exit_on_error(traceback=values.traceback):
        names = values.only or [name for name in FIGURES if Path(values.out, f"{name}.csv").exists()]
        if not names:
            raise FileNotFoundError(f"{values.out} holds no CSV of a question; make them with: python -m hw1.reproduce")
        for name in names:
            question.say(f"{name}: {', '.join(map(str, draw(name, values.out)))}")


if __name__ == "__main__":
    main()
