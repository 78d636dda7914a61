"""CSV → figure: draws a question's figure from its rows, as PNG and PDF."""

from pathlib import Path

from hw1 import catalogue, files, records


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
    finding = catalogue.finding(name)
    rows, tables = records.read(folder, name), records.tables(folder, name)
    figure = finding.figure(rows, records.settings(folder, name), **tables)
    return files.save(figure, Path(folder, "figures"), name)
