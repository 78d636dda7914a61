"""What every command shares: flags, messages, progress, exit codes. Importing a module of hw1 defines no flag."""

import contextlib
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

from absl import flags
from tqdm import tqdm

from hw1 import catalogue, files, question, records, spelling
from hw1.findings import drawing

CHOSEN = ("out", "only", "cluster", "results", "loss")  # flags that are left out rather than empty
LONGEST = 2000  # characters of a message
EXPECTED = (flags.Error, ValueError, TypeError, OSError)  # errors that a message explains; others are bugs


def main(module: ModuleType, argv: list[str] | None = None) -> None:
    """Runs an experiment as a command and draws its figure; its flags are its settings, and those of `sized_flags`.

    Exits with 2 for wrong flags, 1 for an error during the work, 130 when interrupted.
    """
    values = sized_flags(module.SIZES)
    sizes = {size: question.make_settings(module, size) for size in module.SIZES}
    for field, kind, _ in question.fields(module.Settings):
        defaults = {size: question.write(getattr(settings, field.name)) for size, settings in sizes.items()}
        if len(set(defaults.values())) > 1:
            default = ", ".join(f"{size}: {value}" for size, value in defaults.items())
        else:
            default = defaults["report"]
        define = flags.DEFINE_bool if kind is bool else flags.DEFINE_string
        define(field.name, None, f"{field.metadata['help']} [{default}]", flag_values=values)
    with exit_on_error(code=2):
        parse(values, argv, module.__doc__)
        given = {
            field.name: question.read(getattr(values, field.name), kind, many)
            for field, kind, many in question.fields(module.Settings)
        }
        settings = question.make_settings(module, values.size, **given)
    if getattr(settings, "seeds", None) == 1:
        say("--seeds=1: one seed gives no intervals, and so no verdicts")
    with exit_on_error(code=2, traceback=values.traceback):
        settings, loaded = question.prepare(module, settings)
    with exit_on_error(traceback=values.traceback):
        answer(module, settings, values.out, loaded=loaded)


def answer(
    module: ModuleType,
    settings,
    out: str | Path,
    name: str | None = None,
    watch: Callable[[str, int, int], None] | None = None,
    loaded: tuple[object, dict | None] | None = None,
) -> None:
    """Answers a question, shows its progress, and draws its figure.

    Args:
        module: the experiment.
        settings: as `hw1.question.make_settings` gives them.
        out: folder of the results.
        name: name of the files. None: that of the module.
        watch: told the name and the numbers of units done and of all units, instead of a bar or lines on stderr.
        loaded: what `hw1.question.prepare` gave with these settings. None: it is called.
    """
    name = name or question.name_of(module)
    settings, loaded = (settings, loaded) if loaded else question.prepare(module, settings)
    for note in (loaded[1] or {}).get("notes", ()):
        say(f"{name}: {note}")
    with files.lock(out):
        with progress(name, out) as show:
            show = (lambda done, total, *_: watch(name, done, total)) if watch else show
            question.run_units(module, settings, out, name, show, loaded)
        drawing.draw(name, out)


@contextlib.contextmanager
def progress(name: str, out: str | Path) -> Iterator[Callable]:
    """Gives a function for the argument `watch` of `hw1.question.run_units`: a bar on a terminal, elsewhere lines."""
    bar = None

    def show(done, total, unit, seconds):
        nonlocal bar
        if bar is None:
            say_units(name, total, done, out)
            bar = tqdm(desc=name, total=total, initial=done, unit="unit", disable=None)
            return
        bar.update()
        if bar.disable:
            say(f"{name}: {done}/{total} {spelled(unit)} ({seconds:.1f} s)")

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def spelled(unit: dict) -> str:
    """A unit of work as lines on it name it."""
    return ", ".join(f"{key}={value}" for key, value in unit.items())


def sized_flags(sizes: Iterable[str], out: str = "runs") -> flags.FlagValues:
    """The flags of the commands that compute, in an object of their own."""
    values = base_flags(out)
    flags.DEFINE_enum("size", "report", list(sizes), "settings to start from [report]", flag_values=values)
    return values


def base_flags(out: str | None = "runs") -> flags.FlagValues:
    """The flags of commands that need no size; --out only where a folder is given."""
    values = flags.FlagValues()
    if out:
        flags.DEFINE_string("out", out, f"folder of the results [{out}]", flag_values=values)
    flags.DEFINE_bool("traceback", False, "show where an error arose [false]", flag_values=values)
    flags.DEFINE_bool("help", False, "show this text", flag_values=values)
    return values


def parse(values: flags.FlagValues, argv: list[str] | None, text: str | None, folder: str = "out") -> None:
    """Reads the command line into `values`. With --help prints `text` and the flags, and exits.

    Args:
        values: the flags.
        argv: the command and its arguments. None: those of the process.
        text: what the command does.
        folder: name of the flag that gives a folder, if there is one.

    Raises:
        flags.Error: a flag is unknown or has no value.
        ValueError: a flag is malformed, empty or given twice, there is an argument that is no flag, or a file where the
            folder is to be.
    """
    argv = sys.argv if argv is None else argv
    if foreign := [argument for argument in argv if re.match("--?(flagfile|undefok)(=|$)", argument)]:
        raise ValueError(f"{foreign[0]} is no flag of this command; --help lists them")  # but one of the library
    try:
        rest = values(argv)[1:]
    except flags.IllegalFlagValueError as error:
        raise ValueError(_illegal(values, error)) from error
    if values.help:
        print(f"{(text or '').strip()}\n\nFlags [default]:")
        for name in values:
            print(textwrap.fill(f"--{name}: {values[name].help}", 110, initial_indent="  ", subsequent_indent="      "))
        sys.exit()
    for name in values:
        flag = values[name]
        if flag.present > 1 and not isinstance(flag, flags.MultiFlag):
            raise ValueError(f"--{name}={flag.value} is the last of {flag.present} values of --{name}: give it once")
        if flag.present and flag.value in ("", []) and name in CHOSEN:
            remedy = "name a folder, or . for this one" if name == folder else "leave it out, or give a value"
            raise ValueError(f"--{name}= is empty: {remedy}")
        if isinstance(flag.value, int) and flag.value > spelling.LARGEST:
            raise ValueError(f"--{name}={flag.value}: must be at most {spelling.LARGEST}")
    if rest:
        raise ValueError(f"{rest[0]!r} is no flag; flags are written --name=value, --help lists them")
    if folder in values and values[folder].value:
        _check_folder(folder, values[folder].value)


def _illegal(values, error) -> str:
    """An error of a flag's parser with what would be right, where the parser does not say so."""
    said, kind = str(error), values[re.match(r"flag --(\w+)=", str(error))[1]].parser
    wanted = "true or false" if isinstance(kind, flags.BooleanParser) else kind.syntactic_help
    if isinstance(kind, flags.EnumParser) or not wanted:
        return said
    return f"{said.removesuffix(f': {error.__context__}').removeprefix('flag ')}: must be {wanted}"


def _check_folder(name: str, folder: str) -> None:
    """Raises ValueError if a path cannot be a folder: it, or what it is to be in, is a file."""
    try:
        place = next(place for place in (Path(folder), *Path(folder).parents) if place.exists())
        is_folder = place.is_dir()
    except OSError as error:
        raise ValueError(f"--{name}={folder} cannot be a folder ({error.strerror}); name another") from error
    if not is_folder:
        which = "" if place == Path(folder) else f": {place}"
        raise ValueError(f"--{name}={folder}{which} is a file, not a folder; name another")


def check_names(only: Iterable[str]) -> None:
    """Raises ValueError unless what --only has are different questions."""
    only = list(only)
    if unknown := [name for name in only if name not in catalogue.names()]:
        raise ValueError(f"--only={unknown[0]}: must be some of {', '.join(catalogue.names())}")
    if twice := [name for name in only if only.count(name) > 1]:
        raise ValueError(f"--only={','.join(only)}: must be different questions, but {twice[0]} is there twice")


def begun(out: str) -> list[str]:
    """The questions of which a folder has rows; ValueError if there is none."""
    if names := [name for name in catalogue.names() if records.is_begun(out, name)]:
        return names
    raise ValueError(f"--out={out} holds no CSV of a question; make them with: hw1 reproduce --out={out}")


@contextlib.contextmanager
def exit_on_error(
    code: int = 1,
    traceback: bool = False,
    interrupted: str = "finished units are kept, and the same command goes on from there",
) -> Iterator[None]:
    """Turns an error into one line and an exit code, an interruption into 130 and a line on what became of the work."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted: {interrupted}")
        sys.exit(130)
    except EXPECTED as error:
        if traceback:
            raise
        say(f"error: {describe(error)}")
        sys.exit(code)


def describe(error: Exception) -> str:
    """One line about an error; the type too, where the message alone may not explain it."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    return text if text and isinstance(error, EXPECTED) else f"{type(error).__name__}: {text}"


def say(text: str) -> None:
    """Prints a line to stderr at once, above any bars."""
    tqdm.write(printable(text), file=sys.stderr)


def say_units(name: str, total: int, done: int, out: str | Path) -> None:
    """Says how many units of a question there are, how many of them are done, and where they are written."""
    say(f"{name}: {total} unit{'s' * (total != 1)}, {done} of them done, to {Path(out, name)}.csv")


def printable(text: str) -> str:
    """The text with what a terminal would obey, such as the escape sequence in the name of a file, written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def aligned(lines: Iterable[tuple[str, ...]]) -> str:
    """Lines of cells as text, with the columns below each other."""
    lines = list(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
