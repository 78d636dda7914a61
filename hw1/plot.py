"""Draws figures from the CSVs of a run; needs no TensorFlow and trains nothing.

    python -m hw1.plot                           # every question in runs/, seconds
    python -m hw1.plot --out=hw1/results --only=sharpness

Figures go to figures/ in the same folder, as PNG and PDF.
"""

from absl import flags

from hw1 import catalogue, command, records
from hw1.findings import drawing


def main(argv: list[str] | None = None) -> None:
    """The command; exit codes as in `hw1.command.main`."""
    values = command.base_flags()
    flags.DEFINE_list(
        "only", [], "questions to draw, with commas between them [all that are there]", flag_values=values
    )
    with command.exit_on_error(code=2):
        command.parse(values, argv, __doc__)
        command.check_names(values.only)
    with command.exit_on_error(traceback=values.traceback):
        names = values.only or [name for name in catalogue.names() if records.is_begun(values.out, name)]
        if not names:
            raise FileNotFoundError(f"{values.out} holds no CSV of a question; make them with: hw1 reproduce")
        for name in names:
            command.say(f"{name}: {', '.join(map(str, drawing.draw(name, values.out)))}")


if __name__ == "__main__":
    main()
