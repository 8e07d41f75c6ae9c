"""Reports and comparisons as people see them, in headless Chromium.

They need playwright and Chromium: without, they are skipped; in CI, Chromium must be there.
"""

import json
import math
import os
import shutil

import pytest

from tt_experiment.comparison import write_comparison
from tt_experiment.folder import ExperimentFolder
from tt_experiment.recorder import JsonLinesRecorder
from tt_experiment.report import write_report
from tt_experiment.results import save_results
from tt_loop.api import RunInfo

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOSSES = [2.5, 1.25, 0.1 + 0.2, math.nan, 0.35, 0.4]
TRAINING = [2.0, 1.0, 0.25, 0.125, 0.0625, 0.03125]
PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "'><svg/onload=alert(4)>",
    "</style><script>alert(5)</script>",
    "</title><script>alert(6)</script>",
    "</script x><img src=x onerror=alert(0)><!--<script x",
    "<!--<script>",
    "javascript:alert(7)",
    "${alert(8)}",
    "\u2028alert(9)\u2029",
    "__proto__",
    "constructor",
]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "CI must have Chromium"
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens a page from disk; at the end, nothing may have gone wrong on it or been asked for."""
    opened, troubles = [], []

    def visit(path, **settings):
        context = browser.new_context(viewport={"width": 1300, "height": 900}, **settings)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        asked: list[str] = []
        page.goto(path.as_uri())
        opened.append((context, path, asked))
        return page

    visit.troubles = troubles
    yield visit
    for context, path, asked in opened:
        context.close()
        assert asked == [path.as_uri()]
    assert troubles == []


def make(root, name="exp", seed=0, losses=LOSSES, key="loss", hyperparams=None):
    run = ExperimentFolder.create(root, "project", name, timestamp=f"2026-01-01_00-00-{seed:02d}")
    facts = {"format": "tt-run/1", "id": "i", "project": "project", "experiment": name}
    facts |= {"created": "2026-01-01T00:00:00+00:00", "status": "running", "attempts": []}
    run.run_file.write_text(json.dumps(facts))
    made_with = {"lr": 0.1, "seed": seed, "model": {"width": 8, "dropout": 0.5}, "batch_size": 64}
    made_with |= {"optimizer": "adam", "amp": False, "epochs": 6, **(hyperparams or {})}
    run.hyperparams_file.write_text(json.dumps(made_with))
    recorder = JsonLinesRecorder(run)
    for begin, end in ((0, 4), (3, len(losses))):
        recorder.open(RunInfo(10 * begin, begin, 1, "s"))
        for i in range(begin, end):
            values = {f"val_{key}": losses[i], f"train_{key}": TRAINING[i]}
            recorder.scalars(10 * (i + 1), values, epoch=i)
    recorder.close("completed")
    matrix = {"cat": {"cat": 8, "dog": 2}, "dog": {"cat": 1, "dog": 9}}
    save_results(run, {"VAL": {"Accuracy": 0.85 + seed / 100, "Confusion_matrix": matrix}})
    return run


@pytest.fixture
def report(tmp_path):
    return write_report(make(tmp_path))


def chart(page, number=0):
    svg = page.locator(".live svg").nth(number)
    svg.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('.live svg .curve').length > 0")
    return svg


def hover(page, svg, share):
    """Put the mouse where a share of the axis is done; the tip's texts."""
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    inside = box["width"] - 76
    page.mouse.move(box["x"] + 62 + share * inside, box["y"] + 120)
    return tip(page)


def tip(page):
    rows = page.locator(".tip:visible tr")
    return page.locator(".tip:visible b").inner_text(), [
        [cell.inner_text() for cell in row.locator("td").all()] for row in rows.all()
    ]


def ticks(page, number=0):
    """Labels of the horizontal axis, and its name."""
    return page.locator(".live svg").nth(number).locator(".tick.middle").all_text_contents()


def frame(page):
    """Wait until what was asked for is drawn."""
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def test_curves_show_the_numbers_of_the_metrics_file(visit, report):
    page = visit(report)
    svg = chart(page)
    where, rows = hover(page, svg, 0.4)
    assert where.startswith("step 30 \N{MIDDLE DOT} 3 epochs")
    assert rows == [["train_loss", "0.25"], ["val_loss", repr(0.1 + 0.2)]]
    _, rows = hover(page, svg, 0.6)
    assert rows == [["train_loss", "0.125"], ["val_loss", "nan"]]
    assert hover(page, svg, 0.26)[0].startswith("step 20")
    assert hover(page, svg, 0.34)[0].startswith("step 30")
    page.locator(".numbers summary").first.click()
    row = page.locator(".numbers tbody tr").nth(2)
    row.wait_for()  # the browser tells of an opened table some time after the click
    cells = row.locator("th, td").all_inner_texts()
    assert cells == ["30", "0.25", repr(0.1 + 0.2)]
    curve = page.locator(".live .curve[data-key='chart-0/1']").get_attribute("d")
    assert curve.count("M") == 2  # NaN is a gap
    marks = page.locator(".live .mark").count(), page.locator(".live .best-ring").count()
    assert marks == (1, 2)


def test_a_mouse_zooms_and_goes_back(visit, report):
    page = visit(report)
    svg = chart(page)
    whole = ticks(page)
    box = svg.bounding_box()
    left, width = box["x"] + 62, box["width"] - 76
    page.mouse.move(left + 0.3 * width, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(left + 0.7 * width, box["y"] + 90, steps=3)
    assert page.locator(".live .brush").count() == 1
    page.mouse.up()
    frame(page)
    zoomed = ticks(page)
    assert zoomed != whole
    assert hover(page, svg, 0.01)[0].startswith("step 30")  # 25 is the left end
    assert page.locator("text=Reset zoom").is_enabled()
    page.mouse.dblclick(left + 0.5 * width, box["y"] + 90)
    frame(page)
    assert ticks(page) == whole
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    frame(page)
    assert ticks(page) != whole
    page.locator("text=Reset zoom").click()
    frame(page)
    assert ticks(page) == whole


def test_keys_walk_and_zoom(visit, report):
    page = visit(report)
    svg = chart(page)
    svg.focus()
    steps = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home"):
        page.keyboard.press(key)
        steps.append(tip(page)[0].split(" ")[1])
    assert steps == ["10", "20", "30", "20", "60", "10"]
    said = page.locator(".live [aria-live]").first.inner_text()
    assert said == "step 10 \N{MIDDLE DOT} 1 epochs; train_loss 2; val_loss 2.5"
    whole = ticks(page)
    page.keyboard.press("+")
    frame(page)
    assert ticks(page) != whole
    page.keyboard.press("0")
    frame(page)
    assert ticks(page) == whole
    page.keyboard.press("Escape")
    assert page.locator(".tip:visible").count() == 0


def test_axes_smoothing_and_toggles(visit, report):
    page = visit(report)
    svg = chart(page)
    page.locator(".chart-tools button:text-is('epochs')").click()
    frame(page)
    assert ticks(page)[-1] == "epochs done"
    assert hover(page, svg, 0)[0].startswith("1 epochs")
    page.locator(".chart-tools button:text-is('time')").click()
    frame(page)
    assert ticks(page)[-1] == "time since the start"
    page.locator(".chart-tools button:text-is('steps')").click()
    slider = page.get_by_label("Smoothing")
    slider.fill("0.5")
    frame(page)
    assert page.locator(".live .curve.raw").count() == 2
    _, rows = hover(page, svg, 0.2)
    smooth = (2.0 * 0.25 + 1.0 * 0.5) / 0.75  # debiased: the weights are 1/4 and 1/2
    assert rows[0] == ["train_loss", "1", f"smooth {smooth:.5g}"]
    slider.fill("0")
    button = page.locator(".key-toggle", has_text="train_loss")
    button.focus()
    page.keyboard.press("Enter")
    frame(page)
    assert button.get_attribute("aria-pressed") == "false"
    assert [row[0] for row in hover(page, svg, 0.2)[1]] == ["val_loss"]
    log = page.get_by_label("Logarithmic scale for train_loss and val_loss")
    before = page.locator(".live .curve").first.get_attribute("d")
    log.click()
    assert log.get_attribute("aria-pressed") == "true"
    assert page.locator(".live .curve").first.get_attribute("d") != before
    page.locator("button:text-is('Marks')").click()
    frame(page)
    assert page.locator(".live .mark").count() == 0


def test_tables_sort_and_filter(visit, report):
    page = visit(report)
    names = page.locator("#hyperparams-table tbody th")
    given = names.all_inner_texts()
    head = page.locator("#hyperparams-table thead button").first
    head.click()
    assert names.all_inner_texts() == sorted(given)
    assert (
        page.locator("#hyperparams-table thead th").first.get_attribute("aria-sort") == "ascending"
    )
    head.focus()
    page.keyboard.press("Space")
    assert names.all_inner_texts() == sorted(given, reverse=True)
    page.get_by_placeholder("Search hyperparameters").fill("MODEL.")
    assert sorted(page.locator("#hyperparams-table tbody tr:visible th").all_inner_texts()) == [
        "model.dropout",
        "model.width",
    ]
    assert page.locator("[role=status]").first.inner_text() == "2 of 8"
    page.locator("button:text-is('% of row')").click()
    assert page.locator(".matrix tbody td").all_inner_texts()[:3] == ["80.0%", "20.0%", "10"]


def test_light_dark_and_print(visit, report):
    def colours(page):
        return page.evaluate(
            "() => ['backgroundColor', 'color'].map(k => getComputedStyle(document.body)[k])"
        )

    light, dark = colours(visit(report, color_scheme="light")), None
    page = visit(report, color_scheme="dark")
    dark = colours(page)
    assert sum(map(int, light[0][4:-1].split(","))) > 700
    assert sum(map(int, dark[0][4:-1].split(","))) < 100
    theme = page.locator("#theme")
    seen = []
    for _ in range(3):
        theme.click()
        seen.append((theme.inner_text(), colours(page)))
    assert seen == [("Theme: light", light), ("Theme: dark", dark), ("Theme: auto", dark)]
    theme.click()
    theme.click()
    page.emulate_media(media="print")
    assert colours(page) == ["rgb(255, 255, 255)", light[1]]  # also where the screen is dark
    assert page.locator(".still:visible").count() == 1
    assert page.locator(".live:visible, .tools:visible, .bar:visible").count() == 0


def contrast(first, second):
    def luminance(colour):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visit, report, scheme):
    page = visit(report, color_scheme=scheme)
    page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
    found = page.evaluate("""() => {
      const behind = node => {
        for (; node; node = node.parentElement) {
          const colour = getComputedStyle(node).backgroundColor;
          if (!colour.startsWith('rgba')) return colour;
        }
      };
      const pixel = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
      const plain = colour => {
        pixel.fillStyle = colour;
        pixel.fillRect(0, 0, 1, 1);
        return `rgb(${[...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3)})`;
      };
      return [...document.querySelectorAll('main *')]
        .filter(node => node.checkVisibility())
        .filter(node => [...node.childNodes].some(c => c.nodeType === 3 && c.data.trim()))
        .map(node => {
          const style = getComputedStyle(node);
          const colour = node.ownerSVGElement ? style.fill : style.color;
          return [plain(colour), plain(behind(node)), node.outerHTML.slice(0, 80)];
        });
    }""")
    assert len(found) > 100
    poor = [(ink, page, html) for ink, page, html in found if contrast(ink, page) < 4.5]
    assert poor == []


def test_everything_has_a_name_and_a_place(visit, report):
    page = visit(report)
    chart(page)
    assert page.locator("main, nav, header, footer").count() == 4
    nameless = page.evaluate("""() =>
      [...document.querySelectorAll('button, input, a, svg, [role]:not([role=status])')]
        .filter(node => !node.getAttribute('aria-label') && !node.textContent.trim())
        .filter(node => !node.labels?.[0]?.textContent.trim())
        .map(node => node.outerHTML.slice(0, 100))""")
    assert nameless == []
    assert page.locator("thead th:not([scope])").count() == 0
    targets = page.locator("nav a").evaluate_all(
        "links => links.map(a => document.querySelector(a.hash) !== null)"
    )
    assert targets
    assert all(targets)


def test_without_a_script_the_page_shows_the_same(visit, report):
    page = visit(report, java_script_enabled=False)
    assert page.locator(".still:visible").count() == 1
    assert page.locator(".tools:visible, .needs-js:visible").count() == 0
    assert page.locator("#hyperparams-table tbody tr:visible").count() == 8


def test_it_fits_a_narrow_screen(visit, report):
    page = visit(report)
    page.set_viewport_size({"width": 390, "height": 800})
    frame(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("page_of", ["report", "comparison"])
def test_paper_cuts_nothing_off(visit, request, tmp_path, page_of):
    if page_of == "report":
        run = make(tmp_path)
        facts = {"train": {"kind": "Tensor", "sha256": "0123456789abcdef" * 4}}
        (run.path / "data.json").write_text(json.dumps(facts))
        path = write_report(run)
    else:
        path = request.getfixturevalue("comparison")
    page = visit(path)
    wide = """() => [...document.querySelectorAll('table, .pairs td')].filter((part) => {
      const card = part.closest('.card');
      return part.getBoundingClientRect().right > card.getBoundingClientRect().right + 1;
    }).map((part) => part.textContent)"""
    if page_of == "report":
        assert page.evaluate(wide) == []
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 without its margins
    page.emulate_media(media="print")
    assert page.evaluate(wide) == []


def test_the_policy_stops_what_is_not_the_pages_own(visit, report):
    text = report.read_text("utf-8")
    parts = [
        "<script>document.title = 'taken over'</script>",
        "<img src='data:image/png,x' onerror=\"document.title = 'taken over'\">",
        "<iframe src='https://example.org/'></iframe>",
        "<style>body { display: none }</style>",
    ]
    report.write_text(
        text.replace('<p class="crumb">', f'{"".join(parts)}<p class="crumb">'), "utf-8"
    )
    page = visit(report)
    frame(page)
    assert page.title() == "exp \N{MIDDLE DOT} project"
    assert page.locator("h1").is_visible()
    refused = [text for text in visit.troubles if "Content Security Policy" in text]
    assert len(refused) >= 3
    visit.troubles[:] = [trouble for trouble in visit.troubles if trouble not in refused]


def test_what_is_named_stays_text(visit, tmp_path):
    run = make(tmp_path, hyperparams=dict(zip(PAYLOADS, reversed(PAYLOADS), strict=True)))
    recorder = JsonLinesRecorder(run)
    recorder.open(RunInfo(60, 6, 1, PAYLOADS[0]))
    for i in range(2):
        recorder.scalars(61 + i, dict.fromkeys(PAYLOADS, i), epoch=7)
    recorder.event(PAYLOADS[1], {payload: payload for payload in PAYLOADS})
    recorder.close("completed")
    save_results(run, {p: dict.fromkeys(PAYLOADS, 0.5) for p in PAYLOADS})
    facts = json.loads(run.run_file.read_text())
    facts |= {
        "project": PAYLOADS[0],
        "experiment": PAYLOADS[1],
        "status": PAYLOADS[2],
        "parent": PAYLOADS[3],
    }
    run.run_file.write_text(json.dumps(facts))
    (run.path / "git.diff").write_text("\n".join(f"+{payload}" for payload in PAYLOADS))
    (run.path / "<img src=x onerror=alert(1)>").write_text("")
    page = visit(write_report(run))
    for i in range(2):
        hover(page, chart(page, i + 1), 1)
    page.locator(".numbers summary").first.click()
    page.evaluate("() => document.querySelectorAll('th .sort').forEach(b => b.click())")
    frame(page)
    assert page.title() == f"{PAYLOADS[1]} \N{MIDDLE DOT} {PAYLOADS[0]}"
    assert page.locator("h1").inner_text() == PAYLOADS[1]
    assert page.locator("img, iframe, main script, main style").count() == 0
    shown = page.locator("#hyperparams-table").inner_text()
    assert all(payload in shown for payload in PAYLOADS[:10])
    other = make(tmp_path, PAYLOADS[5].replace("/", ""), 1, hyperparams={PAYLOADS[4]: PAYLOADS[5]})
    third = make(tmp_path, seed=2, hyperparams={PAYLOADS[4]: PAYLOADS[6]})
    page = visit(write_comparison([run, other, third], tmp_path / "c.html", title=PAYLOADS[2]))
    hover(page, chart(page), 0.5)
    assert page.locator("h1").inner_text() == PAYLOADS[2]
    assert page.locator("img, iframe, main script").count() == 0


@pytest.fixture
def comparison(tmp_path):
    runs = []
    for i, lr in enumerate([0.1, 0.01]):
        for seed in range(2):
            losses = [loss * (1 + lr) + seed / 10 for loss in TRAINING]
            runs.append(
                make(
                    tmp_path,
                    seed=10 * i + seed,
                    losses=losses,
                    hyperparams={"lr": lr, "seed": seed},
                )
            )
    for run in runs[:2]:
        write_report(run)
    return write_comparison(runs, tmp_path / "comparison.html")


def test_a_leaderboard_sorts_and_leads_to_reports(visit, comparison):
    page = visit(comparison)
    column = "#leaderboard-table tbody td:nth-child(4)"
    losses = [float(text) for text in page.locator(column).all_inner_texts()]
    head = page.locator("#leaderboard-table thead button", has_text="val_loss")
    head.click()
    assert [float(text) for text in page.locator(column).all_inner_texts()] == sorted(losses)
    head.click()
    assert [float(text) for text in page.locator(column).all_inner_texts()] == sorted(
        losses, reverse=True
    )
    page.get_by_placeholder("Search runs").fill("00-00-01")
    assert page.locator("#leaderboard-table tbody tr:visible").count() == 1
    href = page.locator("#leaderboard-table tr:visible a").get_attribute("href")
    assert (comparison.parent / href).is_file()


def test_curves_of_runs_and_settings(visit, comparison):
    page = visit(comparison)
    svg = chart(page)
    _, rows = hover(page, svg, 0)
    assert [float(row[1]) for row in rows] == pytest.approx([2.2, 2.3, 2.02, 2.12])
    page.locator("button:text-is('settings: mean and 95 %')").click()
    frame(page)
    _, rows = hover(page, svg, 0)
    assert [row[0] for row in rows] == ["lr 0.1", "lr 0.01"]
    assert [float(row[1]) for row in rows] == pytest.approx([2.25, 2.07])
    low, high = rows[0][2].split(" to ")
    half = 12.7062 * 0.1 / 2  # Student's t of one degree, times s / sqrt(2) of two values 0.1 apart
    assert (float(low), float(high)) == pytest.approx((2.25 - half, 2.25 + half), abs=1e-3)
    assert page.locator(".live .band").count() > 0
    page.locator(".key-toggle", has_text="lr 0.1").first.click()
    frame(page)
    assert [row[0] for row in hover(page, svg, 0)[1]] == ["lr 0.01"]


def test_brushing_sets_runs_apart(visit, comparison):
    page = visit(comparison)
    rail = page.locator(".rail").last
    rail.scroll_into_view_if_needed()
    box = rail.locator(".axis").bounding_box()
    page.mouse.move(box["x"], box["y"])
    page.mouse.down()
    page.mouse.move(box["x"], box["y"] + 3 + box["height"] * 0.05, steps=2)
    page.mouse.up()
    assert page.locator(".brush-status").inner_text() == "1 of 4 runs are inside"
    assert page.locator(".parallel .curve.out").count() == 3
    assert page.locator("#leaderboard-table tr.out").count() == 3
    frame(page)
    assert page.locator("#chart-0 .live .curve.faded").count() == 3
    page.locator("button:text-is('Clear')").click()
    assert page.locator(".out").count() == 0
    rail.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".brush-status").inner_text() == "3 of 4 runs are inside"
    page.keyboard.press("Escape")
    assert page.locator(".out").count() == 0
