"""The files of a card: complete, self-contained, readable in a browser without colours and by keyboard."""

import csv
import dataclasses
import html.parser
import json
import re
import shutil
import subprocess

import keras
import nets
import numpy as np
import pytest

from hw1 import measure, models
from hw1.measure import pages, pictures, population, rows, steps, surroundings
from hw1.measures import sampling

N = 30
BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def cards():
    """The cards of two nets of one architecture, one of them called by a name that needs escaping.

    Steps that take long and draw nothing of their own are not taken.
    """
    x, y = nets.examples(nets.SHAPE, N)
    found, after = [], steps.after
    without = ("spectral_norm_block", "adaptive", "pac_bayes_sigma", "frobenius_norm", "gauss_newton_norm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "after", lambda work: [step for step in after(work) if step.name not in without])
        for seed, name in ((0, "a<b>&c"), (1, "other")):
            model = nets.mlp((4,), activation="tanh", seed=seed)
            found.append(measure.card(model, (np.float32(x), y), name, tell=None, manifold=4))
            assert found[-1].left_out == {}
    return found


@pytest.fixture(scope="module")
def folder(cards, tmp_path_factory):
    """The folder of both cards."""
    folder = tmp_path_factory.mktemp("cards") / "new" / "card"
    pages.save(cards, folder)
    return folder


class Parsed(html.parser.HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text):
        """Parses a page."""
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Notes a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Notes text."""
        self.text.append(data)


@pytest.fixture(scope="module")
def page(folder):
    """The parsed page."""
    return Parsed((folder / "card.html").read_text(encoding="utf-8"))


def test_csv_and_json_hold_every_value(cards, folder):
    """All digits, errors apart, and what the figures show."""
    with (folder / "card.csv").open(encoding="utf-8") as file:
        written = [*csv.DictReader(file)]
    rows = [(card.name, row) for card in cards for row in card.rows]
    assert [(row["net"], row["measure"]) for row in written] == [(name, row.measure) for name, row in rows]
    for line, (_, row) in zip(written, rows, strict=True):
        assert float(line["value"]) == row.value
        assert line["sampling_error"] == ("" if row.sampling_error is None else str(row.sampling_error))
    about = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert [card["name"] for card in about["cards"]] == ["a<b>&c", "other"]
    assert about["cards"][0]["settings"]["loss"] == "crossentropy"
    assert set(about["cards"][0]["pictures"]) >= {"density", "eigenvalues", "eigenvector", "random", "plane"}
    assert about["versions"]["keras"]
    assert about["lines"][0]["nets"] == ["a<b>&c", "other"]


def test_the_page_says_every_value(cards, page):
    """In a cell each, with the names escaped."""
    cells = {text.strip() for text in page.text}
    for name, texts, unit in pages.side_by_side(cards):
        assert {name, *texts, unit} - {""} <= cells
    assert page.text.count("How flat are a<b>&c and other?") == 2  # of the window and of the page


def test_nothing_is_fetched(folder, page):
    """No link leads out of the page, no script is there, and the policy forbids it."""
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    policy = next(
        attributes for _, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy["content"].startswith("default-src 'none'")
    assert not re.search(r"url\(|@import", (folder / "card.html").read_text(encoding="utf-8"))


def test_a_reader_without_eyes_or_mouse_is_served(page):
    """A language, one heading of the first order, a text for each figure, headings of cells, tables in reach of Tab."""
    tags = [tag for tag, _ in page.tags]
    assert ("html", {"lang": "en"}) in page.tags
    assert tags.count("h1") == tags.count("main") == 1
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) >= 7
    assert all(len(image["alt"]) > 20 for image in images)
    assert {attributes.get("scope") for tag, attributes in page.tags if tag == "th"} == {"col", "row"}
    regions = [attributes for _, attributes in page.tags if attributes.get("role") == "region"]
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"} <= targets


def test_nets_are_told_apart_without_colour(cards):
    """Each figure with lines of several nets gives each a line style, bars a hatch, points a marker of its own."""
    for picture in pictures.draw(cards, pages.lines_of(cards)):
        for axes in picture.figure.axes:
            named = {line.get_label(): line for line in axes.lines if line.get_label() in ("a<b>&c", "other")}
            if len(named) == 2:
                first, second = ((line.get_linestyle(), line.get_marker()) for line in named.values())
                assert first != second, picture.name
            hatches = {bars[0].get_hatch() for bars in axes.containers if hasattr(bars, "patches") and len(bars)}
            assert len(hatches) in (0, 2)


def test_names_hide_nothing_and_no_net_hides_another(cards):
    """They stand outside of all panels, inside of the figure; equal percentiles of two nets stand side by side."""
    twin = dataclasses.replace(cards[0], name="a twin of a rather long name")
    for picture in pictures.draw([cards[0], twin], pages.lines_of(cards)):
        figure = picture.figure
        figure.draw_without_rendering()
        assert not any(axes.get_legend() for axes in figure.axes)
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1
        if picture.name == "Among other nets":
            first, second = ({*zip(*line.get_data(), strict=True)} for line in figure.axes[0].lines)
            assert first
            assert not first & second


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_the_page_renders_in_a_browser(folder, tmp_path):
    """Every figure is decoded, narrow pages do not scroll sideways as a whole, and no request is made."""
    command = [BROWSER, "--no-sandbox", "--disable-gpu", "--headless", f"--user-data-dir={tmp_path}/profile"]
    script = (
        "<script>onload = () => { const images = [...document.images];"
        "document.title = JSON.stringify({images: images.length, drawn: images.filter(i => i.naturalWidth > 50).length,"
        "wide: document.documentElement.scrollWidth > innerWidth + 1,"
        "fetched: performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length,"
        "reached: [...document.querySelectorAll('a, [tabindex]')].every("
        "e => { e.focus(); return document.activeElement === e })"
        "}) }</script></body>"
    )
    text = (folder / "card.html").read_text(encoding="utf-8")
    text = text.replace("style-src 'unsafe-inline'", "style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    (tmp_path / "card.html").write_text(text.replace("</body>", script), encoding="utf-8")
    for size in ("1200,900", "420,900"):
        arguments = [
            "--virtual-time-budget=5000",
            f"--window-size={size}",
            "--dump-dom",
            f"file://{tmp_path}/card.html",
        ]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=True)
        found = json.loads(re.search(r"<title>(.*?)</title>", done.stdout)[1])
        assert found["images"] == found["drawn"] >= 7
        assert (found["wide"], found["fetched"], found["reached"]) == (False, 0, True), size
    picture = tmp_path / "card.png"
    subprocess.run([*command, f"--screenshot={picture}", f"file://{folder}/card.html"], timeout=120, check=True)
    assert picture.stat().st_size > 20_000


def test_the_pdf_has_one_page(folder):
    """However much is on it."""
    content = (folder / "card.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert max(map(int, re.findall(rb"/Count (\d+)", content))) == 1


def test_a_card_is_not_overwritten(cards, folder):
    """Nor written to where a file is."""
    with pytest.raises(FileExistsError, match="holds a card already"):
        pages.save(cards, folder)
    with pytest.raises(OSError, match="cannot write"):
        pages.save(cards, folder / "card.csv" / "below")


def test_figures_have_the_same_bytes_each_time(cards):
    """No date, no random names."""
    first, second = ([pages._svg(p) for p in pictures.draw(cards[:1], {})] for _ in range(2))
    assert first == second


# Ranks, lines, percentiles


def test_layers_without_eigenvalues_have_one_panel(cards):
    """Where the time ended before them, no empty panel is left, and the text does not speak of them."""
    kept = [row for row in cards[0].rows if not row.measure.startswith("layer_norm")]
    for given, panels in ((cards[0].rows, 2), (kept, 1)):
        drawn = pictures.draw([dataclasses.replace(cards[0], rows=given)], {})
        (layers,) = (picture for picture in drawn if picture.name == "Layers")
        assert len(layers.figure.axes) == panels
        assert ("eigenvalue" in layers.text) == (panels == 2)


def test_ranks_and_what_is_within_the_errors():
    """1 is the flattest; a difference below two joint errors is marked."""
    rows = [measure.Row("trace", value, 1.0, None, None, 1.0, 5, None, "") for value in (10.0, -3.0, 11.0)]
    assert pages._ranks("trace", rows) == ["2", "1", "3 ="]
    assert pages._ranks("pac_bayes_sigma", rows) == ["2 =", "3", "1"]
    assert pages._ranks("parameters", rows) == ["", "", ""]
    assert pages._ranks("trace", [rows[0], None]) == ["", ""]


def test_the_line_between_two_nets(cards):
    """Its ends are the nets; its barrier is the largest loss above the worse end; other architectures have none."""
    found = pages.lines_of(cards)["a<b>&c", "other"]
    ends = [card["train_loss"].value for card in cards]
    assert [found["loss"][0], found["loss"][-1]] == pytest.approx(ends, rel=1e-5)
    assert found["barrier"] == pytest.approx(max(found["loss"]) - max(ends), rel=1e-3, abs=1e-6)
    x, y = nets.examples(nets.SHAPE, N)
    wide = measure.card(nets.mlp((5,), activation="tanh"), (np.float32(x), y), tell=None, minutes=1e-9)
    assert surroundings.line(cards[0].work, wide.work) is None


def test_slices_pass_through_the_net_and_have_its_curvature(cards):
    """The middle is the net; along the top eigenvector the second difference is λ₁."""
    for card in cards:
        found, middle = card.pictures["eigenvector"], surroundings.SLICE // 2
        loss, step = found["loss"], found["steps"][1] - found["steps"][0]
        assert loss[middle] == pytest.approx(card["train_loss"].value, rel=1e-5)
        model = models.with_dtype(card.work.model, "float64")
        vector, value = card.work.top
        theta = models.flat_parameters(model)
        x, y = card.work.first
        losses = [
            np.mean(_losses(models.with_parameters(model, theta + s * step * vector), x, y)) for s in (-0.1, 0, 0.1)
        ]
        assert np.diff(losses, 2)[0] / (0.1 * step) ** 2 == pytest.approx(value, rel=1e-3)
        assert loss[[middle - 1, middle + 1]] == pytest.approx(
            [np.mean(_losses(models.with_parameters(model, theta + s * step * vector), x, y)) for s in (-1, 1)],
            rel=1e-4,
        )


def _losses(model, x, y):
    import references

    return references.losses(model, x.astype(np.float64), y)


def test_percentiles_count_the_nets_below(cards):
    """Of the committed rows; of another loss or another ε there are none."""
    card = cards[0]
    there = population.values("trace")
    assert len(there) == 240
    assert len(population.values("spectral_norm_full")) == 100
    assert card.percentiles["trace"] == pytest.approx(100 * np.mean(there < card["trace"].value), abs=1)
    x, y = nets.examples(nets.SHAPE, N)
    other = measure.card(card.work.model, (np.float32(x), y), tell=None, loss="mse", minutes=1e-9)
    assert other.percentiles == {}
    assert "its loss is mse" in pages.summary([other])[-1]
    assert not any("percentiles" in line for line in pages.summary([card]))
    for source in population.SOURCES.values():
        assert source.nets


@pytest.mark.parametrize("kind", ["table", "standardised"])
def test_nets_of_what_is_no_image_are_not_ranked_among_nets_of_images(kind):
    """Though the loss is the same; the page says so."""
    rng = np.random.default_rng(0)
    x, shape = (rng.random((20, 4)), (4,)) if kind == "table" else (rng.normal(size=(20, 3, 3)), (3, 3))
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(0))]
    model = keras.Sequential([keras.Input(shape), *layers])
    card = measure.card(model, (np.float32(x), rng.integers(0, 3, 20)), tell=None, minutes=1e-9)
    assert card.percentiles == {}
    assert any("no percentiles among this project's nets" in line for line in pages.summary([card]))
    assert all(picture.name != "Among other nets" for picture in pictures.draw([card], {}))


def test_a_figure_of_one_of_two_nets_says_which(cards):
    """The other may have had no time for it."""
    other = dataclasses.replace(cards[1], pictures={})
    for picture in pictures.draw([cards[0], other], {}):
        if picture.name == "Random directions":
            assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == ["a<b>&c"]


@pytest.mark.slow
def test_derivatives_in_other_units_of_the_input_are_not_compared():
    """A net of pixels up to 255 has derivatives smaller by that; the unit says so."""
    x, y = nets.examples(nets.SHAPE, N)
    found = {pixels: measure.card(nets.mlp((4,)), (np.float32(x), y), tell=None, pixels=pixels) for pixels in (1, 2)}
    own = {"loss_gradient_norm", "jacobian_norm"}
    assert own < {*found[1].percentiles}
    assert {*found[2].percentiles} == {*found[1].percentiles} - own
    for name in (*own, "whole_loss_gradient_norm"):
        assert [card[name].unit.endswith(", white = 2") for card in found.values()] == [False, True]
    assert ["inputs times 2" in pages.summary([card])[0] for card in found.values()] == [False, True]


def test_an_error_that_nobody_knows_is_no_number_in_json():
    """Infinity is not JSON."""
    assert pages._plain({"a": np.array([1.0, np.inf]), "b": sampling.Sampling(np.nan, 1.0)}) == {
        "a": [1.0, None],
        "b": [None, 1.0],
    }


def test_layers_of_one_architecture_stand_side_by_side():
    """Keras numbers layers by how many were made before: dense of one net is dense_1 of the next."""
    x, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    found = []
    for name in ("dense", "dense_1"):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name=name)])
        card = measure.card(model, (x, y), name, tell=None, minutes=1e-9)
        card.rows.append(rows.row(f"layer_trace/{name}", 1.0, f"trace H, layer {name}", 20))
        found.append(card)
    (texts,) = [texts for name, texts, _ in pages.side_by_side(pages.matched(found)) if "layer_trace" in name]
    assert len(texts) == 2
    assert all(texts)
    assert found[1].rows[-1].measure == "layer_trace/dense_1"  # the card itself keeps its own names
