"""Sets the report, or the supplement, from the CSVs and figures of a run.

    python -m hw1.report                                              # Report.pdf from runs/, seconds
    python -m hw1.report --results=hw1/results --out=/tmp/Report.pdf
    python -m hw1.report --part=papers                                # runs/Supplement.pdf: the papers' questions

Every number is read from the CSVs, every setting from the record of the run, and a sentence whose truth depends on a
result is chosen by the result (see `comment` in each file of hw1/findings). The supplement adds source and deviations
of each question, the whole ledger, and what became of the verdicts with fresh seeds. The layouts are in report.typ,
supplement.typ and layout.typ.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import typst
from absl import flags

from hw1 import catalogue, claims, command, files, records, replicate, source
from hw1.findings import drawing, words
from hw1.report import answer
from hw1.statistics import Interval

TITLES = {
    "deep_vs_shallow": "Part 1-1: deep against shallow",
    "optimization": "Part 1-2: optimization",
    "generalization": "Part 1-3: generalization",
    "landscape": "Curvature, large batches and flat minima",
    "dynamics": "The noise of SGD",
    "paths": "What lies between solutions",
}
SUPPLEMENTS = ["papers", *catalogue.PAPERS]
MOST_PAGES = 10  # of the report, which the course asks for
SCALES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82)  # of its type and figures, from 10 points to 8.2
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
    ledger, whose = _ledger_of_all(results)
    common = _common(sections.values())
    content = {"common": common, "parts": parts, "run": _run(results, names)}
    content["answer"] = [*answer.paragraphs(ledger), whose]
    content["ledger"] = _by_source(ledger[ledger.question.isin(names)])
    _typeset("report.typ", content, results, names, out, MOST_PAGES)


def _common(sections: Iterable[dict]) -> list[list[str]]:
    """The settings that most sections share, which are taken out of these sections."""
    sections = list(sections)
    counts = Counter(tuple(pair) for section in sections for pair in section["settings"])
    common = [list(pair) for pair, count in counts.items() if count > len(sections) / 2]
    for section in sections:
        section["settings"] = [pair for pair in section["settings"] if pair not in common]
    return common


def _ledger_of_all(results: Path) -> tuple[pd.DataFrame, str]:
    """The claims of course and papers, and by which results the papers' are judged: those of the run if it has all."""
    papers = catalogue.names("papers")
    if all(claims.answered(name, results) for name in papers):
        return claims.judge(results), ""
    own, committed = claims.judge(results, catalogue.names("course")), claims.read(records.COMMITTED)
    both = pd.concat([own, committed[committed.question.isin(papers)]], ignore_index=True)
    return both, "The papers' claims counted here are those of the committed results, as this run does not have them."


def supplement(results: Path, out: Path, part: str = "papers") -> None:
    """Sets the supplement: the papers' questions with figure, conclusion, method, source and deviations; the ledger.

    Args:
        results: as for `build`.
        out: the PDF to write; replaced only when it is complete.
        part: the questions: "papers" for all, or one of `hw1.catalogue.PAPERS`.

    Raises:
        FileNotFoundError, ValueError: a CSV or record is missing or damaged.
        OSError: `out` cannot be written.
    """
    names = catalogue.names(part)
    headings = {catalogue.names(each)[0]: TITLES[each] for each in catalogue.PAPERS} if part == "papers" else {}
    sections = [
        _section(name, results)
        | _source_and_deviations(name)
        | {"table": _table(name, results), "part": headings.get(name)}
        for name in names
    ]
    judged = names if part in catalogue.PAPERS else None
    again = replicate.read(records.COMMITTED)
    content = {
        "sections": sections,
        "run": _run(results, names),
        "ledger": _by_source(claims.judge(results, judged)),
        "replication": None if again is None else _replication(again),
    }
    _typeset("supplement.typ", content, results, names, out)


def _replication(table: pd.DataFrame) -> dict:
    """How many questions were answered with fresh seeds, and the claims whose verdict changed, with both figures."""
    changed = table[table.outcome.isin(["flips", "no longer decided", "decided now"])]
    lines = [
        {
            "claim": line.claim,
            "before": words.show(Interval(line.ours, line.low, line.high, line.seeds)),
            "after": words.show(Interval(line.ours_again, line.low_again, line.high_again, line.seeds_again)),
            "verdicts": f"{line.verdict}; again {line.verdict_again}",
        }
        for line in changed.itertuples()
    ]
    questions = words.part_of(table.question.nunique(), len(catalogue.names())).capitalize()
    return {"questions": questions, "summary": replicate.summary(table), "lines": lines}


def _typeset(
    layout: str, content: dict, results: Path, names: Iterable[str], out: Path, most_pages: int | None = None
) -> None:
    """Draws the figures of the questions and compiles a layout with its content.

    Sentences are chosen by the results, so the text of another run may be longer: a document that must not have more
    than so many pages is then set a little smaller, in steps.
    """
    for name in names:
        if not records.about(results, name)["complete"]:
            raise ValueError(
                f"{name} is not finished in {results}; continue with: hw1 reproduce --only={name} --out={results} "
                "and the --size of the run"
            )
    figures = [drawing.draw(name, results)[1] for name in names]
    try:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            for file in (*figures, Path(__file__).with_name(layout), Path(__file__).with_name("layout.typ")):
                shutil.copy(file, work)
            for scale in SCALES:
                (work / "content.json").write_text(json.dumps(content | {"scale": scale}, ensure_ascii=False))
                pdf = typst.compile(work / layout, root=work, ignore_system_fonts=True)
                if most_pages is None or _pages(work / layout, work) <= most_pages:
                    break
    except OSError as error:
        remedy = "make room there, or name another folder with the variable TMPDIR"
        raise OSError(f"cannot set {out} in {tempfile.gettempdir()} ({error.strerror or error}): {remedy}") from error
    files.replace(out, pdf)


def _pages(layout: Path, work: Path) -> int:
    """The number of pages, which the layout gives as metadata."""
    found = typst.query(layout, "<pages>", field="value", one=True, root=work, ignore_system_fonts=True)
    return int(json.loads(found))


def _section(name: str, results: Path) -> dict:
    """Figure, settings, title, method, caption and comment of a question."""
    rows, settings = records.read(results, name), records.settings(results, name)
    shown = {"figure": f"{name}.pdf", "settings": _settings(records.about(results, name), source.labels(name))}
    if "status" in rows and (rows.status == "diverged").all():
        title = name.replace("_", " ").capitalize()
        nothing = ["Nothing was measured: all nets diverged."]
        return shown | {"title": title, "method": "", "caption": "All nets diverged.", "comment": nothing}
    return shown | catalogue.finding(name).comment(rows, settings, **records.tables(results, name))


def _source_and_deviations(name: str) -> dict:
    """A question, its source, and how the experiment deviates from it, from the docstring of its module."""
    question, *paragraphs = source.docstring(name).split("\n\n")
    wanted = [" ".join(part.split()) for part in paragraphs if part.startswith(("Source", "Deviations"))]
    return {"question": question, "text": wanted}


def _table(name: str, results: Path) -> dict | None:
    """Caption and lines of a question's table, if it has one."""
    finding, rows = catalogue.finding(name), records.read(results, name)
    if not hasattr(finding, "table"):
        return None
    return finding.table(rows, records.settings(results, name), **records.tables(results, name))


def _by_source(ledger: pd.DataFrame) -> list[dict]:
    """The lines of a ledger by source, our figure with its interval as one text; checks come last."""
    papers = catalogue.names("papers")
    ours = [words.show(Interval(line.ours, line.low, line.high, line.seeds)) for line in ledger.itertuples()]
    figures = [f"{name}.pdf" if name in papers else "" for name in ledger.question]
    checks = "Checks of identities"
    names = ledger.source.where(ledger.kind == "claim", checks)
    ledger = ledger.assign(ours=ours, figure=figures, name=names)
    columns = ["source", "kind", "claim", "published", "ours", "seeds", "verdict", "significant", "caveat", "figure"]
    in_order = ledger.sort_values("kind", key=lambda kinds: kinds != "claim", kind="stable")
    groups = in_order.groupby("name", sort=False)
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


def _check_paths(results: Path, out: Path) -> None:
    """Raises ValueError unless there is a folder of results, and one for the PDF."""
    if not results.is_dir():
        raise ValueError(f"--results={results}: there is no such folder; name that of a run, such as hw1/results")
    if not out.parent.is_dir():
        raise ValueError(f"--out={out}: there is no folder {out.parent}; make it first")
    if out.is_dir():
        raise ValueError(f"--out={out}: is a folder; name the PDF in it, such as {out / 'Report.pdf'}")


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
        command.parse(values, argv, __doc__, folder="results")
        results = Path(values.results)
        out = Path(values.out or ("Report.pdf" if values.part == "course" else results / "Supplement.pdf"))
        _check_paths(results, out)
    with command.exit_on_error(traceback=values.traceback):
        if values.part == "course":
            build(results, out)
        else:
            supplement(results, out, values.part)
        command.say(f"look first at {out}; figures are in {results}/figures, rows in {results}")


if __name__ == "__main__":
    main()
