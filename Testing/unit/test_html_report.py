"""The HTML page of a report with invented figures: what it quotes, what it leaves out, and that it needs nothing but itself."""

import base64
import re
import tempfile
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from invented_report import STRUCTURES, invented, number
from sketch2ct.evaluation import forest, html, html_parts
from sketch2ct.evaluation.parts import PARTS

VOID = {"meta", "img", "br", "hr", "link", "input"}


@pytest.fixture
def out(tmp_path):
    """A folder of a report with three pictures in it."""
    (tmp_path / "figures").mkdir()
    for n, name in enumerate(("dice", "masks", "ct-hn_201")):
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().imshow(np.full((2, 2), n))
        figure.savefig(tmp_path / "figures" / f"{name}.png", format="png")
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Plots are left empty where a test does not look at them."""
    monkeypatch.setattr(forest, "svg", lambda figure: "<svg/>")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of the invented report, as text, its pictures missing."""
    return html.write_html(invented(), tmp_path_factory.mktemp("report")).read_text(encoding="utf-8")


class Page(HTMLParser):
    """A page read strictly: every element closed by its own end, in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.headings, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), "an attribute stands twice"
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), self.words[-1]))

    def handle_data(self, data):
        if data.strip() and not {"script", "style"} & set(self.open):
            self.words.append(data.strip())

    @property
    def text(self):
        return "\n".join(self.words)


def read(report, out):
    return Page(html.write_html(report, out).read_text(encoding="utf-8"))


def figures_of(entry):
    """Every figure in a part of the report."""
    if isinstance(entry, dict):
        if {"mean", "ci95", "n"} <= set(entry):
            yield entry
        else:
            for value in entry.values():
                yield from figures_of(value)


def test_the_page_is_well_formed(written):
    page = Page(written)
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "a level of headings is skipped"
    marks = [about["id"] for _, about in page.tags if "id" in about]
    assert len(marks) == len(set(marks))
    assert {about["href"][1:] for tag, about in page.tags if tag == "a"} <= set(marks)
    pictures = [about for tag, about in page.tags if tag == "img"]
    assert len(pictures) > 8 and all(len(about["alt"]) > 20 for about in pictures)


def test_every_row_has_as_many_cells_as_its_head(written):
    tables = re.findall(r"<table>(.*?)</table>", written, re.S)
    assert len(tables) > 15
    for table in tables:
        counts = {len(re.findall(r"<t[dh][ >]", row)) for row in re.findall(r"<tr[ >].*?</tr>", table, re.S)}
        assert len(counts) == 1 and "<caption>" in table, table[:300]


def told(report):
    """The parts of a report without what is left to report.json: the percentile of a volume, and of a structure from another request
    all but the 3D Dice."""
    for entry in report["plausibility"].values():
        del entry["volume_percentile"]
    for entry in report["conditions"].values():
        del entry["mean_of_five"]["dice_sketch"]
        entry |= {name: {"dice_3d": entry[name]["dice_3d"]} for name in STRUCTURES}
    return {part: report[part] for part in (*PARTS, "ct_kit", "usefulness", "ablation") if part in report}


def test_every_figure_is_quoted_with_its_interval(written):
    quoted = Page(written).text
    for part, entry in told(invented()).items():
        for figure in figures_of(entry):
            ways = [{"percent": True}] + [{"digits": digits} for digits in range(4)]
            cells = [html_parts.figure(figure, **way) for way in ways]
            assert any(f"{cell.text}\n{cell.interval}" in quoted for cell in cells), f"{part}: {figure}"


def columns(text, caption, row):
    """Head -> what stands below it in a row of a table."""
    (table,) = [t for t in re.findall(r"<table>(.*?)</table>", text, re.S) if f"<caption>{caption}" in t]
    heads = re.findall(r'<th scope="col">(.*?)</th>', table)
    (line,) = [line for line in re.findall(r"<tr.*?</tr>", table) if f'<th scope="row">{row}' in line]
    return dict(zip(heads, re.findall(r"<t[dh][^>]*>([^<]*)", line), strict=True))


def test_every_figure_stands_under_its_own_head(written):
    report = invented()
    masks, kit = report["masks"]["brainstem"], report["ct_kit"]
    expected = {
        ("Masks as generated", "brainstem"): {
            "Dice 3D": f"{masks['dice_3d']['mean']:.3f}",
            "surface Dice, 3 mm": f"{masks['surface_dice_3mm']['mean']:.3f}",
            "volume error, %": f"{100 * masks['volume_error']['mean']:.1f}",
            "mean shape: Dice 3D": f"{masks['mean_shape_dice_3d']['mean']:.3f}",
        },
        ("Fréchet distance", "axial"): {"vectors: generated / real / training": "11 / 12 / 13", "n": "9"},
        ("HU by structure", "mandible"): {"range of real voxels, HU": "-17 to 83"},
    }
    beside = {"generated": "generated", "real": "real", "generated ÷ real": "ratio"}
    for caption, row, entry, digits in (
        ("The segmenter's Dice".replace("'", "&#39;"), "mandible", kit["obedience"]["mandible"], 3),
        ("Nearest training scan", "distance", kit["neighbours"], 3),
        ("Figures of texture", "skin, 10-90 % width, mm", kit["edges"]["skin_width_mm"], 2),
    ):
        expected[caption, row] = {head: f"{entry[key]['mean']:.{3 if key == 'ratio' else digits}f}" for head, key in beside.items()}
    for (caption, row), cells in expected.items():
        assert cells.items() <= columns(written, caption, row).items()


def test_the_head_says_what_was_measured_on_what(written):
    page = Page(written)
    for words in ("toy: evaluation on 9 cases", "f24c506f1eb8" * 5, "sketch2ct evaluate --bundle toy --seed 3", "CPU (test), 2 CPU cores"):
        assert words in page.text
    assert "torch 2.13.0" in page.text and "hn_201 esophagus: too small to be drawn" in page.text
    assert "321.00" in page.text


def test_key_figures_are_those_of_the_report(quick, out):
    report = invented()
    report["masks"]["mean_of_five"]["dice_3d"] = {"mean": 0.8768, "ci95": [0.8612, 0.8899], "n": 33}
    report["obedience"]["share_followed"] = {"mean": 0.9375, "ci95": [0.9211, 0.9543], "n": 77}
    lines = read(report, out).words
    at = lines.index("3D Dice, mean of five structures")
    assert lines[at + 1 : at + 3] == ["0.877", "95 % interval 0.861 to 0.890, n = 33"]
    at = lines.index("Words and numbers followed")
    assert lines[at + 1 : at + 3] == ["93.8 %", "95 % interval 92.1 to 95.4 %, n = 77"]


@pytest.mark.parametrize("part", [*(part for part in PARTS if part != "realism"), "ct_kit", "usefulness", "ablation"])
def test_a_part_that_was_not_measured_leaves_no_section(quick, out, part):
    report = {**invented(), "figures": []}
    before = read(report, out)
    assert part in [about.get("id") for _, about in before.tags]
    report[part] = {}
    if part == "masks":  # the other requests are told beside them
        report["conditions"] = {}
    after = read(report, out)
    assert part not in [about.get("id") for _, about in after.tags]
    assert len(after.headings) < len(before.headings)


def test_with_nothing_measured_there_are_no_tables_but_the_time(quick, out):
    report = {key: value for key, value in invented().items() if key not in (*PARTS, "ct_kit", "usefulness", "ablation", "figures")}
    page = read({**report, "parts": []}, out)
    assert [words for _, words in page.headings] == ["toy: evaluation on 9 cases", "What was left out", "The run"]
    assert sum(tag == "table" for tag, _ in page.tags) == 1
    assert "Not asked for: masks" in page.text and "key figures" not in page.text.lower()


def test_empty_parts_of_the_ct_kit_leave_no_heading(quick, out):
    report = invented()
    report["ct_kit"] |= {"obedience": {}, "fid": {}, "neighbours": {}}
    titles = [words for _, words in read(report, out).headings]
    empty = {"Does a CT obey its label map?", "Fréchet distance to the training scans", "Is a CT a copy of a training scan?"}
    assert not empty & set(titles)
    words = read(report, out).words
    assert "Noise power spectrum" in words and not {"Segmenter's ratio", "Fréchet distance"} & set(words), "measures of parts left out"
    assert "Noise, sharpness and continuity" in titles


def test_hostile_names_stay_text(quick, out):
    report, hostile = invented(), '<script>alert("1")</script>'
    scripts = sum(tag == "script" for tag, _ in read(report, out).tags)
    report["bundle"]["name"] = report["command"] = hostile
    report["left_out"], report["masks"][hostile] = [f"x' onerror='{hostile}"], report["masks"]["brainstem"]
    report["neighbours"]["mandible"]["copies"] = [{"case": hostile, "structure": "mandible", "training": hostile, "distance": 0.01}]
    page = read(report, out)
    assert sum(tag == "script" for tag, _ in page.tags) == scripts
    assert page.text.count(hostile) >= 5
    assert all("onerror" not in about for _, about in page.tags)


def test_copies_are_named(quick, out):
    report = invented()
    assert "No copy of a training case was found." in read(report, out).text
    report["ct_kit"]["neighbours"]["copies"] = [{"case": "hn_201", "training": "hn_007", "distance": 0.0123}]
    assert "Copy: hn_201 lies at 0.012 of training case hn_007." in read(report, out).text


def test_the_same_report_gives_the_same_bytes(written, tmp_path):
    assert html.write_html(invented(), tmp_path).read_text(encoding="utf-8") == written


def test_the_page_needs_nothing_but_itself_and_tells_nothing_of_the_machine(out):
    path = html.write_html(invented(), out)
    assert path == out / "report.html"
    text = path.read_text(encoding="utf-8")
    decoded = [base64.b64decode(found).decode() for found in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", text)]
    assert len(decoded) > 5
    assert not re.search(r"\b(?:https?|file|ftp):", re.sub(r"base64,[\w+/=]+", "", text))
    for own in (text, *decoded):
        assert not [place for place in (out, Path.home(), Path(html.__file__).parent, Path(tempfile.gettempdir())) if f"{place}/" in own]
    for tag, about in Page(text).tags:
        assert tag not in ("link", "iframe", "object", "base")
        assert tag != "img" or about["src"].startswith("data:image/")
        assert tag == "a" or "href" not in about
    for svg in decoded:  # names of the SVG language are no addresses to fetch from
        fetched = re.findall(r'(?:href|src)="([^"]+)"', svg)
        assert all(target.startswith("#") for target in fetched)


def test_pictures_are_inside_and_patients_are_warned_of(quick, out):
    report = invented()
    text = html.write_html(report, out).read_text(encoding="utf-8")
    for name in report["figures"]:
        assert base64.b64encode((out / name).read_bytes()).decode() in text
    assert "sheets of slices on this page show CT scans of patients" in text
    report["figures"] = ["figures/dice.png"]
    assert "show CT scans of patients" not in html.write_html(report, out).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["figures/none.png", "../outside.png", "report.json"])
def test_a_picture_that_the_folder_does_not_hold_is_told(quick, out, name):
    (out.parent / "outside.png").write_bytes(b"secret of the machine")
    (out / "report.json").write_text("{}")
    page = read({**invented(), "figures": [name]}, out)
    assert f"Picture {name}: the folder of the report does not hold it." in page.text
    assert not any(about.get("src", "").startswith("data:image/png") for _, about in page.tags)


def test_undefined_values_and_other_counts_are_noted(quick, out):
    report = invented()
    report["masks"]["brainstem"]["hd95_mm"] = {"mean": 5.1234, "ci95": [4.1, 6.2], "n": 7, "undefined": 2}
    report["masks"]["mandible"]["hd95_mm"] = {"mean": None, "ci95": [None, None], "n": 0, "undefined": 9}
    words = read(report, out).words
    assert words[words.index("5.1") : words.index("5.1") + 3] == ["5.1", "4.1 to 6.2", "n = 7, 2 undefined"]
    assert "-" in words


def test_one_value_has_no_interval(quick, out):
    report = invented()
    report["masks"]["brainstem"]["hd95_mm"] = {"mean": 5.1234, "ci95": [5.1234, 5.1234], "n": 1}
    words = read(report, out).words
    assert words[words.index("5.1") + 1] == "n = 1"
    assert "5.1 to 5.1" not in words


def test_what_would_have_measured_the_missing_parts_is_told(quick, out):
    report = invented()
    assert "--segmenter" not in read(report, out).text and "sketch2ct usefulness" not in read(report, out).text
    report["ct_kit"] |= {"obedience": {}, "fid": {}}
    report["usefulness"] = {}
    text = read(report, out).text
    assert "(--segmenter)" in text and "--fid-weights" in text and "'sketch2ct usefulness' measures it" in text


def test_the_rows_of_an_ablation_are_shown_with_and_without_holding(quick, out):
    report = invented()
    own = {steer: {"dice_3d": number(0.81, 0.8, 0.82), "two_sketches": number(0.86, 0.85, 0.87)} for steer in ("off", "on")}
    full = {"row": "full", "title": "full model", "reference": "full", "parameters": 5_250_000, "trained": {"steps": 400}}
    less = {**full, "row": "text", "title": "without text", "trained": None, "steering": own}
    less["difference"] = {"off": {"dice_3d": number(-0.0421, -0.05, -0.03)}}
    report["ablation"] = {"rows": [{**full, "steering": own, "difference": {}}, less], "complete": True}
    words = read(report, out).words
    assert words.count("without text") == 2 and words.count("5.25") == 4 and "400" in words
    assert words[words.index("-0.042") + 1] == "-0.050 to -0.030"


def test_a_bundle_of_one_structure_has_its_own_key_figures(quick, out):
    report = invented()
    report["masks"] = {"liver": report["masks"]["mandible"]}
    report["conditions"] = {"two_sketches": {"liver": report["conditions"]["two_sketches"]["mandible"]}}
    text = read(report, out).text
    assert "3D Dice, liver" in text and "By request: liver" in text


def test_text_stands_out_from_its_ground():
    style = (html.Path(html.__file__).parent / "report.html.jinja").read_text(encoding="utf-8")
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", style))

    def light(color):  # WCAG 2.1, relative luminance
        share = [int(colors[color][n : n + 2], 16) / 255 for n in (1, 3, 5)]
        return np.dot([0.2126, 0.7152, 0.0722], [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in share])

    for ink in ("ink", "dim"):
        for ground in ("paper", "soft", "warn"):
            assert (light(ground) + 0.05) / (light(ink) + 0.05) > 4.5
