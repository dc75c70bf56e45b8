import warnings
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib import font_manager
from matplotlib.figure import Figure

from benchmark.report import load_results, plots
from benchmark.report.plots import history, losses, text
from benchmark.report.results.outcomes import Results
from tests.report.conftest import name_pictures
from tests.report.drawn import words_of
from tests.report.grids import PAIRS, finish, finish_all, manifest, run_id


@pytest.fixture
def foreign(tmp_path) -> Results:
    """Names in Chinese, Japanese and Russian."""
    grid = manifest(
        ["scratch", "蒸馏", "ラベル", "метод"], [("教師", "Ученик")], seeds=[0], epochs=2
    )
    finish_all(tmp_path, grid)
    return load_results(grid, tmp_path)


@pytest.fixture
def fonts(monkeypatch):
    """The installed fonts, of which tests may add some."""
    installed = list(font_manager.fontManager.ttflist)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", installed)
    monkeypatch.setattr(
        font_manager.fontManager,
        "ttflist",
        [font for font in installed if font.name == "DejaVu Sans"],
    )
    for cached in (text.find_fonts, text._characters):
        cached.cache_clear()
    yield
    for cached in (text.find_fonts, text._characters):
        cached.cache_clear()


def make_font(path: Path, letters: str) -> None:
    """Write a font whose letters are all squares."""
    names = [".notdef", *(f"u{ord(letter):x}" for letter in letters)]
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):x}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular", "psName": path.stem})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)


def test_letters_that_no_font_has_are_codes_and_one_note_says_so(foreign, fonts, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = " ".join(
            word for _, drawn in plots.figures(foreign) for fig in drawn for word in words_of(fig)
        )
        dict(plots.files(foreign))
    assert r"\u84b8\u998f" in words
    assert "метод" in words  # matplotlib's own font has Cyrillic
    noted = capsys.readouterr().err.splitlines()
    assert len(noted) == 1
    assert noted[0].startswith("note: no installed font has ベ ラ ル 師 教 蒸 馏: plots show codes")
    assert "Install a font" in noted[0]


def test_an_installed_font_that_has_the_letters_is_used(foreign, fonts, tmp_path, capsys):
    for name, letters in (("Han", "蒸馏教師"), ("Kana", "ラベル")):
        make_font(tmp_path / f"{name}.ttf", letters)
        font_manager.fontManager.addfont(tmp_path / f"{name}.ttf")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (figure,) = next(drawn for kind, drawn in plots.figures(foreign) if kind == "accuracy")
        words = words_of(figure)
        plots.encode_png(figure)
        pdf = plots.encode_pdf([figure])
    assert {"蒸馏", "ラベル", "метод", "教師 → Ученик"} <= set(words)
    assert b"Han" in pdf
    assert b"Kana" in pdf
    assert capsys.readouterr().err == ""


def test_losses_and_gains_have_minus_signs(tmp_path):
    axes = Figure().subplots()
    losses.set_loss_axis(axes, [history.LossTerm([1, 2], [1e-5, 1.0], [1e-5, 1.0], [1e-5, 1.0])])
    assert axes.yaxis.get_major_formatter()(1e-5) == "1e−05"
    grid = manifest(["scratch", *(f"m{i}" for i in range(11))], PAIRS[:2], seeds=[0], epochs=2)
    finish_all(tmp_path, grid)
    for column in range(2):
        finish(tmp_path, run_id(column, "m3", 0), 40.0, epochs=2)
    (axes,) = name_pictures(load_results(grid, tmp_path))["cost"].axes
    words = [found.get_text() for found in axes.texts]
    assert [word for word in words if word.startswith("m3 ▾ −")], words
