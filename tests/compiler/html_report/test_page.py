"""``report.html``: what it says, that no text becomes markup, and how a browser shows it."""

import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bitwright.compiler.html_report.charts import CAUSE_NAMES
from bitwright.compiler.html_report.markup import Html, element
from bitwright.compiler.html_report.page import report_page
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_shapes import map_shapes
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.architectures.families import read_config
from bitwright.sim.cycle_model.recorder import CAUSES
from tests.compiler.tiny import BERT, LLAMA

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser",
                                                "google-chrome"))), None)
ROOT = Path(__file__).parents[3]
VOID = {"meta", "rect", "line", "circle", "path", "br"}
HOSTILE = "<script>alert(1)</script>\"'&amp;<img src=x onerror=alert(2)>"


class Reader(html.parser.HTMLParser):
    """Elements and cells of a page whose tags are balanced."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text = [], [], ""
        self.tables = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def table(self, *heads):
        """Rows of the table that begins with ``heads``."""
        (found,) = (rows for rows in self.tables if tuple(rows[0][:len(heads)]) == heads)
        return found[1:]


@pytest.fixture(scope="module")
def report(mapped):
    return json.loads((mapped / "report.json").read_text())


@pytest.fixture(scope="module")
def page(mapped):
    return (mapped / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def large():
    """225 layers."""
    return map_shapes(read_config("llama-2-7b"), PRESETS["ulx3s-85f"], Options(), tokens=1)


def check_closed(text):
    """One page, one script, nothing from elsewhere."""
    reader = Reader(text)
    assert "://" not in text and "@import" not in text and "url(#head)" in text
    assert text.count("url(") == text.count("url(#head)")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(reader.all("script")) == 1 and reader.all("script")[0] == {}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (a["content"] for a in reader.all("meta") if "http-equiv" in a)
    assert policy == ("default-src 'none'; style-src 'unsafe-inline'; "
                      f"script-src 'sha256-{digest}'")
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    for tag, attributes in reader.elements:
        assert tag not in ("img", "link", "iframe", "object", "base", "form"), tag
        for name in attributes:
            assert name not in ("src", "href") and not name.startswith("on"), name
    return reader


def test_the_page_is_the_report(page, report):
    assert report_page(report, PRESETS["tiny"], "model.safetensors (bert)") == page
    reader = check_closed(page)
    rows = reader.table("#", "layer", "M x K x N")
    assert [cells[1] for cells in rows] == [row["name"] for row in report["layers"]]
    for cells, row in zip(rows, report["layers"], strict=True):
        assert cells[2] == f"{row['m']} x {row['k']} x {row['n']}"
        assert cells[6] == f"{row['cycles']:,}" and cells[11] == row["bound"]
        assert cells[13] == f"{row['dram_bytes'] / row['compulsory_bytes']:.2f}"
        assert cells[15] == "; ".join(row["notes"])
    causes = reader.table("cause", "cycles")
    totals = report["totals"]
    assert {cells[0]: cells[1] for cells in causes} == {
        CAUSE_NAMES[cause]: f"{count:,}" for cause, count in totals["causes"].items() if count}
    assert sum(int(cells[1].replace(",", "")) for cells in causes) == totals["cycles"]
    assert [cells[0] for cells in reader.table("operator", "count")] == [
        row["operator"] for row in totals["host"]]
    for value in (f"{totals['cycles']:,}", f"{totals['utilization']:.1%}",
                  f"{totals['bits_per_weight']:.2f}", f"{totals['macs']:,} MACs"):
        assert value in reader.text
    assert set(CAUSE_NAMES) == set(CAUSES)


def test_rows_of_the_report_by_hand(report):
    row = next(row for row in report["layers"] if (row["k"], row["n"]) == (40, 24))
    # As test_map.py has it: all is moved once.
    assert (row["act_bytes"], row["output_bytes"]) == (6 * 48, 5 * 24 * 4)
    assert row["compulsory_bytes"] == row["dram_bytes"]
    assert sum(row["causes"].values()) == row["cycles"]
    assert row["causes"]["compute"] == row["engines"]["execute"]["busy"]
    assert row["total_cycles"] > row["cycles"]
    # Beats of 4 bytes; the program takes 8 for each instruction.
    busy = row["engines"]["load"]["busy"] + row["engines"]["store"]["busy"]
    assert busy == row["dram_bytes"] // 4 + 8 * row["instructions"]
    for key in ("causes", "engines"):
        assert report["totals"][key].keys() == row[key].keys()


def test_bytes_of_a_layer_that_comes_again():
    bert = {**BERT, "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 1,
            "max_position_embeddings": 128, "num_attention_heads": 12}
    found = map_shapes(bert, PRESETS["ulx3s-85f"], Options())
    row = found["layers"][-1]
    # int4 weights, 24 groups of 2 bytes per channel, int8 activations, int32 results.
    assert row["compulsory_bytes"] == (1536 * 384 // 2 + 384 * 24 * 2 + 128 * 1536
                                       + 128 * 384 * 4) < row["dram_bytes"]
    (cells,) = (cells for cells in Reader(report_page(found, PRESETS["ulx3s-85f"], "x")).table(
        "M x K x N", "weights", "layers") if cells[0] == "128 x 1536 x 384")
    assert cells[3:6] == ["690.0 KiB", "762.0 KiB", "1.10"]


def test_the_document_explains_every_key(report):
    document = ROOT / "docs/reference/report.md"
    said = set(re.findall(r"`(\w+)`", document.read_text(encoding="utf-8")))
    row, totals = report["layers"][0], report["totals"]
    assert not {*row, *row["causes"], *row["engines"], *totals, *report} - said - {"layers"}


def test_bars_are_as_long_as_their_shares(page, report):
    reader = Reader(page)
    widths = [(a["class"], float(a["style"].removeprefix("width:").removesuffix("%")))
              for a in reader.all("i")]
    causes, cycles = report["totals"]["causes"], report["totals"]["cycles"]
    shown = {f"c-{cause}": 100 * causes[cause] / cycles for cause in CAUSES if causes[cause]}
    for (colour, width), (name, share) in zip(widths, shown.items(), strict=False):
        assert colour == name and width == pytest.approx(share, abs=1e-3)


def test_every_layer_is_on_the_roofline(page, report, large):
    for text, rows in ((page, report["layers"]),
                       (report_page(large, PRESETS["ulx3s-85f"], "x"), large["layers"])):
        points = check_closed(text).all("circle")
        assert sum(int(point["data-layers"]) for point in points) == len(rows)
        for point in points:
            assert 64 <= float(point["cx"]) <= 612 and 16 <= float(point["cy"]) <= 332
        first = next(point for point in points if rows[0]["name"] in point["data-tip"])
        assert f"{rows[0]['macs'] / rows[0]['cycles']:,.1f} MACs per cycle" in first["data-tip"]


def test_text_never_becomes_markup(report, page):
    changed = json.loads(json.dumps(report))
    for row in changed["layers"]:
        row |= {"name": row["name"] + HOSTILE, "weights": HOSTILE, "notes": [HOSTILE]}
    for row in changed["totals"]["host"]:
        row |= {"operator": HOSTILE, "reason": HOSTILE}
    text = report_page(changed, PRESETS["tiny"].replace(name=HOSTILE), HOSTILE)
    reader = check_closed(text)
    for tag in ("script", "img", "circle", "td", "b"):
        assert len(reader.all(tag)) == len(Reader(page).all(tag)), tag
    rows = reader.table("#", "layer", "M x K x N")
    assert [cells[1] for cells in rows] == [row["name"] for row in changed["layers"]]
    assert rows[0][3].startswith(HOSTILE) and rows[0][15] == HOSTILE
    assert any(HOSTILE in point["data-tip"] for point in reader.all("circle"))


def test_elements():
    assert element("p", "<", Html("<b/>"), title='"') == '<p title="&quot;">&lt;<b/></p>'
    assert element("rect", data_tip="a", class_="b", id=None) == '<rect data-tip="a" class="b"/>'


@pytest.mark.parametrize("pe, machine", [("lut", "tiny"), ("serial", "ulx3s-85f"),
                                         ("mac", "ulx3s-85f"), ("lut", "icebreaker")])
def test_other_machines(pe, machine):
    where = PRESETS[machine] if pe == "lut" else PRESETS[machine].with_pe(pe)
    found = map_shapes(LLAMA, where, Options(group_size=16), tokens=2)
    reader = check_closed(report_page(found, where, "llama"))
    assert f"{where.weight_depth:,} words of {where.weight_word_bits:,} bits" in reader.text
    assert "not known" in reader.text  # no weights, no noise


def test_page_from_shapes_alone(command, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    arguments = ("map", "--shapes-only", tmp_path / "config.json", "--machine", "tiny",
                 "--group-size", 16, "--tokens", 2, "--html", tmp_path / "page.html")
    assert command(*arguments)[0] == 0
    first = (tmp_path / "page.html").read_bytes()
    assert command(*arguments)[0] == 0 and (tmp_path / "page.html").read_bytes() == first
    reader = check_closed(first.decode())
    assert "from its configuration alone" in reader.text
    code, out, err = command("map", "--shapes-only", "gpt2", "--html", tmp_path / "no" / "x.html")
    assert (code, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1
    code, _, err = command("map", "model.safetensors", "--out", "x", "--html", "y.html")
    assert code == 2 and "--html" in err


# ---- in a browser -------------------------------------------------------------------------
DRIVER = """
window.onerror = (text) => { document.title = "error: " + text; };
const head = (name) => Array.from(document.querySelectorAll("#layers th"))
  .find((cell) => cell.textContent === name);
const names = () => Array.from(document.querySelectorAll("#layers td:nth-child(2)"),
                               (cell) => cell.textContent);
const found = {wide: document.documentElement.scrollWidth - window.innerWidth};
for (const [key, name] of [["cycles", "cycles"], ["again", "cycles"], ["layer", "layer"],
                           ["shape", "M x K x N"]]) {
  head(name).querySelector("button").click();
  found[key] = names();
  found[key + "_sort"] = head(name).getAttribute("aria-sort");
}
found.sorted = document.querySelectorAll("#layers th[aria-sort]").length;
document.querySelector("circle").dispatchEvent(
  new MouseEvent("mousemove", {bubbles: true, clientX: 5, clientY: 5}));
const box = document.getElementById("tip");
found.tip = box.textContent;
found.hidden = box.hidden || !box.offsetWidth;
document.querySelector("h1").dispatchEvent(new MouseEvent("mousemove", {bubbles: true}));
found.after = box.hidden;
const pre = document.createElement("pre");
pre.id = "found";
pre.textContent = JSON.stringify(found);
document.body.append(pre);
"""


def browse(path, *arguments):
    """Standard output and what the page said on its console."""
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         "--window-size=400,800", "--virtual-time-budget=2000",
         f"--user-data-dir={path.parent / 'profile'}", *arguments, path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser(report, tmp_path):
    changed = json.loads(json.dumps(report))
    changed["layers"][3]["name"] = HOSTILE
    for index, row in enumerate(changed["layers"]):
        row["cycles"] = row["roofline_cycles"] * (1 + index * 37 % 100)
        row["macs"] *= 1 + index * 41 % 50
    text = report_page(changed, PRESETS["tiny"], HOSTILE)
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    out, console = browse(path, "--dump-dom")
    assert console == [] and "</html>" in out
    # A script that is not the page's own does not run: it has to be let in.
    driven = text.replace("</body>", f"<script>{DRIVER}</script></body>")
    path.write_text(driven, encoding="utf-8")
    out, console = browse(path, "--dump-dom")
    assert "Content Security Policy" in console[0] and 'id="found"' not in out
    path.write_text(re.sub("'sha256-[^']*'", "'unsafe-inline'", driven), encoding="utf-8")
    out, console = browse(path, "--dump-dom")
    assert console == []
    (said,) = re.findall(r'<pre id="found">(.*?)</pre>', out, re.DOTALL)
    found = json.loads(html.unescape(said))
    rows = changed["layers"]
    cycles = {row["name"]: row["cycles"] for row in rows}
    assert found["wide"] <= 0
    for key, order in (("cycles", "descending"), ("again", "ascending"), ("layer", "ascending"),
                       ("shape", "descending")):
        assert found[f"{key}_sort"] == order and sorted(found[key]) == sorted(cycles), key
    assert [cycles[name] for name in found["cycles"]] == sorted(cycles.values(), reverse=True)
    assert [cycles[name] for name in found["again"]] == sorted(cycles.values())
    assert found["layer"][1:] == sorted(cycles)[1:] and found["layer"][0] == HOSTILE
    macs = {row["name"]: row["macs"] for row in rows}
    assert [macs[name] for name in found["shape"]] == sorted(macs.values(), reverse=True)
    assert found["sorted"] == 1
    assert "MACs per byte" in found["tip"] and not found["hidden"] and found["after"]
