"""CSV → figure: draws a question's figure from its rows, as PNG and PDF."""

import io
from pathlib import Path

from hw1 import catalogue, files, records

METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}


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
    target = Path(folder, "figures")
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise files.unwritable(target, error) from error
    for kind, metadata in METADATA.items():
        image = io.BytesIO()
        figure.savefig(image, format=kind, metadata=metadata)
        files.replace(target / f"{name}.{kind}", image.getvalue())
    return [target / f"{name}.{kind}" for kind in METADATA]
