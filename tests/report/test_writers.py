"""The markdown, LaTeX, CSV and terminal writers on the same tables."""

import io
import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from benchmark.config.document import load_document as load_yaml
from benchmark.report import load_results, render_tables, tabulate
from benchmark.report.tables import csv_files, latex, markdown, terminal
from benchmark.report.tables.cells import Table
from benchmark.report.tables.layout import footnote_letter, layout_main_table
from benchmark.suite.grid import expand_suite
from tests.report.grids import METHODS, PAIRS, crd_grid, fail, finish, finish_all, manifest, run_id

HOSTILE = [
    r"\end{document}\input{/etc/passwd}",
    "a|b & c_d % e # f $x^2$ {g} ~h",
    "new\nline\\\\",
    "[optional]",
    "*starred*",
    "<b>&amp;</b> `code` [link](http://x)",
    "日本 é ñ ß − Δ ± \x07 e\u0301 ?` !` -- --- '' ``",
    "\\",
]


def small(runs: Path) -> Table:
    """Return a table of one pair with complete, failed, inapplicable and missing rows."""
    grid = manifest(["scratch", "kd", "wrn_2|x", "fsp", "ab"], inapplicable={(0, "fsp"): "a & b"})
    finish(runs, "0-teacher", 97.5, "scratch")
    done = {"scratch": [90.0, 91.0, 92.0], "kd": [92.0, 92.5, 94.5], "wrn_2|x": [90.0, 91.0]}
    for method, top1s in done.items():
        for seed, top1 in enumerate(top1s):
            finish(runs, run_id(0, method, seed), top1)
    fail(runs, run_id(0, "wrn_2|x", 2), "loss_ce is 100% nan")
    return tabulate(load_results(grid, runs))


def hostile(runs: Path, pairs: int) -> Table:
    names = ["scratch", "kd", *HOSTILE]
    grid = manifest(
        names,
        [(HOSTILE[i], HOSTILE[-i - 1]) for i in range(pairs)],
        inapplicable={(0, name): name for name in HOSTILE[:3]},
        title=HOSTILE[0],
        dataset=HOSTILE[1],
        suite="a_b%c",
    )
    finish_all(runs, grid)
    for seed in range(3):
        run = run_id(0, HOSTILE[4], seed)
        (runs / run / "record.json").unlink()
        fail(runs, run, HOSTILE[seed])
    return tabulate(load_results(grid, runs))


MARKDOWN = """\
## A small grid

| method | n | top-1 (%) | 95 % interval | Δ scratch | Δ kd | gap closed (%) |
|:--|--:|--:|--:|--:|--:|--:|
| *teacher* | 1 | 97.50 | | | | |
| scratch | 3 | <ins>91.00 ± 1.00</ins> | \\[90.00, 92.00\\] | | \
−2.00 \\[−3.24, −0.76\\]<sup>‡</sup> | |
| kd | 3 | **93.00 ± 1.32** | \\[92.00, 94.50\\] | +2.00 \\[0.76, 3.24\\]<sup>†</sup> | | 31 |
| wrn_2&#124;x | 2/3 | 90.50 ± 0.71<sup>a</sup> | | 0.00 | −1.75 \\[−4.93, 1.43\\] | 0 |
| fsp | | –<sup>b</sup> | | | | |
| ab | 0/3 | | | | | |

Test top-1 (%) on digits, teacher resnet56, student resnet20, after the last of 20 epochs \
(epochs of initialising phases included). Mean ± sample standard deviation over 3 seeds; \
bold: the best mean among the complete student rows, underlined: the second. Δ: difference to \
scratch and to kd in percentage points, paired by seed. † from scratch, ‡ from kd: different by a \
paired t-test at 5 % after Holm's correction over the suite's 2 comparisons. The smallest true \
difference that one such test finds in 80 of 100 cases, uncorrected: 1.29 points with 3 seeds. \
k/3: only k of 3 seeds are done.

<sup>a</sup> seed 2 failed: loss_ce is 100% nan

<sup>b</sup> not applicable: a &amp; b
"""


def squeezed(text: str) -> list[str]:
    """Return the lines of a markdown file without the padding of its table."""
    return [re.sub(r"(?<=\|) +| +(?=\|)|-{2,}(?=:?\|)", "", line) for line in text.splitlines()]


def test_a_small_grid_in_markdown(tmp_path):
    assert squeezed(markdown.render(layout_main_table(small(tmp_path)))) == squeezed(MARKDOWN)


LATEX = r"""
\begin{table*}[htp]\centering\footnotesize
\caption{A small grid. CAPTION}
\label{tab:small}
\par\vspace{1ex}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{@{}lcccccc@{}}
\toprule
method & n & top-1 (\%) & 95 \% interval & $\Delta$ scratch & $\Delta$ kd & gap closed (\%) \\
\midrule
\textit{teacher} & 1 & 97.50 &  &  &  &  \\
\midrule
scratch & 3 & \underline{91.00 $\pm$ 1.00} & {[}90.00, 92.00] &  & $-$2.00 {[}$-$3.24, $-$0.76]\textsuperscript{\textdaggerdbl{}} &  \\
kd & 3 & \textbf{93.00 $\pm$ 1.32} & {[}92.00, 94.50] & +2.00 {[}0.76, 3.24]\textsuperscript{\textdagger{}} &  & 31 \\
wrn\_2\textbar{}x & 2/3 & 90.50 $\pm$ 0.71\textsuperscript{a} &  & 0.00 & $-$1.75 {[}$-$4.93, 1.43] & 0 \\
fsp &  & \textendash{}\textsuperscript{b} &  &  &  &  \\
ab & 0/3 &  &  &  &  &  \\
\bottomrule
\end{tabular}}
\par\vspace{0.5ex}
\par\parbox{\linewidth}{\scriptsize\raggedright\strut \textsuperscript{a}\,seed 2 failed: loss\_ce is 100\% nan\strut}
\par\parbox{\linewidth}{\scriptsize\raggedright\strut \textsuperscript{b}\,not applicable: a \& b\strut}
\end{table*}
"""  # noqa: E501 - as it is written


def test_a_small_grid_in_latex(tmp_path):
    table = small(tmp_path)
    text = latex.render(layout_main_table(table)).replace(latex.escape(table.caption), "CAPTION")
    assert LATEX in text


def test_several_pairs_have_their_differences_in_a_second_line(tmp_path):
    grid = manifest(["scratch", "kd", "at"], PAIRS[4:], seeds=[0])
    for run, top1 in {"0-scratch-s0": 90, "0-kd-s0": 91, "0-at-s0": 89.5, "1-at-s0": 70}.items():
        finish(tmp_path, run, top1)
    assert squeezed(markdown.render(layout_main_table(tabulate(load_results(grid, tmp_path)))))[
        2:11
    ] == squeezed(
        "| teacher → student | wrn_40_2 → wrn_16_2 | wrn_40_2 → wrn_40_1 |\n"
        "|:--|--:|--:|\n"
        "| *teacher* | 0/1 | 0/1 |\n"
        "| scratch | <ins>90.00</ins> | 0/1 |\n"
        "| Δ scratch / Δ kd | · / −1.00 | |\n"
        "| kd | **91.00** | 0/1 |\n"
        "| Δ scratch / Δ kd | +1.00 / · | |\n"
        "| at | 89.50 | **70.00** |\n"
        "| Δ scratch / Δ kd | −0.50 / −1.50 | |"
    )


def test_an_incomplete_cell_has_its_number_of_seeds(tmp_path):
    grid = manifest(["scratch", "at"], PAIRS[:2])
    finish(tmp_path, "1-at-s0", 90)
    finish(tmp_path, "1-at-s2", 92)
    text = markdown.render(layout_main_table(tabulate(load_results(grid, tmp_path))))
    assert "91.00 ± 1.41 (2/3)" in text
    assert "0/3" in text
    assert "**" not in text


def test_pairs_on_several_data_sets_have_the_data_sets_name(tmp_path):
    grid = manifest(["kd"], PAIRS[:2])
    grid["columns"][1]["dataset"] = "cifar100"
    text = markdown.render(layout_main_table(tabulate(load_results(grid, tmp_path))))
    assert "digits: resnet32x4 → resnet8x4" in text
    assert "cifar100: resnet56 → resnet20" in text


def read_back(text: str) -> list[list[str]]:
    """Return the rows of the only table in a markdown file, as a parser reads them."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    rows: list[list[str]] = []
    for before, token in itertools.pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if before.type in ("th_open", "td_open"):
            children = token.children or []
            kinds = {child.type for child in children} - {"em_open", "em_close", "text"}
            rows[-1].append("".join(child.content for child in children) if not kinds else "?")
    return rows


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_no_name_breaks_a_markdown_table(name):
    table = f"| {markdown.escape(name)} | n |\n|---|---|\n| {markdown.escape(name)} | 3 |\n"
    flat = " ".join(name.split())
    assert read_back(table) == [[flat, "n"], [flat, "3"]]


def test_hostile_names_are_literal_in_a_markdown_table(tmp_path):
    rows = read_back(markdown.render(layout_main_table(hostile(tmp_path, pairs=1))))
    assert [row[0] for row in rows[4:]] == [" ".join(n.split()) for n in HOSTILE]
    assert {len(row) for row in rows} == {7}


@given(st.text())
def test_escaped_latex_is_plain_ascii_or_latin_with_balanced_braces(name):
    shown = latex.escape(name)
    bare = re.sub(r"\\[a-zA-Z]+(\{\})?|\\[{}$&#%_]|\$-\$|\$\\[a-z]+\$|\{[\[*]?\}", "", shown)
    assert not re.search(r"[\\{}$&#%_^~\n]", bare), shown
    assert all(ord(c) < 256 for c in shown)


def test_escaped_latex_has_no_ligatures():
    assert latex.escape("--- `` '' ?` !` ,,") == "-{}-{}- `{}` '{}' ?{}` !{}` ,{},"


@pytest.fixture
def pdflatex(tmp_path):
    """Compile a file in `tmp_path` and return the log."""
    found = shutil.which("pdflatex") and shutil.which("kpsewhich")
    asked = ["kpsewhich", "booktabs.sty"]
    if not found or subprocess.run(asked, capture_output=True, check=False).returncode:
        reason = "no pdflatex with booktabs (Debian: texlive-latex-recommended)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)

    def run(name: str) -> str:
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
        done = subprocess.run(
            [*command, name], cwd=tmp_path, capture_output=True, check=False, timeout=60
        )
        log = done.stdout.decode("latin-1")
        assert done.returncode == 0, log[-2000:]
        return log

    return run


@pytest.mark.parametrize(("pairs", "pages"), [(1, "(1 page,"), (6, "(2 pages,")])
def test_latex_compiles_on_its_own_and_wide_tables_are_split(tmp_path, pdflatex, pairs, pages):
    (tmp_path / "t.tex").write_text(latex.render(layout_main_table(hostile(tmp_path, pairs))))
    log = pdflatex("t.tex")
    assert pages in log
    assert "Overfull" not in log
    assert "Missing character" not in log


def test_a_paper_can_input_the_latex_file(tmp_path, pdflatex):
    (tmp_path / "t.tex").write_text(latex.render(layout_main_table(small(tmp_path))))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
        "before \\input{t} \\input{t.tex} \\typeout{STILL HERE}\n\\end{document}\n"
    )
    assert "STILL HERE" in pdflatex("paper.tex")


def test_every_kind_of_table_compiles(tmp_path, pdflatex):
    grid = manifest([*METHODS, *HOSTILE], [*PAIRS[:3], *zip(HOSTILE[:6], HOSTILE[2:], strict=True)])
    for column in grid["columns"][3:]:
        column["dataset"] = HOSTILE[1]
    finish_all(tmp_path / "runs", grid)
    files: dict[str, str] = {}
    for made in (
        load_results(grid, tmp_path / "runs"),
        load_results(crd_grid(suite="crd"), tmp_path / "none"),
    ):
        files |= render_tables(made, tabulate(made))
    names = [name for name in files if name.endswith(".tex")]
    kinds = ("", "over-pairs", "data-sets", "fidelity", "calibration", "cost")
    assert {name.removesuffix(".tex") for name in names} == {
        *("-".join(filter(None, ("small", kind))) for kind in kinds),
        *("crd", "crd-published"),
    }
    for name in names:
        (tmp_path / name).write_text(files[name])
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
        + "".join(f"\\input{{{name}}}\\clearpage\n" for name in names)
        + "\\end{document}\n"
    )
    log = pdflatex("paper.tex")
    assert "Overfull" not in log
    assert "Missing character" not in log


FIVE = ["scratch", "kd", "fitnets@crd", "at@crd", "fsp@crd", "ab@crd"]
CRD = {
    "teacher": "75.61 75.61 72.34 74.31 74.31 79.42 74.64 74.64 79.34 79.34 79.42 79.42 75.61",
    "scratch": "73.26 71.98 69.06 69.06 71.14 72.50 70.36 64.60 64.60 70.36 70.50 71.82 70.50",
    "kd": "74.92 73.54 70.66 70.67 73.08 73.33 72.98 67.37 67.35 73.81 74.07 74.45 74.83",
    "fsp@crd": "72.91 69.95 70.11 71.89 72.62 70.23",
}


def test_the_crd_table_of_the_five_methods_compiles_before_anything_is_trained(tmp_path, pdflatex):
    suite = load_yaml(Path(__file__).parents[2] / "configs" / "cifar100.yaml")
    suite.data["methods"] = {row: suite.data["methods"][row] for row in FIVE}
    grid = load_results(
        expand_suite(suite, "cifar100", tmp_path).manifest("code"), tmp_path / "runs"
    )
    files = render_tables(grid, tabulate(grid))
    published = read_back(files["cifar100.md"].partition("published beside")[2])
    crd = [place for place, head in enumerate(published[0]) if "CRD, n " in head]
    measured = [place for place, head in enumerate(published[0]) if "measured, n 3" in head]
    lines = {line[0]: line for line in published[1:]}
    assert list(lines) == ["teacher", *FIVE]
    for row, values in CRD.items():
        assert " ".join(filter(None, (lines[row][place] for place in crd))) == values
    for row in ("kd", "fitnets@crd", "at@crd", "ab@crd"):
        assert {lines[row][place] for place in measured} == {"0/3"}
    for name in ("cifar100.tex", "cifar100-published.tex"):
        (tmp_path / name).write_text(files[name])
        log = pdflatex(name)
        assert "Overfull" not in log
        assert "Missing character" not in log


def test_every_pair_of_ascii_characters_compiles(tmp_path, pdflatex):
    ascii_ = [chr(c) for c in range(32, 127)]
    names = ["".join(first + second for second in ascii_) for first in ascii_]
    lines = "\n\n".join(latex.escape(name) for name in names)
    rows = "\\\\\n".join(latex.escape(c) for c in ascii_)
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\begin{document}\n"
        f"{lines}\n\n\\begin{{tabular}}{{l}}{rows}\\end{{tabular}}\\end{{document}}\n"
    )
    assert "Missing character" not in pdflatex("t.tex")


def test_the_csv_has_every_number_unrounded_and_every_run(tmp_path):
    frame = pd.read_csv(io.StringIO(csv_files.render(small(tmp_path))), keep_default_na=False)
    rows = frame.set_index("method")
    assert list(frame.method) == ["teacher", "scratch", "kd", "wrn_2|x", "fsp", "ab"]
    assert list(rows.state) == ["done", "done", "done", "failed", "not applicable", "missing"]
    assert list(rows.n) == [1, 3, 3, 2, 0, 0]
    assert list(rows.wanted) == [1, 3, 3, 3, 3, 3]
    kd, wrn = rows.to_dict("index")["kd"], rows.to_dict("index")["wrn_2|x"]
    assert [float(kd[key]) for key in ("mean", "low", "delta_scratch")] == [93.0, 92.0, 2.0]
    assert [kd[key] for key in ("delta_kd", "best", "top1_seed2", "run_seed2")] == [
        "",
        True,
        "94.5",
        "0-kd-s2",
    ]
    assert float(wrn["std"]) == pytest.approx(0.5**0.5, abs=1e-15)
    assert [wrn[key] for key in ("delta_kd", "delta_kd_n", "top1_seed2")] == ["-1.75", 2, ""]
    assert wrn["notes"] == "seed 2 failed: loss_ce is 100% nan"
    assert rows.loc["teacher", "top1_teacher"] == "97.5"


def test_hostile_names_are_read_back_from_the_csv(tmp_path):
    table = hostile(tmp_path, pairs=6)
    frame = pd.read_csv(io.StringIO(csv_files.render(table)), keep_default_na=False)
    assert len(frame) == 6 * len(table.rows)
    assert list(frame.method[3:11]) == HOSTILE


def test_the_terminal_prints_the_same_table_and_no_markup(tmp_path):
    console = Console(width=300, record=True, file=io.StringIO())
    table = small(tmp_path)
    terminal.print_layout(layout_main_table(table), console)
    text = " ".join(console.export_text().split())
    assert "A small grid" in text
    assert "│ kd │ 3 │ 93.00 ± 1.32 │ [92.00, 94.50] │ +2.00 [0.76, 3.24] (†) │ │ 31 │" in text
    assert "│ wrn_2|x │ 2/3 │ 90.50 ± 0.71 (a) │ │ 0.00 │ −1.75 [−4.93, 1.43] │ 0 │" in text
    assert "│ fsp │ │ – (b) │ │ │ │ │" in text
    assert table.caption in text
    assert "(a) seed 2 failed: loss_ce is 100% nan (b) not applicable: a & b" in text

    terminal.print_layout(
        layout_main_table(
            tabulate(load_results(manifest(["[red]x[/red]"], title="[b]t"), tmp_path))
        ),
        console,
    )
    assert "[red]x[/red]" in (text := console.export_text())
    assert "[b]t" in text


def test_footnotes_never_run_out_of_letters():
    letters = [footnote_letter(i) for i in (0, 25, 26, 51, 52, 701, 702)]
    assert letters == ["a", "z", "aa", "az", "ba", "zz", "aaa"]


def test_no_label_reaches_a_csv_file_as_a_formula(tmp_path):
    rows = ["=1+1", "+kd", "-kd", "@SUM(A1)"]
    grid = manifest(rows, seeds=[0])
    files = render_tables(results := load_results(grid, tmp_path), tabulate(results))
    for name in ("small.csv", "small-runs.csv"):
        for row in rows:
            assert f",'{row}," in files[name]
            assert f",{row}," not in files[name]
