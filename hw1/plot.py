"""Draws figures from the CSVs of a run; needs no TensorFlow and trains nothing.

    python -m hw1.plot                           # every question in runs/, seconds
    python -m hw1.plot --out=hw1/results --only=sharpness

Figures go to figures/ in the same folder, as PNG and PDF. A folder in which a run is writing is refused: its tables
would not be of the same moment.
"""

from absl import flags

from hw1 import command, files
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
        begun = command.begun(values.out)
    with command.exit_on_error(traceback=values.traceback), files.lock(values.out):
        for name in values.only or begun:
            command.say(f"{name}: {', '.join(map(str, drawing.draw(name, values.out)))}")


if __name__ == "__main__":
    main()
