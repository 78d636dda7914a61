"""The command `hw1`: every question and every job by its name.

    hw1 list                     the names of the questions, and what they ask
    hw1 sharpness --seeds=3      answers a question; its flags: hw1 sharpness --help
    hw1 reproduce                many questions        hw1 claims    the verdicts
    hw1 plot                     the figures again     hw1 report    the report, and the supplement
    hw1 replicate                do the verdicts repeat with fresh seeds?
    hw1 measure --net=FILE       how flat is your own net?
    hw1 paths --net=A --net=B    is there a barrier between two nets of your own?

`python -m hw1` does the same, and each command is a module of its own: `python -m hw1.generalization.sharpness`.
"""

import difflib
import importlib
import os
import sys

from hw1 import catalogue, command, source

JOBS = {
    "reproduce": "hw1.reproduce",
    "claims": "hw1.claims",
    "plot": "hw1.plot",
    "report": "hw1.report.__main__",
    "replicate": "hw1.replicate",
    "measure": "hw1.measure",
    "paths": "hw1.barriers",
}


def main(argv: list[str] | None = None) -> None:
    """Runs the command that the first argument names with the other arguments as its flags."""
    program, *arguments = sys.argv if argv is None else argv
    name, *rest = arguments or ["--help"]
    if name in ("--help", "-h", "help"):
        print(__doc__.strip())
    elif name == "list" and not rest:
        _list()
    elif name in JOBS:
        importlib.import_module(JOBS[name]).main([f"{program} {name}", *rest])
    else:
        with command.exit_on_error(code=2):
            _check(name)
        command.main(catalogue.experiment(name), [f"{program} {name}", *rest])


def _list() -> None:
    """Prints each question below its part, with the first line of its docstring."""
    width = max(map(len, catalogue.names()))
    try:
        for part, questions in catalogue.PARTS.items():
            print(part)
            for question in questions:
                print(f"    {question:{width}}  {source.summary(question)}")
        sys.stdout.flush()
    except BrokenPipeError:  # its reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check(name: str) -> None:
    """Raises ValueError, with the nearest name there is, unless `name` is a question."""
    commands = ["list", *JOBS, *catalogue.names()]
    if name == "list":
        raise ValueError("list takes no arguments")
    if name not in commands:
        close = difflib.get_close_matches(name, commands, n=1)
        hint = f", did you mean {close[0]}?" if close else ";"
        raise ValueError(f"{name!r} is no command{hint} the commands are {', '.join(commands)}")


if __name__ == "__main__":
    main()
