"""The command: python -m hw1.measure --net=my_net.keras; see `hw1.measure`."""

import contextlib
import io
import sys
from pathlib import Path

from absl import flags

import hw1.measure
from hw1 import command, inputs

NUMBERS = {
    "minutes": (15.0, "time for one net; what would take longer is left out, and named"),
    "epsilon": (1e-4, "radius ε of the course's sharpness"),
    "keskar_epsilon": (1e-3, "size ε of Keskar's box"),
    "rise": (0.1, "of L, up to which pac_bayes_sigma counts a perturbation as flat"),
}


def main(argv: list[str] | None = None) -> None:
    """Runs the command. Exits with 2 for wrong flags and files, 1 for an error during the work, 130 if interrupted."""
    values = _flags()
    with command.exit_on_error(code=2):
        command.parse(values, argv, hw1.measure.__doc__)
        _check(values)
    with command.exit_on_error(code=2, traceback=values.traceback):
        models, data = _read(values)
    with command.exit_on_error(traceback=values.traceback):
        try:
            cards = _measured(values, models, data)
        except inputs.LackingError as error:
            raise _gathered(values, error) from error
        from hw1.measure import pages

        lines = pages.lines_of(cards)
        print(pages.table(cards, lines))
        if values.out:
            pages.save(cards, values.out, lines)
            command.say(f"measure: {Path(values.out, 'card.html')} and card.pdf, card.csv, card.json")
    if any(card.is_interrupted for card in cards):
        command.say(
            "interrupted: what was measured until then is above" + (f" and in {values.out}" if values.out else "")
        )
        sys.exit(130)


def _flags() -> flags.FlagValues:
    """The flags, in an object of their own."""
    values = inputs.define_flags()
    flags.DEFINE_multi_string(
        "net", None, "the file of the net (required); several times for several", flag_values=values
    )
    flags.DEFINE_string(
        "loss",
        None,
        "crossentropy, binary, mse or a name in keras.losses [crossentropy; binary for one output]",
        flag_values=values,
    )
    for name, default, text in (
        ("examples", None, "training examples on which the Hessian is measured [500; fewer for a slow net]"),
        ("manifold", 100, "dimension of Keskar's random subspace [100, or all parameters of a smaller net]"),
    ):
        flags.DEFINE_integer(name, default, text, lower_bound=1, flag_values=values)
    flags.DEFINE_integer("seed", 0, "seed of random probes, starts and subspace [0]", lower_bound=0, flag_values=values)
    for name, (default, text) in NUMBERS.items():
        flags.DEFINE_float(name, default, f"{text} [{default:g}]", flag_values=values)
    flags.DEFINE_string("out", None, "folder for the card; it must not hold one yet [none]", flag_values=values)
    return values


def _check(values) -> None:
    """Raises ValueError for wrong flags that would otherwise fail only after all measurements."""
    if not values.net:
        raise ValueError("--net is needed: the file of the net, for example --net=my_net.keras")
    if len(set(values.net)) < len(values.net):
        raise ValueError(f"--net={values.net[0]} is given twice")
    if values["train"].present and values.examples and values.examples > values.train:
        raise ValueError(f"--examples={values.examples}: must be at most the {values.train} training examples")
    if values.examples == 1:
        raise ValueError("--examples=1: one example says nothing of others; at least 2")
    inputs.check_flags(values, *NUMBERS)
    if values.out and Path(values.out, "card.json").exists():
        raise ValueError(f"--out={values.out}: the folder has a card; name another or remove it")


def _read(values) -> tuple[list, object]:
    """The nets and the data set."""
    try:
        return _nets(values), inputs.load(values)
    except inputs.LackingError as error:
        raise _gathered(values, error) from error


def _nets(values) -> list:
    """The nets, of one loss; ValueError if --loss leaves open by which of several they are compared."""
    from hw1 import compiled, saved

    models = [saved.taken(path, values.probabilities, values.loss, by_compiled=True) for path in values.net]
    told = [compiled.described(compiled.chosen(model)[0] or compiled.default(model)) for model in models]
    if values.loss is None and len(set(told)) > 1:
        each = ", ".join(f"{path}: {loss}" for path, loss in zip(values.net, told, strict=True))
        raise ValueError(f"the nets would be measured by different losses ({each}): give --loss for all")
    return models


def _gathered(values, error) -> ValueError:
    """One error of all flags that are missing: those that an error asks for are given, until the first net is taken."""
    from hw1.measure.work import Settings, Work

    texts, lacking = [], {}
    while error and not set(error.flags) <= set(lacking):
        texts.append(str(error))
        lacking |= error.flags
        for name, value in error.flags.items():
            values[name].value = value
        error = None
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # what is said of nets and data was said, or will be
                Work(_nets(values)[0], inputs.load(values), Settings(loss=values.loss, pixels=values.pixels))
        except inputs.LackingError as another:
            error = another
        except (ValueError, TypeError, OSError) as another:
            texts.append(str(another))
    shown = {True: "", **{value: f"={value:g}" for value in lacking.values() if isinstance(value, float)}}
    given = " ".join(f"--{name}{shown.get(value, f'={value}')}" for name, value in lacking.items())
    return ValueError("; and ".join(texts) + (f"; in all: {given}" if len(lacking) > 1 else ""))


def _measured(values, models, data) -> list:
    """The cards of all nets; after an interruption those until then."""
    from hw1.measure import cards

    nets = {Path(path).stem if Path(path).is_file() else Path(path).name: path for path in values.net}
    names = [*nets] if len(nets) == len(values.net) else values.net  # paths where two files have one name
    options = {name: values[name].value for name in ("loss", "examples", "manifold", "seed", "pixels", *NUMBERS)}
    found = []
    for name, path, model in zip(names, values.net, models, strict=True):
        if len(models) > 1:
            command.say(f"measure: {path}")
        found.append(cards.card(model, data, command.printable(name), **options))
        if found[-1].is_interrupted:
            break
    return found


if __name__ == "__main__":
    main()
