"""Wrong command lines: one line that names flag and value, exit code 2, no file touched, nothing trained.

They are made from the flags themselves: type, bounds and choices of a question's settings, and the parsers of the jobs.
"""

import math
import re
import subprocess
import sys
from typing import NamedTuple

import pytest
from absl import flags
from toys import ROOT, exit_code

from hw1 import __main__ as main
from hw1 import barriers, catalogue, claims, command, question, records, reproduce
from hw1.findings import drawing
from hw1.measure import cards
from hw1.report import __main__ as report

HUGE = ("1" + 30 * "0", 5000 * "9")
NO_WHOLE_NUMBER = (
    "many",
    "",
    " ",
    "1.5",
    "1e3",
    "nan",
    "inf",
    "1e400",
    "0x10",
    "1/2",
    "None",
    "½",
    "[1]",
    "1;2",
    *HUGE,
)
NO_NUMBER = ("much", "", " ", "nan", "inf", "-inf", "1e400", "0,5;", "1/2", "½", "(1)", "--", "1e")
NO_SWITCH = ("perhaps", "2", "", "yes", "-1", "true,false", "1.0")
STRANGE = ("größe", "seed s", "日本", "\x1b[31mred", "a\nerror: b", "\u202egnp", "'; rm -rf x", "%s%n", "{}")
# What each job is given beside the wrong flag; were that let through, these would be named, or something would run.
BESIDE = {
    "measure": ["--net=missing.keras"],
    "paths": ["--net=missing.keras", "--net=other.keras"],
    "report": [f"--results={records.COMMITTED}"],
    "plot": [f"--out={records.COMMITTED}"],
    "claims": [f"--out={records.COMMITTED}"],
}
# Settings that contradict each other, each set allowed by itself. The first flag is named.
CONTRADICTIONS = [
    "simulate_function --nets=5-x-5",
    "actual_task --dnns=20-0",
    "actual_task --target_losses=0.1,0.2,0.3",
    "label_noise --alphas=1,2",
    "label_noise --alphas=0,9,5",
    "label_noise --batch_sizes=64,16",
    "label_noise --batch_sizes=16,300 --train=1200",
    "label_noise --small_rates=0.1",
    "linear_scaling --batch_sizes=40,20",
    "linear_scaling --factor=3",
    "linear_scaling --milestones=12,9",
    "mean_field --widths=10,15",
    "mean_field --steps=1001 --times=10",
    "gradient_noise --drawn_at=7",
    "gradient_noise --fixed_batch=400",
    "gradient_noise --examples=100",
    "memorization --learning_rates=0.1,0.2,0.3,0.4,0.5,0.6,0.7",
    "spectrum --target_losses=0.1,0.2,0.3,0.4",
    "reparametrization --alphas=0.5,2",
    "flatness --alphas=2,3",
    "continuation --first_rate=0.123",
    "continuation --every=20000 --updates=20001",
    "smoothing --hidden=30-20",
    "walk --batch_sizes=10,100 --train=100",
    "ingredients --tuned_rates=0.1",
    "sensitivity --train=9000 --test=4000",
    "sensitivity --data=missing.npz",
    "sensitivity --data=folder",
    "sensitivity --data=file.csv",
    "sensitivity --data=file.csv/inside",
]


class Line(NamedTuple):
    """A wrong command line.

    Attributes:
        arguments: after the name of the program.
        named: what the message must name, such as a flag.
        value: what was given, which the message shows; None if it has no one value.
    """

    arguments: list[str]
    named: str
    value: str | None = None


def jobs_flags(job):
    """The flags of a job: its parser gives them away before anything is read."""
    found = []

    def seen(values, *_, **__):
        found.append(values)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "parse", seen)
        exit_code(main.main, job)
    return {name: found[0][name] for name in found[0] if name not in ("help", "traceback")}


def out_of_bounds(minimum, maximum, kind):
    """Values just outside of a range."""
    step = 1 if kind is int else 0.5
    least = {None: (0, -1)}.get(minimum, (minimum - 1, minimum - step) if minimum is not None else ())
    return [str(value) for value in (*least, *([maximum + step] if maximum < math.inf else []))]


def wrong_values(kind, minimum=None, maximum=math.inf, choices=None, many=False, unique=True, good=None):
    """Texts that no flag of this kind takes."""
    if choices:
        choices = [*choices]
        wrong = ["", "nonsense", f"{choices[0]}x", f"{choices[0]};{choices[-1]}", *STRANGE]
    elif kind is bool:
        wrong = NO_SWITCH
    elif kind is str:
        wrong = ["", "nonsense"]
    else:
        wrong = [*(NO_WHOLE_NUMBER if kind is int else NO_NUMBER), *out_of_bounds(minimum, maximum, kind), *STRANGE]
        wrong += [] if many else ["1,2"]
    if not many:
        return [*wrong]
    first = good.split(",")[0]
    return (
        [f"{first},{one}" for one in wrong] + [f"{first},", f",{first}"] + [f"{first},{first}"] * (3 if unique else 0)
    )


def wrong_setting(name, rng):
    """A wrong value of a setting of a question."""
    module = catalogue.experiment(name)
    field, kind, many = rng.choice(list(question.fields(module.Settings)))
    about, good = field.metadata, question.write(field.default)
    bound = about.get("at_most")
    if bound and rng.random() < 0.3:
        limit = getattr(module.Settings(), bound)
        value = str(limit + 1)
    else:
        bounds = {key: about.get(key) for key in ("minimum", "choices")} | {"maximum": about.get("maximum", math.inf)}
        value = rng.choice(wrong_values(kind, **bounds, many=many, unique=about.get("unique", True), good=good))
    return Line([name, f"--{field.name}={value}"], f"--{field.name}", value)


def wrong_flag(job, rng):
    """A wrong value of a flag of a job."""
    own = {name: flag for name, flag in jobs_flags(job).items() if name not in ("net", "cluster", "loss", "data")}
    flag = own[rng.choice(list(own))]
    parser = flag.parser
    if isinstance(parser, flags.BooleanParser):
        values = wrong_values(bool)
    elif isinstance(parser, flags.EnumParser):
        values = wrong_values(str, choices=parser.enum_values)
    elif isinstance(parser, flags.FloatParser):
        values = wrong_values(float, parser.lower_bound)
    elif isinstance(parser, flags.IntegerParser):
        values = [value for value in wrong_values(int, parser.lower_bound) if value != "0x10"]  # which these take
    elif flag.name == "only":
        values = ["", ",", "sharpnes", "sharpness,sharpness", "sharpness,", "sharpness;spectrum", *STRANGE]
    elif job == "report":
        values = ["", "folder", "nowhere/Report.pdf"] if flag.name == "out" else ["", "file.csv", "nowhere"]
    else:
        values = ["", "file.csv", "file.csv/inside", 300 * "x"]
        values += ["nowhere", "folder"] if job in ("plot", "claims") else []
    value = rng.choice(values)
    beside = [other for other in BESIDE.get(job, []) if not other.startswith(f"--{flag.name}=")]
    return Line([job, *beside, f"--{flag.name}={value}"], f"--{flag.name}", value)


def wrong_form(name, rng):
    """A command line that is wrong whatever the value: a flag that there is not, without its value, or twice."""
    if name in main.JOBS:
        goods = {flag.name: "true" if flag.boolean else str(flag.default) for flag in jobs_flags(name).values()}
        multiple, switches = {"net"}, {flag.name for flag in jobs_flags(name).values() if flag.boolean}
    else:
        settings = list(question.fields(catalogue.experiment(name).Settings))
        goods = {field.name: question.write(field.default) for field, *_ in settings} | {"out": "runs"}
        multiple, switches = set(), {field.name for field, kind, _ in settings if kind is bool}
    goods = {flag: good for flag, good in goods.items() if good not in ("None", "[]")}
    flag = rng.choice([flag for flag in goods if flag not in multiple])
    full, misspelt = f"--{flag}={goods[flag]}", f"{flag[:-1]}{rng.choice('qxz')}"
    forms = {
        misspelt: [f"--{misspelt}={goods[flag]}"],
        "nonsense": ["--nonsense"],
        "flagfile": ["--flagfile=file.csv"],
        "undefok": ["--undefok=nonsense", "--nonsense=3"],
        flag: [full, full],
        full[2:]: [full[2:]],
        f"–{flag}": [f"–{flag}={goods[flag]}"],
        rng.choice(STRANGE[:3]): None,
    }
    if flag not in switches:
        forms[f"flag --{flag}"] = [f"--{flag}"]
    named, arguments = rng.choice(list(forms.items()))
    arguments = [named] if arguments is None else arguments
    return Line([name, *BESIDE.get(name, []), *arguments], named)


def wrong_source(job, rng):
    """A net or data set that there is not."""
    nets = [f"--net={name}" for name in ("missing.keras", "other.keras")[: 2 if job == "paths" else 1]]
    value = rng.choice(["", "nowhere", "nowhere/net.keras", "folder", "file.csv", "file.csv/inside", "größe.h5"])
    return Line([job, f"--net={value}", *nets[1:]], f"--net={value}")


def wrong_name(rng):
    """No command, or list with more."""
    name = rng.choice(["sharpnes", "Sharpness", "reproduce ", "--seeds=3", "", "=", "-", "..", "hw1", *STRANGE])
    return rng.choice([Line([name, "--seeds=3"], "is no command"), Line(["list", name], "list takes no arguments")])


def any_wrong(rng, questions=None):
    """Any wrong command line."""
    name, job = rng.choice(questions or catalogue.names()), rng.choice(list(main.JOBS))
    return rng.choice(
        [
            lambda: wrong_setting(name, rng),
            lambda: wrong_setting(name, rng),
            lambda: wrong_flag(job, rng),
            lambda: wrong_flag(job, rng),
            lambda: wrong_form(rng.choice([name, job]), rng),
            lambda: wrong_source(rng.choice(["measure", "paths"]), rng),
            lambda: wrong_name(rng),
        ]
    )()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where commands are called: a folder with a file and an empty folder. Whatever would compute fails the test."""

    def never(*_, **__):
        pytest.fail("a wrong command line was let through")

    for owner, name in [
        (question, "run_units"),
        (reproduce, "reproduce"),
        (cards, "card"),
        (barriers, "between"),
        (drawing, "draw"),
        (claims, "write"),
        (report, "build"),
        (report, "supplement"),
    ]:
        monkeypatch.setattr(owner, name, never)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.csv").write_text("mine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(*folders):
    """Every file below some folders, with its size and time."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def assert_refused(line, code, out, err):
    """One line on stderr that names flag and value, exit code 2, and nothing else."""
    said = f"{line.arguments}: {err}"
    assert code == 2, said
    assert out == "", said
    assert re.fullmatch(r"error: [^\n]+\n", err), said
    assert err[:-1].isprintable(), said
    assert len(err) < command.LONGEST + 50, said
    assert command.printable(" ".join(line.named.split())) in err, said
    value = (line.value or "").strip()
    if value.isascii() and value.isprintable() and len(value) < 300 and "e400" not in value:
        assert value.replace(", ", ",") in err.replace(", ", ","), said


def refused_here(line, place, capsys):
    """Calls a command in this process, which must refuse it and leave every file as it was."""
    before = state(place, records.COMMITTED)
    capsys.readouterr()
    code = exit_code(lambda argv: main.main(["hw1", *line.arguments]))
    assert_refused(line, code, *capsys.readouterr())
    assert state(place, records.COMMITTED) == before, line.arguments


def test_wrong_lines_in_this_process(faults, place, capsys):
    """Over all commands; the questions of the short form are two, as each has to be imported."""
    kind = faults("wrong command line", short=40, full=600)
    few = ["sensitivity", "label_noise"] if kind.tries < 100 else None
    for rng in kind:
        refused_here(any_wrong(rng, few), place, capsys)


def test_contradictions(faults, place, capsys):
    """Settings that are allowed one by one."""
    kind = faults("contradicting settings", short=8, full=len(CONTRADICTIONS))
    own = [line for line in CONTRADICTIONS if line.startswith(("sensitivity", "label_noise"))]
    lines = CONTRADICTIONS if kind.tries > 8 else own
    for number, _ in enumerate(kind):
        name, flag, *others = lines[number].split()
        refused_here(Line([name, flag, *others], flag.partition("=")[0]), place, capsys)


def test_wrong_lines_as_processes(faults, place):
    """As a shell calls them."""
    for rng in faults("wrong command line, as a process", short=2, full=12):
        line = wrong_flag(rng.choice(["reproduce", "plot", "measure", "paths"]), rng)
        before = state(place)
        call = [sys.executable, "-m", "hw1", *line.arguments]
        done = subprocess.run(call, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, timeout=120)
        assert_refused(line, done.returncode, done.stdout, done.stderr)
        assert state(place) == before
