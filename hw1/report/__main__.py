"""Sets the report from the CSVs and figures of a run.

    python -m hw1.report                                              # Report.pdf from runs/, seconds
    python -m hw1.report --results=hw1/results --out=/tmp/Report.pdf

Every number is read from the CSVs, every setting from the run's own record, and a sentence whose truth depends on a
result is chosen by the result (`hw1.report.generalization`). The layout is in report.typ.
"""

import json
import shutil
import tempfile
from pathlib import Path

import typst
from absl import flags

from hw1 import plot, question, records
from hw1.report import generalization, optimization

PARTS = {
    "Part 1-2: optimization": optimization.QUESTIONS,
    "Part 1-3: generalization": generalization.QUESTIONS,
}


def build(results: Path, out: Path) -> None:
    """Sets the report.

    Args:
        results: folder with CSVs and records; figures are drawn anew into its figures/.
        out: the PDF to write; replaced only when it is complete.

    Raises:
        FileNotFoundError, ValueError: a CSV or record is missing or damaged.
        OSError: `out` cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        parts = []
        for title, questions in PARTS.items():
            sections = []
            for name, describe in questions.items():
                figure = plot.draw(name, results)[1]
                shutil.copy(figure, work / figure.name)
                about = records.about(results, name)
                section = describe(records.read(results, name), about["settings"], **records.tables(results, name))
                sections.append(section | {"name": name, "settings": _settings(about), "figure": figure.name})
            parts.append({"title": title, "sections": sections})
        content = {"parts": parts, "run": _run(results)}
        (work / "content.json").write_text(json.dumps(content, ensure_ascii=False))
        shutil.copy(Path(__file__).with_name("report.typ"), work / "report.typ")
        typst.compile(work / "report.typ", output=work / "Report.pdf", root=work, ignore_system_fonts=True)
        partial = out.with_name(f"{out.name}.tmp")
        shutil.copy(work / "Report.pdf", partial)
        partial.replace(out)


def _settings(about: dict) -> list[list[str]]:
    """The settings of a run, and its data, as pairs of strings."""
    data = about["data"]
    pairs = [["data", f"{data['name']}: {data['train']} training and {data['test']} test examples"]] if data else []
    for name, value in about["settings"].items():
        if name not in ("data", "train", "test"):
            text = ", ".join(f"{v:g}" for v in value) if isinstance(value, list) else str(value)
            pairs.append([name.replace("_", " "), text])
    return pairs


def _run(results: Path) -> dict:
    """Where and how long the questions ran."""
    abouts = [records.about(results, name) for questions in PARTS.values() for name in questions]
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
    flags.DEFINE_string("out", "Report.pdf", "the PDF to write [Report.pdf]", flag_values=values)
    with question.exit_on_error(code=2):
        question.parse(values, argv, __doc__)
    with question.exit_on_error(traceback=values.traceback):
        build(Path(values.results), Path(values.out))
        question.say(f"report: {values.out}, figures: {values.results}/figures")


if __name__ == "__main__":
    main()
