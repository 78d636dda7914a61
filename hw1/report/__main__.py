"""Sets the report, or the supplement, from the CSVs and figures of a run.

    python -m hw1.report                                              # Report.pdf from runs/, seconds
    python -m hw1.report --results=hw1/results --out=/tmp/Report.pdf
    python -m hw1.report --part=papers                                # runs/Supplement.pdf: the papers' questions

Every number is read from the CSVs, every setting from the record of the run, and a sentence whose truth depends on a
result is chosen by the result (see `comment` in each file of hw1/findings). The supplement adds what the module of each
question says of its method, source and deviations. The layouts are in report.typ, supplement.typ and layout.typ.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import typst
from absl import flags

from hw1 import catalogue, claims, command, records, source
from hw1.findings import drawing, words
from hw1.statistics import Interval

TITLES = {
    "deep_vs_shallow": "Part 1-1: deep against shallow",
    "optimization": "Part 1-2: optimization",
    "generalization": "Part 1-3: generalization",
}
SUPPLEMENTS = ["papers", *catalogue.PAPERS]
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SHIPPED = {"mnist10k": "10,000 images of MNIST", "fashion10k": "10,000 images of Fashion-MNIST"}  # what they hold


def build(results: Path, out: Path) -> None:
    """Sets the report: the course's questions and the ledger of their claims.

    Args:
        results: folder with CSVs and records; figures are drawn anew into its figures/.
        out: the PDF to write; replaced only when it is complete.

    Raises:
        FileNotFoundError, ValueError: a CSV or record is missing or damaged.
        OSError: `out` cannot be written.
    """
    names = catalogue.names("course")
    sections = {name: _section(name, results) for name in names}
    for later, earlier in claims.same_nets(results, names):
        sections[later]["method"] += f" These are the nets of the section “{sections[earlier]['title']}”."
    parts = [
        {"title": TITLES[part], "sections": [sections[name] for name in catalogue.names(part)]}
        for part in catalogue.COURSE
    ]
    ledger = _by_source(claims.judge(results, names))
    _typeset("report.typ", {"parts": parts, "run": _run(results, names), "ledger": ledger}, results, names, out)


def supplement(results: Path, out: Path, part: str = "papers") -> None:
    """Sets the supplement: questions of the papers with figure, conclusion, method, source, deviations and claims.

    Args:
        results: as for `build`.
        out: the PDF to write; replaced only when it is complete.
        part: the questions: "papers" for all, or one of `hw1.catalogue.PAPERS`.

    Raises:
        FileNotFoundError, ValueError: a CSV or record is missing or damaged.
        OSError: `out` cannot be written.
    """
    names = catalogue.names(part)
    sections = [
        _section(name, results)
        | _docstring(name)
        | {"table": _table(name, results), "ledger": _by_source(claims.judge(results, [name]))}
        for name in names
    ]
    _typeset("supplement.typ", {"sections": sections, "run": _run(results, names)}, results, names, out)


def _typeset(layout: str, content: dict, results: Path, names: Iterable[str], out: Path) -> None:
    """Draws the figures of the questions and compiles a layout with its content."""
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out={out}: there is no folder {out.parent}; make it first")
    if out.is_dir():
        raise IsADirectoryError(f"--out={out}: is a folder; name the PDF in it, such as {out / 'Report.pdf'}")
    for name in names:
        if not records.about(results, name)["complete"]:
            raise ValueError(
                f"{name} is not finished in {results}; continue with: hw1 reproduce --only={name} --out={results}"
            )
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in names:
            shutil.copy(drawing.draw(name, results)[1], work)
        (work / "content.json").write_text(json.dumps(content, ensure_ascii=False))
        for file in (layout, "layout.typ"):
            shutil.copy(Path(__file__).with_name(file), work)
        typst.compile(work / layout, output=work / "out.pdf", root=work, ignore_system_fonts=True)
        partial = out.with_name(f"{out.name}.tmp")
        shutil.copy(work / "out.pdf", partial)
        partial.replace(out)


def _section(name: str, results: Path) -> dict:
    """Figure, settings, title, method, caption and comment of a question."""
    rows, settings = records.read(results, name), records.settings(results, name)
    shown = {"figure": f"{name}.pdf", "settings": _settings(records.about(results, name), source.labels(name))}
    if "status" in rows and (rows.status == "diverged").all():
        title = name.replace("_", " ").capitalize()
        nothing = ["Nothing was measured: all nets diverged."]
        return shown | {"title": title, "method": "", "caption": "All nets diverged.", "comment": nothing}
    return shown | catalogue.finding(name).comment(rows, settings, **records.tables(results, name))


def _docstring(name: str) -> dict:
    """A question and the paragraphs about it, from the docstring of its module, without its commands."""
    question, *paragraphs = source.docstring(name).split("\n\n")
    paragraphs = [part for part in paragraphs if not part.lstrip().startswith("python -m")]
    paragraphs = [item for part in paragraphs for item in re.split(r"\n(?=- )", part)]  # each point of a list is one
    paragraphs = [re.sub("^- ", "• ", part) for part in paragraphs]
    return {
        "question": question,
        "text": [part if part.startswith(" ") else " ".join(part.split()) for part in paragraphs],
    }


def _table(name: str, results: Path) -> dict | None:
    """Caption and lines of a question's table, if it has one."""
    finding, rows = catalogue.finding(name), records.read(results, name)
    if not hasattr(finding, "table"):
        return None
    return finding.table(rows, records.settings(results, name), **records.tables(results, name))


def _by_source(ledger: pd.DataFrame) -> list[dict]:
    """The lines of a ledger by source, our figure with its interval as one text; checks come last."""
    ledger = ledger.assign(ours=[words.show(Interval(*line[6:10]), 3) for line in ledger.itertuples(index=False)])
    ledger["name"] = ledger.source.where(
        ledger.kind == "claim", "Checks: identities that must hold if the code is right"
    )
    groups = ledger.sort_values("kind", key=lambda kinds: kinds != "claim", kind="stable").groupby("name", sort=False)
    columns = ["source", "kind", "claim", "published", "ours", "seeds", "verdict", "significant", "caveat", "nets"]
    return [{"name": name, "lines": lines[columns].to_dict("records")} for name, lines in groups]


def _settings(about: dict, labels: dict[str, str]) -> list[list[str]]:
    """The settings of a run by their labels, and its data if it has any, as pairs of strings."""
    data, pairs = about["data"], []
    if data:
        pairs.append(["data", f"{data['name']}: {data['train']:,} training and {data['test']:,} test examples"])
    for name, value in about["settings"].items():
        if name not in ("data", "train", "test"):
            text = ", ".join(map(_write, value)) if isinstance(value, list) else _write(value)
            pairs.append([labels.get(name, name.replace("_", " ")), text])
    return pairs


def _write(value: str | float) -> str:
    """A setting as the report writes it."""
    if isinstance(value, str | bool):
        return str(value)
    mantissa, _, exponent = f"{value:g}".partition("e")
    if not exponent or 1 <= abs(value) < 1e9:
        return f"{value:,}" if isinstance(value, int) else mantissa.replace("-", "−")
    power = f"10{str(int(exponent)).translate(RAISED)}"
    return power if mantissa == "1" else f"{mantissa} · {power}"


def _run(results: Path, names: Iterable[str]) -> dict:
    """Where and how long the questions ran, one after the other."""
    abouts = [records.about(results, name) for name in names]
    data = dict.fromkeys(data for about in abouts if about["data"] for data in about["data"]["name"].split(", "))
    return {
        "data": "; ".join(f"{name}: {SHIPPED[name]}" for name in data if name in SHIPPED),
        "minutes": f"{sum(about['wall_time_seconds'] for about in abouts) / 60:.1f}",
        "device": f"{abouts[0]['device']['cpu']}, {abouts[0]['device']['cores']} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in abouts[0]["versions"].items()),
        "seeds": min(about["settings"]["seeds"] for about in abouts),
    }


def main(argv: list[str] | None = None) -> None:
    """The command; exit codes as in `hw1.command.main`."""
    values = command.base_flags(out=None)
    flags.DEFINE_string("results", "runs", "folder with the CSVs [runs]", flag_values=values)
    flags.DEFINE_enum(
        "part",
        "course",
        ["course", *SUPPLEMENTS],
        "report, or supplement of these questions [course]",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out", None, "the PDF to write [Report.pdf, or Supplement.pdf in --results]", flag_values=values
    )
    with command.exit_on_error(code=2):
        command.parse(values, argv, __doc__)
    results = Path(values.results)
    with command.exit_on_error(traceback=values.traceback):
        if values.part == "course":
            out = Path(values.out or "Report.pdf")
            build(results, out)
        else:
            out = Path(values.out or results / "Supplement.pdf")
            supplement(results, out, values.part)
        command.say(f"look first at {out}; figures are in {results}/figures, rows in {results}")


if __name__ == "__main__":
    main()
