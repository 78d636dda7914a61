"""CSV → figure: draws a question's figure from its rows, as PNG and PDF."""

from pathlib import Path

from hw1 import catalogue, records


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
    paths = [target / f"{name}.png", target / f"{name}.pdf"]
    try:
        target.mkdir(exist_ok=True)
        for path in filter(Path.is_symlink, paths):
            path.unlink()  # so that what it leads to is not overwritten
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"CreationDate": None, "Creator": None, "Producer": None})
    except OSError as error:
        raise OSError(f"cannot draw into {target} ({error.strerror or error}); the rows are kept") from error
    return paths
