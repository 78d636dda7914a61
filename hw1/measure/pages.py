"""A card as files: card.csv, card.json, card.html and card.pdf; and as text, for one net or several side by side."""

import base64
import csv
import dataclasses
import html
import io
import itertools
import json
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import typst

from hw1 import command, environment, files
from hw1.measure import pictures, population, rows, surroundings
from hw1.measure.rows import Row

# Measures by which nets are ranked: 1 is the flattest, which is the smallest value, of these the largest.
LARGEST_FIRST = {"pac_bayes_sigma", "margin_median", "margin_tenth_percentile", "test_accuracy", "train_accuracy"}
UNRANKED = {"parameters", "outliers", "smallest_eigenvalue"}
APART = 2  # joint standard errors, from which a difference counts


def table(cards, lines=None) -> str:
    """The cards as aligned text; several side by side, with ranks and with what `lines_of` gives for them."""
    if len(cards) == 1:
        return cards[0].table()
    headings, cells = _cells(matched(cards))
    text = (
        command.aligned([headings, *cells])
        + f"\n(1) is the flattest; (=) differs from the rank before by less than {APART} errors"
    )
    for card in cards:
        text += "".join(f"\nleft out of {card.name}: {name}: {why}" for name, why in card.left_out.items())
    return text + "".join(
        f"\nbetween {' and '.join(pair)}: barrier of the loss {found['barrier']:.3g}"
        for pair, found in (lines or {}).items()
    )


def matched(cards) -> list:
    """The cards with the layer names of the first where a net has the same layers under others, as dense_3 for dense.

    Keras numbers the names of layers by how many were made before, so that nets of one architecture differ in them.
    """
    return [cards[0], *(_renamed(card, cards[0]) for card in cards[1:])] if cards else []


def _renamed(card, first):
    """A card with the layer names of the first, if both nets have layers of the same sizes in the same order."""
    if None in (card.work, first.work):
        return card
    own, wanted = card.work.layers, first.work.layers
    if [len(places) for places in own.values()] != [len(places) for places in wanted.values()]:
        return card
    names = dict(zip(own, wanted, strict=True))

    def named(row):
        kind, _, layer = row.measure.partition("/")
        if layer not in names:
            return row
        unit = row.unit.replace(f"layer {layer}", f"layer {names[layer]}")
        return row._replace(measure=f"{kind}/{names[layer]}", unit=unit)

    return dataclasses.replace(card, rows=[named(row) for row in card.rows])


def side_by_side(cards) -> list[tuple[str, list[str], str]]:
    """Measure, a text for each net, unit: values with errors and ranks."""
    by_name = [{row.measure: row for row in card.rows} for card in cards]
    found = []
    for name in dict.fromkeys(name for rows_of in by_name for name in rows_of):
        each = [rows_of.get(name) for rows_of in by_name]
        texts = ["" if row is None else rows.shown(row.value, row.standard_error) for row in each]
        ranks = _ranks(name, each)
        texts = [f"{text} ({rank})" if rank else text for text, rank in zip(texts, ranks, strict=True)]
        found.append((name, texts, next(row.unit for row in each if row)))
    return found


def _ranks(name: str, each: list[Row | None]) -> list[str]:
    """The rank of each net by a measure, "=" where the difference to the rank before is within the errors."""
    base = name.split("/")[0].removesuffix("_regularized")
    there = [i for i, row in enumerate(each) if row is not None and np.isfinite(row.value)]
    ranks = [""] * len(each)
    if base in UNRANKED or len(there) < 2:
        return ranks
    there.sort(key=lambda i: -each[i].value if base in LARGEST_FIRST else abs(each[i].value))
    for rank, i in enumerate(there):
        ranks[i] = str(rank + 1)
        if rank:
            before, own = each[there[rank - 1]], each[i]
            error = np.hypot(before.standard_error or 0, own.standard_error or 0)
            if not abs(own.value - before.value) > APART * error:
                ranks[i] += " ="
    return ranks


def lines_of(cards) -> dict:
    """(name, name) → the line between each net and the next one, if they are of one architecture and loss."""
    found = {}
    for a, b in itertools.pairwise(cards):
        is_apart = a.is_interrupted or b.is_interrupted or a.loss != b.loss
        between = None if is_apart else surroundings.line(a.work, b.work)
        found |= {(a.name, b.name): between} if between else {}
    return found


def save(cards, folder, lines=None) -> None:
    """Writes card.csv, card.json, card.html and card.pdf.

    Args:
        cards: a list of `hw1.measure.cards.Card`.
        folder: made if it does not exist.
        lines: between the nets, as `lines_of` gives them; None computes them.

    Raises:
        FileExistsError: it holds a card already.
        OSError: it cannot be written.
    """
    folder = Path(folder)
    if (folder / "card.json").exists():
        raise FileExistsError(f"{folder} holds a card already: name another folder or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.unwritable(folder, error) from error
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["net", *Row._fields])
    writer.writerows([card.name, *row] for card in cards for row in card.rows)
    files.replace(folder / "card.csv", text.getvalue())
    lines = lines_of(cards) if lines is None else lines
    shown = matched(cards)
    drawn = pictures.draw(shown, lines)
    svgs = [_svg(picture) for picture in drawn]
    files.replace(folder / "card.html", page(shown, drawn, svgs))
    _typeset(shown, drawn, svgs, folder / "card.pdf")
    about = {"cards": [_described(card) for card in cards], **environment.describe()}
    about["lines"] = [{"nets": list(pair), **_plain(found)} for pair, found in lines.items()]
    files.replace(
        folder / "card.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    )  # last: it says all is there


def _described(card) -> dict:
    """A card as JSON values."""
    return {
        "name": card.name,
        "rows": [row._asdict() for row in card.rows],
        "left_out": card.left_out,
        "percentiles": card.percentiles,
        "settings": _plain(card.described_settings),
        "data": card.data,
        "seconds": round(card.seconds, 1),
        "interrupted": card.is_interrupted,
        "pictures": _plain(card.pictures),
    }


def _plain(value):
    """Arrays as lists of numbers to six digits; what is not finite as None, which JSON has."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _svg(picture) -> bytes:
    """A figure as SVG, with the same bytes in each run."""
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "hw1", "svg.fonttype": "path"}):
        picture.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto; max-width: 72rem;
  padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
nav a { margin-right: 1rem; } a { color: #004a80; }
:focus-visible { outline: 3px solid #b34700; outline-offset: 2px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid #ccc; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; } img { width: 100%; height: auto; } figcaption { font-size: .85rem; }
"""


def page(cards, drawn, svgs) -> str:
    """The card as one HTML page that needs nothing else: figures are in it, and nothing may be fetched."""
    escape = html.escape
    title = escape(_title(cards))
    out = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f"<header><h1>{title}</h1>",
        *(f"<p>{escape(line)}</p>" for line in summary(cards)),
        '<nav aria-label="Parts of this page"><a href="#values">Values</a><a href="#figures">Figures</a>'
        + ('<a href="#left-out">Left out</a>' if any(card.left_out for card in cards) else "")
        + "</nav></header>\n<main>",
        '<section id="values"><h2>Values</h2>',
        _table(*_cells(cards), "Measured values with standard errors"),
        "</section>\n",
        '<section id="figures"><h2>Figures</h2><div class="figures">',
    ]
    for picture, svg in zip(drawn, svgs, strict=True):
        data = base64.b64encode(svg).decode()
        out.append(
            f'<figure><img alt="{escape(picture.alternative)}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption><strong>{escape(picture.name)}.</strong> {escape(picture.text)}</figcaption></figure>"
        )
    out.append("</div></section>\n")
    if any(card.left_out for card in cards):
        lines = [(card.name, name, why) for card in cards for name, why in card.left_out.items()]
        out += ['<section id="left-out"><h2>Left out</h2>', _table(("net", "measure", "why"), lines, "Not measured")]
        out.append("</section>\n")
    out.append("</main>\n</body>\n</html>\n")
    return "\n".join(out)


def _cells(cards):
    """Headings and lines of the table of values; of a deep net without its smallest layers."""
    first = cards[0].rows
    kept, note = rows.brief([row.measure for row in first], [row.value for row in first])
    if len(cards) == 1:
        headings, lines = rows.HEADINGS, [rows.cells(row) for row in first if row.measure in kept]
    else:
        dropped = {row.measure for row in first} - kept
        headings = ("measure", *(card.name for card in cards), "unit")
        lines = [(name, *texts, unit) for name, texts, unit in side_by_side(cards) if name not in dropped]
    return headings, lines + ([("…", *[""] * (len(headings) - 2), note)] if note else [])


def _table(headings, lines, caption) -> str:
    """A table that scrolls with the keyboard where the page is narrow."""
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in headings)
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(line[0])}</th>'
        + "".join(f'<td class="number">{html.escape(cell)}</td>' for cell in line[1:-1])
        + f"<td>{html.escape(line[-1])}</td></tr>"
        for line in lines
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(caption)}"><table>'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def summary(cards) -> list[str]:
    """What is said below the title."""
    first = cards[0]
    losses, counts = (
        ", ".join(map(str, dict.fromkeys(each))) for each in zip(*((c.loss, c.n) for c in cards), strict=True)
    )
    lines = [
        f"Loss: {losses}. Hessian on {counts} training examples of {first.data['train']}; data: {first.data['name']}"
        f"{_scale(first)}.",
        "After ± the standard error: of random probes, of what Lanczos leaves and of the choice of examples. "
        "“for ± 5 %” is the number of examples that brings the last of these to 5 % of the value.",
    ]
    if len(cards) > 1:
        lines[1] = (
            "After ± the standard error. In brackets the rank, 1 for the flattest; = where the difference to the rank "
            f"before is below {APART} errors."
        )
    lines += [f"{card.name}: {card.work.note}." for card in cards if card.work.note]
    lines += [line for line in map(population.other, cards) if line]
    if any(card.is_interrupted for card in cards):
        lines.append("The measurement was interrupted; this is what was measured until then.")
    return lines


def _title(cards) -> str:
    """The question that the card answers."""
    *others, last = (card.name for card in cards)
    return f"How flat are {', '.join(others)} and {last}?" if others else f"How flat is {last}?"


def _scale(card) -> str:
    """By what the inputs were multiplied, in words."""
    return "" if card.settings.pixels == 1 else f", inputs times {card.settings.pixels:g}"


def _typeset(cards, drawn, svgs, out: Path) -> None:
    """Sets the PDF of one page."""
    headings, lines = _cells(cards)
    content = {
        "title": _title(cards),
        "summary": summary(cards),
        "headings": headings,
        "lines": lines,
        "left_out": [f"{card.name}: {name}: {why}" for card in cards for name, why in card.left_out.items()],
        "pictures": [
            {"file": f"{number}.svg", "name": picture.name, "text": picture.text}
            for number, picture in enumerate(drawn)
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for number, svg in enumerate(svgs):
            (folder / f"{number}.svg").write_bytes(svg)
        (folder / "content.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        layout = Path(__file__).with_name("card.typ").read_text(encoding="utf-8")
        (folder / "card.typ").write_text(layout, encoding="utf-8")
        files.replace(out, typst.compile(str(folder / "card.typ")))
