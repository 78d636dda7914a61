"""Sets the report, or the supplement, from the CSVs and figures of a run.

    python -m hw1.report                                              # Report.pdf from runs/, seconds
    python -m hw1.report --results=hw1/results --out=/tmp/Report.pdf
    python -m hw1.report --part=landscape                             # runs/Supplement.pdf: the papers' questions

Every number is read from the CSVs, every setting from the run's own record, and a sentence whose truth depends on a
result is chosen by the result (`hw1.report.generalization`). The supplement says of each question what its module says.
The layouts are in report.typ, supplement.typ and layout.typ.
"""

import ast
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import typst
from absl import flags

from hw1 import claims, plot, question, records
from hw1.figures import landscape as figures
from hw1.report import deep_vs_shallow, generalization, landscape, optimization, words
from hw1.statistics import Interval

PARTS = {
    "Part 1-1: deep against shallow": deep_vs_shallow.QUESTIONS,
    "Part 1-2: optimization": optimization.QUESTIONS,
    "Part 1-3: generalization": generalization.QUESTIONS,
}
PAPERS = sorted((figure.__name__ for figure in figures.QUESTIONS), key=list(records.COLUMNS).index)


def build(results: Path, out: Path) -> None:
    """Sets the report: the course's questions and the ledger.

    Args:
        results: folder with CSVs and records; figures are drawn anew into its figures/. Claims of papers' questions
            that it lacks are judged by the committed results.
        out: the PDF to write; replaced only when it is complete.

    Raises:
        FileNotFoundError, ValueError: a CSV or record is missing or damaged.
        OSError: `out` cannot be written.
    """
    names = [name for questions in PARTS.values() for name in questions]
    committed = [name for name in claims.CLAIMS if claims.source(name, results) == records.COMMITTED != results]
    said = f"Judged by the committed results, not this run: {', '.join(committed)}." if committed else ""
    parts = [
        {
            "title": title,
            "sections": [_shown(name, results) | _section(say, name, results) for name, say in part.items()],
        }
        for title, part in PARTS.items()
    ]
    run = _run(results, names) | {"ledger": said}
    _typeset(
        "report.typ", {"parts": parts, "run": run, "ledger": _by_source(claims.judge(results))}, results, names, out
    )


def supplement(results: Path, out: Path) -> None:
    """Sets the supplement: every question of the papers with its figure, method, source, deviations, table and claims.

    Args:
        results: as for `build`.
        out: the PDF to write; replaced only when it is complete.

    Raises:
        FileNotFoundError, ValueError: a CSV or record is missing or damaged.
        OSError: `out` cannot be written.
    """
    sections = [
        _shown(name, results)
        | {"caption": " ".join(plot.FIGURES[name].__doc__.split())}
        | _docstring(name)
        | {"table": _table(name, results), "ledger": _by_source(claims.judge(results, None, [name]))}
        for name in PAPERS
    ]
    _typeset("supplement.typ", {"sections": sections, "run": _run(results, PAPERS)}, results, PAPERS, out)


def _typeset(layout: str, content: dict, results: Path, names: Iterable[str], out: Path) -> None:
    """Draws the figures of the questions and compiles a layout with its content."""
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out={out}: there is no folder {out.parent}; make it first")
    if out.is_dir():
        raise IsADirectoryError(f"--out={out}: is a folder; name the PDF in it, such as {out / 'Report.pdf'}")
    for name in names:
        if not records.about(results, name)["complete"]:
            raise ValueError(
                f"{name} is not finished in {results}; go on with: python -m hw1.reproduce --only={name} --out={results}"
            )
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in names:
            shutil.copy(plot.draw(name, results)[1], work)
        (work / "content.json").write_text(json.dumps(content, ensure_ascii=False))
        for file in (layout, "layout.typ"):
            shutil.copy(Path(__file__).with_name(file), work)
        typst.compile(work / layout, output=work / "out.pdf", root=work, ignore_system_fonts=True)
        partial = out.with_name(f"{out.name}.tmp")
        shutil.copy(work / "out.pdf", partial)
        partial.replace(out)


def _shown(name: str, results: Path) -> dict:
    """What every section shows: the figure's file and the settings."""
    return {"figure": f"{name}.pdf", "settings": _settings(records.about(results, name))}


def _section(describe: Callable, name: str, results: Path) -> dict:
    """Title, method, caption and comment of a question; where every net diverged there is nothing to comment on."""
    rows = records.read(results, name)
    if "status" in rows and (rows.status == "diverged").all():
        title = name.replace("_", " ").capitalize()
        return {"title": title, "method": "", "caption": "All nets diverged.", "comment": ["Nothing was measured."]}
    return describe(rows, records.settings(results, name), **records.tables(results, name))


def _docstring(name: str) -> dict:
    """A question and the paragraphs about it, from the docstring of its module, without its commands."""
    source = Path(records.__file__).with_name("landscape").joinpath(f"{name}.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source))
    title, *paragraphs = text.split("\n\n")
    paragraphs = [part for part in paragraphs if not part.lstrip().startswith("python -m")]
    paragraphs = [item for part in paragraphs for item in re.split(r"\n(?=- )", part)]  # each point of a list is one
    paragraphs = [re.sub("^- ", "• ", part) for part in paragraphs]
    return {
        "question": title,
        "text": [part if part.startswith(" ") else " ".join(part.split()) for part in paragraphs],
    }


def _table(name: str, results: Path) -> dict | None:
    """Caption and lines of a question's table, if it has one."""
    if name not in landscape.TABLES:
        return None
    tables = records.tables(results, name)
    return landscape.TABLES[name](records.read(results, name), records.settings(results, name), **tables)


def _by_source(ledger: pd.DataFrame) -> list[dict]:
    """The lines of a ledger by source, our figure with its interval as one text."""
    ours = [words.show(Interval(*line), 3) for line in ledger[["ours", "low", "high"]].itertuples(index=False)]
    ledger = ledger.assign(ours=ours)[["source", "claim", "published", "ours", "seeds", "verdict"]]
    groups = ledger.groupby("source", sort=False)
    return [{"name": name, "lines": lines.to_dict("records")} for name, lines in groups]


def _settings(about: dict) -> list[list[str]]:
    """The settings of a run, and its data if it has any, as pairs of strings."""
    data, pairs = about["data"], []
    if data:
        pairs.append(["data", f"{data['name']}: {data['train']} training and {data['test']} test examples"])
    for name, value in about["settings"].items():
        if name not in ("data", "train", "test"):
            text = ", ".join(map(_write, value)) if isinstance(value, list) else str(value)
            pairs.append([name.replace("_", " "), text])
    return pairs


def _write(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _run(results: Path, names: Iterable[str]) -> dict:
    """Where and how long the questions ran, one after the other."""
    abouts = [records.about(results, name) for name in names]
    return {
        "minutes": f"{sum(about['wall_time_seconds'] for about in abouts) / 60:.1f}",
        "device": f"{abouts[0]['device']['cpu']}, {abouts[0]['device']['cores']} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in abouts[0]["versions"].items()),
        "seeds": min(about["settings"]["seeds"] for about in abouts),
    }


def main(argv: list[str] | None = None) -> None:
    """The command; exit codes as in `hw1.question.main`."""
    values = question.base_flags(out=None)
    flags.DEFINE_string("results", "runs", "folder with the CSVs [runs]", flag_values=values)
    flags.DEFINE_enum("part", "course", ["course", "landscape"], "report or supplement [course]", flag_values=values)
    flags.DEFINE_string(
        "out", None, "the PDF to write [Report.pdf, or Supplement.pdf in --results]", flag_values=values
    )
    with question.exit_on_error(code=2):
        question.parse(values, argv, __doc__)
    results = Path(values.results)
    make, default = (build, "Report.pdf") if values.part == "course" else (supplement, results / "Supplement.pdf")
    out = Path(values.out or default)
    with question.exit_on_error(traceback=values.traceback):
        make(results, out)
        question.say(f"look first at {out}; figures are in {results}/figures, rows in {results}")


if __name__ == "__main__":
    main()
