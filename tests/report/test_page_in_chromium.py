"""The page of `report --html` in a real browser."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.report import ReportData, page
from benchmark.report.results.published import PublishedResults, PublishedSource, PublishedValue
from tests.report.chromium import Tab, chromium, executable
from tests.report.grids import METHODS, PAIRS, fail, finish_all, manifest
from tests.report.pages import DIGITS, HOSTILE, HOSTILES, grid_of


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if executable() is None:
        reason = "no chromium (Debian: chromium)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser.tab()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    return page.write(ReportData(grid_of(folder / "runs"), folder / "runs", folder))


@pytest.fixture
def opened(tab: Tab, written: Path) -> Iterator[Tab]:
    """The opened page of a grid. The test fails if the page made a request or had an error."""
    tab.open(written)
    yield tab
    assert tab.errors == []
    assert tab.requests == [written.as_uri()]


NAMES = "[...document.querySelectorAll('#results tbody th')].map(e => e.textContent)"
HEADS = "[...document.querySelectorAll('#results thead th')].map(e => e.textContent)"
DIALOG = "document.querySelector('dialog')"


def set_filter(tab: Tab, name: str, value: str) -> None:
    tab.ask(
        f"(() => {{ const e = document.querySelector('[name={name}]'); e.value = "
        f"{json.dumps(value)}; e.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"
    )


def sort_state(tab: Tab, key: str) -> str:
    asked = f"document.querySelector('[data-sort={key}]').closest('th').getAttribute('aria-sort')"
    return str(tab.ask(asked))


def test_a_column_sorts_descending_then_ascending_then_not_at_all(opened):
    suite = ["teacher", *METHODS, HOSTILE]
    assert opened.ask(NAMES) == suite
    opened.click("[data-sort=p1]")
    down = opened.ask(NAMES)
    assert down[:2] == ["teacher", "kd"]
    assert sort_state(opened, "p1") == "descending"
    assert opened.ask("document.activeElement.dataset.sort") == "p1"
    opened.press("Enter")
    assert opened.ask(NAMES) == ["teacher", *down[:0:-1]]
    assert sort_state(opened, "p1") == "ascending"
    opened.press("Enter")
    assert opened.ask(NAMES) == suite
    opened.click("[data-sort=method]")
    assert opened.ask(NAMES) == ["teacher", *sorted([*METHODS, HOSTILE])]


def test_cells_without_a_number_are_last_in_both_directions(opened):
    for _ in range(2):
        opened.click("[data-sort=p2]")
        assert opened.ask(NAMES)[-1] == "fsp"


def test_it_filters_by_method_data_set_and_pair(opened):
    set_filter(opened, "method", "kd, FITN")
    assert opened.ask(NAMES) == ["teacher", "kd", "fitnets"]
    set_filter(opened, "dataset", "digits")
    assert opened.ask(f"{HEADS}.length") == 3
    set_filter(opened, "pair", "1")
    heads = opened.ask(HEADS)
    assert heads[:3] == ["method", "top-1 (%)", "± std"]
    assert "Δ scratch" in heads
    opened.click("[type=reset]")
    assert opened.ask(f"{HEADS}.length") == 4


def test_filters_and_sorting_survive_a_reload(opened):
    set_filter(opened, "method", "kd")
    opened.click("[data-sort=p0]")
    opened.ask("window.before = true; location.reload()")
    opened.until("!window.before && document.readyState === 'complete'")
    assert opened.ask(NAMES) == ["teacher", "kd"]
    assert sort_state(opened, "p0") == "descending"
    opened.requests.pop()  # the reload itself


def test_a_cell_opens_by_keyboard_and_escape_returns_the_focus_to_it(opened):
    opened.ask("document.querySelector('button.cell').focus()")
    opened.press("ArrowDown", "ArrowDown", "ArrowRight", "Enter")
    assert opened.ask(f"{DIALOG}.open")
    assert opened.ask(f"{DIALOG}.contains(document.activeElement)")
    text = opened.ask(f"{DIALOG}.innerText")
    for part in ("kd", "resnet110 → resnet20", "seed 2", "best on test", "commit", "abc", "ce"):
        assert part in text
    opened.press("Escape")
    assert not opened.ask(f"{DIALOG}.open")
    opened.until("document.activeElement.dataset.open === '2.1'")
    opened.press("Enter")
    opened.click("[data-turn='1']")
    opened.press("Escape")
    opened.until("document.activeElement.dataset.open === '3.1'")


def test_the_tab_key_reaches_only_one_cell(opened):
    opened.ask("document.querySelector('button.cell').focus()")
    opened.press("ArrowDown")
    stops = "[...document.querySelectorAll('button.cell[tabindex=\"0\"]')]"
    assert opened.ask(f"{stops}.map(e => e.dataset.open)") == ["1.0"]


def test_an_opened_cell_links_its_files_and_marks_what_differs_from_the_row_above(opened, written):
    opened.click("[data-open='4.0']")
    links = opened.ask(f"[...{DIALOG}.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert links == ["../runs/0-at-s0/record.json", "../runs/0-at-s1/failure.json"]
    assert all((written.parent / link).is_file() for link in links)
    beside = opened.ask(f"{DIALOG}.querySelector('select').selectedOptions[0].textContent")
    assert beside == "fitnets"
    text = opened.ask(f"{DIALOG}.innerText")
    assert HOSTILE in text  # the failure's message
    assert "not started" in text
    assert "[object" not in text


def test_tables_of_measures_are_filtered_and_sorted_like_the_main_table(opened):
    texts = "[...e.cells].map(cell => cell.textContent)"
    lines = f"[...document.querySelectorAll('[data-sheet=fidelity] tbody tr')].map(e => {texts})"
    assert [line[0] for line in opened.ask(lines)] == [*METHODS, HOSTILE]
    opened.click("[data-sort=fidelity-0-1]")
    first = opened.ask(lines)[0]
    assert (first[0], first[2]) == (HOSTILE, "98.0")
    assert opened.ask(NAMES) == ["teacher", *METHODS, HOSTILE]  # the first table is as it was
    set_filter(opened, "method", "kd")
    set_filter(opened, "pair", "1")
    assert opened.ask(lines) == [["kd", "94.44", "82.0", "32.0", "0.380", "0.550"]]
    calibration = opened.ask(lines.replace("fidelity", "calibration"))
    assert [line[:3] for line in calibration] == [
        ["teacher", "95.60", "4.44"],
        ["kd", "94.44", "4.56"],
    ]


def test_an_opened_cell_has_the_measures_of_each_seed(opened):
    opened.click("[data-open='2.1']")
    text = opened.ask(f"{DIALOG}.querySelector('.amounts').innerText")
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in text.splitlines()}
    assert lines[""] == ["seed 0", "seed 1", "seed 2", "mean"]
    assert lines["agreement with the teacher (%)"] == ["82"] * 4
    assert lines["training step without the teacher (s)"] == ["0.024"] * 4
    assert lines["FLOPs"] == ["82,000,000"] * 4


def test_a_difference_in_the_configuration_is_marked(tab, tmp_path):
    grid = manifest(["scratch", "kd"], seeds=[0])
    grid["runs"] = {
        f"0-{name}-s0": DIGITS | {"method": {"name": name, "config": {"t": 4}}}
        for name in ("scratch", "kd")
    }
    finish_all(tmp_path / "runs", grid)
    tab.open(page.write(ReportData(grid, tmp_path / "runs", tmp_path)), "#open=2.0")
    rows = "[...document.querySelectorAll('dialog .config tbody tr')]"
    lines = tab.ask(f"{rows}.map(r => [r.className, ...[...r.cells].map(c => c.textContent)])")
    assert ["differs", "method.name", "kd", "scratch"] in lines
    assert ["", "method.config.t", "4", "4"] in lines


def test_curves_appear_at_pointer_and_focus_and_escape_hides_them(opened):
    shown = "!document.querySelector('#card').hidden"
    assert not opened.ask(shown)
    opened.hover("[data-open='3.0']")
    opened.until(shown)
    assert opened.ask("document.querySelector('#card').innerText").startswith("fitnets")
    assert opened.ask("document.querySelectorAll('#card .phase').length") == 1
    assert opened.ask("document.querySelectorAll('#card .seed').length") == 6  # two panels
    opened.press("Escape")
    assert not opened.ask(shown)
    opened.ask("document.querySelector('button.cell').focus()")
    opened.press("ArrowDown")
    opened.until(shown)
    assert opened.ask("document.activeElement.getAttribute('aria-describedby')") == "card"


def test_failed_missing_and_inapplicable_runs_are_listed_with_their_reasons(opened):
    text = opened.ask("document.querySelector('#unfinished').innerText")
    for part in ("Failed 1 run", "Missing 1 run", "Not applicable 3 runs", "widths differ"):
        assert part in text
    assert HOSTILE in text
    assert "epoch 3, phase hint" in text


def test_hostile_names_are_text_and_do_nothing(tab, tmp_path):
    names = ["kd", *HOSTILES]
    grid = manifest(names, [(HOSTILES[0], HOSTILES[1])], title=HOSTILES[2], dataset=HOSTILES[3])
    grid["columns"][0]["dataset"] = HOSTILES[0]
    finish_all(tmp_path / "runs", grid)
    fail(tmp_path / "runs", "0-x", "never read")
    path = page.write(ReportData(grid, tmp_path / "runs", tmp_path))
    tab.open(path)
    assert tab.ask(NAMES) == ["teacher", *names]
    tab.click("[data-open='2.0']")
    assert tab.ask(f"{DIALOG}.querySelector('h2').textContent").startswith(HOSTILES[0])
    assert tab.ask("document.querySelectorAll('img, [onload], [onerror]').length") == 0
    assert tab.ask("document.scripts.length") == 2
    assert tab.ask("document.title") == "{{data}} <!-- <script>"
    assert (tab.errors, tab.requests) == ([], [path.as_uri()])


def test_the_pages_content_policy_blocks_injected_elements(tab, written):
    tab.open(written)
    tab.ask("document.addEventListener('error', () => { window.refused = true }, true)")
    tab.ask(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(HOSTILE)})")
    tab.until("window.refused")
    assert (tab.requests, len(tab.blocked)) == ([written.as_uri()], 1)
    assert not [error for error in tab.errors if error.startswith("dialog")]


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_is_wider_than_the_window(opened, width):
    about = {"height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.call("Emulation.setDeviceMetricsOverride", width=width, **about)
    try:
        for selector in ("[data-sort=p0]", "[data-open='4.0']"):
            opened.click(selector)
            assert opened.ask("document.documentElement.scrollWidth") <= width
            inside = "document.querySelector('dialog')"
            assert opened.ask(f"{inside}.scrollWidth <= {inside}.clientWidth")
    finally:
        opened.call("Emulation.clearDeviceMetricsOverride")


def test_light_and_dark_follow_the_system_and_the_switch(opened):
    ground = "getComputedStyle(document.body).backgroundColor"
    for scheme, colour in (("dark", "rgb(21, 24, 28)"), ("light", "rgb(255, 255, 255)")):
        wish = [{"name": "prefers-color-scheme", "value": scheme}]
        opened.call("Emulation.setEmulatedMedia", features=wish)
        assert opened.ask(ground) == colour
    opened.click("#theme")  # light
    opened.click("#theme")
    assert opened.ask(ground) == "rgb(21, 24, 28)"
    opened.click("#theme")
    assert opened.ask(ground) == "rgb(255, 255, 255)"


def test_a_printed_page_has_the_table_and_no_controls(opened):
    opened.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert opened.ask("document.querySelector('#filters').offsetHeight") == 0
        assert opened.ask("document.querySelector('#results table').offsetHeight") > 100
    finally:
        opened.call("Emulation.setEmulatedMedia", media="")


def test_published_values_appear_on_request_with_their_source(tab, tmp_path, monkeypatch):
    source = PublishedSource("crd", "Contrastive <b>", "table 1", 5, "best")
    value = PublishedValue(
        "crd", "digits", "", *PAIRS[1], "kd", 70.66, None, None, "", "copied", ""
    )
    known = PublishedResults({"crd": source}, [value])
    monkeypatch.setattr("benchmark.report.page.published_values.load_published", lambda: known)
    grid = manifest(["scratch", "kd"], seeds=[0], as_published={"kd": "kd"})
    grid["runs"] = {cell["run"]: DIGITS for cell in grid["cells"]}
    finish_all(tmp_path / "runs", grid)
    tab.open(page.write(ReportData(grid, tmp_path / "runs", tmp_path)))
    body = "document.querySelector('#results').innerText"
    assert "70.66" not in tab.ask(body)
    tab.click("[name=published]")
    assert "70.66" in tab.ask(body)
    tab.click("[data-open='2.0']")
    text = tab.ask(f"{DIALOG}.innerText")
    assert "Contrastive <b> (table 1)" in text
    assert "copied from another paper" in text


def test_while_a_grid_runs_the_page_reloads_itself(tab, tmp_path):
    grid = manifest(["scratch"], seeds=[0])
    path = page.write(ReportData(grid, tmp_path / "runs", tmp_path), refresh=1)
    tab.open(path)
    assert "0 of 2 runs done" in tab.ask("document.querySelector('#facts').textContent")
    finish_all(tmp_path / "runs", grid)
    page.write(ReportData(grid, tmp_path / "runs", tmp_path))
    tab.until("!!document.querySelector('#facts')?.textContent.includes('2 of 2 runs done')")
    assert tab.ask("document.querySelector('#reloading').textContent") == ""
    assert tab.errors == []
