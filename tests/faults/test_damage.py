"""Damaged results: every command that reads them names the file in one line, and changes no file."""

import json
import random
import re
import shutil

import pytest
import toys
from faults import children

from hw1 import __main__ as main
from hw1 import claims, records, replicate

REAL, OTHER = "batch_size_scaling", "redundancy"  # the first of its part, which the report reads first


@pytest.fixture(scope="module")
def toy_results(tmp_path_factory):
    """The complete results of the toy."""
    folder = tmp_path_factory.mktemp("toy")
    children.undisturbed(folder)
    return folder


@pytest.fixture(scope="module")
def real_results(tmp_path_factory):
    """Those of a question with four tables."""
    folder = tmp_path_factory.mktemp("real")
    for path in records.COMMITTED.glob(f"{REAL}.*"):
        shutil.copy(path, folder)
    return folder


def lines_of(path):
    """The lines of a file with their ends."""
    return path.read_bytes().splitlines(keepends=True)


def cut_at_a_line(path, chance):
    """Ends with the end of a line, or with none at all."""
    lines = lines_of(path)
    path.write_bytes(b"".join(lines[: chance.randrange(len(lines))]))


def cut_anywhere(path, chance):
    """Ends at any byte."""
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def flip(path, chance):
    """Has another byte somewhere."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    path.write_bytes(content)


def delete_a_line(path, chance):
    """Lacks a line."""
    lines = lines_of(path)
    del lines[chance.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def double_a_line(path, chance):
    """Has a line twice."""
    lines = lines_of(path)
    place = chance.randrange(len(lines))
    path.write_bytes(b"".join([*lines[:place], lines[place], *lines[place:]]))


def remove_a_key(path, chance):
    """Lacks an entry of the record at any depth; or a column of a table."""
    if path.suffix == ".csv":
        rows = [line.rstrip(b"\n").split(b",") for line in lines_of(path)]
        place = chance.randrange(len(rows[0]))
        path.write_bytes(b"".join(b",".join([*row[:place], *row[place + 1 :]]) + b"\n" for row in rows))
        return
    about = json.loads(path.read_text())
    places = [about, *(value for value in about.values() if isinstance(value, dict) and value)]
    del (chosen := chance.choice(places))[chance.choice(sorted(chosen))]
    path.write_text(json.dumps(about, indent=2) + "\n")


def empty(path, chance):
    """Has no byte."""
    path.write_bytes(b"")


def of_another_question(path, chance):
    """Is that of another question."""
    shutil.copy(records.COMMITTED / f"{OTHER}{path.suffix}", path)


def no_text(path, chance):
    """Has bytes that are no text."""
    path.write_bytes(chance.randbytes(1000) + b"\xff")


def nested(path, chance):
    """Has brackets without end."""
    path.write_bytes(b"[" * 100_000)


def a_folder(path, chance):
    """Is a folder."""
    path.unlink()
    path.mkdir()


def a_loop(path, chance):
    """Is a link that leads back to it."""
    path.unlink()
    path.symlink_to(path.name)


def to_nowhere(path, chance):
    """Is a link to nothing."""
    path.unlink()
    path.symlink_to(path.with_name("nothing"))


def other_line_ends(path, chance):
    """Went through an editor of another system."""
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


KINDS = {
    "cut at a line end": (cut_at_a_line, 20),
    "cut at any byte": (cut_anywhere, 20),
    "one byte flipped": (flip, 40),
    "a line deleted": (delete_a_line, 10),
    "a line doubled": (double_a_line, 10),
    "a key or column removed": (remove_a_key, 20),
    "emptied": (empty, 1),
    "another question's": (of_another_question, 1),
    "no text": (no_text, 2),
    "nested without end": (nested, 1),
    "a folder": (a_folder, 1),
    "a link in a loop": (a_loop, 1),
    "a link to nowhere": (to_nowhere, 1),
    "other line ends": (other_line_ends, 1),
}


def same_record(path, whole):
    """Whether a JSON says what it said, in another layout: that is no damage."""
    try:
        return path.suffix == ".json" and json.loads(path.read_text()) == json.loads(whole.read_text())
    except (OSError, ValueError, RecursionError):
        return False


def everything(folder):
    """Every file of a folder with the JSONs, and what stands in the place of files."""
    return children.held(folder) | {path.name: path.read_bytes() for path in folder.glob("*.json") if path.is_file()}


def damaged(kind, results, folder, name, chance):
    """Puts results into a folder and damages one file; None where that changed nothing that counts."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(results, folder)
    path = folder / name
    KINDS[kind][0](path, chance)
    whole = results / name
    same = path.is_file() and path.read_bytes() == whole.read_bytes()
    return None if same or same_record(path, whole) else path


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_names_its_damaged_file(faults, toy_results, tmp_path, kind):
    """It neither goes on nor begins anew, for each of its files."""
    tries = KINDS[kind][1]
    names = ("toy.csv", "toy.points.csv", "toy.json")
    fault = faults(f"damage: {kind}", min(tries, 2) * 3, tries * 30)
    for number, chance in enumerate(fault):
        name = names[number % 3]
        if not (path := damaged(kind, toy_results, tmp_path / "runs", name, chance)):
            continue
        before = everything(path.parent)
        children.refusal(children.forked(children.answer, path.parent), path, "move", codes=[1])
        assert everything(path.parent) == before
        for table in ("rows", "points"):
            if name == "toy.json" or path == records._csv(path.parent, "toy", table):
                with pytest.raises((OSError, ValueError), match=re.escape(f"{path}")):
                    records.read(path.parent, "toy", table)


def commands(folder):
    """Those that read the results of the real question; its own last, as it needs TensorFlow."""
    out = f"--out={folder}"
    yield "claims", out
    yield "plot", out
    yield "report", f"--results={folder}", "--part=dynamics", f"--out={folder.parent / 'Supplement.pdf'}"
    yield REAL, out
    yield "replicate", out, f"--only={REAL}", "--jobs=1", "--first_seed=0"


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_names_a_damaged_file(faults, real_results, tmp_path, capsys, kind):
    """Verdicts, figures and reports are not made of what is damaged."""
    tables = ["", *(f".{table}" for table in records.about(real_results, REAL)["columns"] if table != records.ROWS)]
    names = [f"{REAL}.json", *(f"{REAL}{table}.csv" for table in tables)]
    fault = faults(f"damage, every command: {kind}", 1, len(names) * min(KINDS[kind][1], 5))
    for number, chance in enumerate(fault):
        name = names[number % len(names)] if fault.tries > 1 else chance.choice(names)
        if not (path := damaged(kind, real_results, tmp_path / "runs", name, chance)):
            continue
        before = everything(path.parent)
        for command in commands(path.parent):
            capsys.readouterr()
            code = toys.exit_code(main.main, *command)
            children.refusal((code, capsys.readouterr().err), path)
            after = everything(path.parent)
            after = {name: content for name, content in after.items() if not name.startswith("replication.")}
            assert after == before
        assert not (tmp_path / "Supplement.pdf").exists()


def test_all_files_are_of_another_question(faults, tmp_path):
    """Rows and record agree with each other, but not with their names."""
    fault = faults("damage: rows and record are another question's", 1, 1)
    for _ in fault:
        folder = tmp_path / "runs"
        folder.mkdir()
        for suffix in (".csv", ".json"):
            shutil.copy(records.COMMITTED / f"{OTHER}{suffix}", folder / f"{REAL}{suffix}")
        before = everything(folder)
        for command in (["claims"], ["plot", f"--only={REAL}"]):
            done = children.forked(main.main, ["hw1", *command, f"--out={folder}"])
            children.refusal(done, folder / f"{REAL}.json", f"it is the record of {OTHER}")
            assert everything(folder) == before


@pytest.mark.parametrize("name", ["claims.csv", "replication.csv"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_ledger_is_named(tmp_path, kind, name):
    """What was judged before, of which reports read the committed one."""
    for suffix in (".csv", ".json"):
        shutil.copy((records.COMMITTED / name).with_suffix(suffix), tmp_path)
    path = tmp_path / name
    assert len((claims if name == "claims.csv" else replicate).read(tmp_path))
    KINDS[kind][0](path, random.Random(0))
    with pytest.raises(ValueError, match=re.escape(str(path)) + ".*anew with: python -m hw1"):
        (claims if name == "claims.csv" else replicate).read(tmp_path)
