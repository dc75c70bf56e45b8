"""Tables as LaTeX (booktabs): files that compile on their own and that a paper can \\input."""

import re
import unicodedata
from collections.abc import Iterator

from benchmark.report.tables.layout import (
    FormattedCell,
    TableLayout,
    TextGrid,
    footnote_letter,
    split_by_width,
)

LETTERS_OF_FULL_WIDTH = 150
"""The width of a table that fits the width of a page in a readable size. Wider ones are split."""
LETTERS_OF_HALF_WIDTH = 75
"""The width of a table that fits one of two columns of a page. Wider ones span both."""

# When a paper inputs the file, \@nodocument is \relax: TeX skips the preamble, and the macro on the
# last line is undefined and expands to nothing. The packages are all in Debian's
# texlive-latex-recommended.
_HEAD = r"""% Compiles alone (pdflatex), and a paper can \input it: its preamble then needs
% \usepackage{booktabs,graphicx}
\expandafter\ifx\csname @nodocument\endcsname\relax\else
  \documentclass[10pt]{article}
  \usepackage[a4paper,margin=2cm]{geometry}
  \usepackage{booktabs,graphicx}
  \pagestyle{empty}
  \expandafter\def\csname kdtable@end\endcsname{\end{document}}
  \begin{document}
\fi
"""
_TAIL = "\\csname kdtable@end\\endcsname\n"

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",
    "[": "{[}",  # \\ at the end of a row would read a bracket or star after it as its argument
    "*": "{*}",
    "\u2212": "$-$",
    "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u00b7": r"$\cdot$",
    "\u2192": r"$\rightarrow$",
    "\u0394": r"$\Delta$",
    "\u2020": r"\textdagger{}",
    "\u2021": r"\textdaggerdbl{}",
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
}
# The characters that pdflatex can set with its default fonts; others are written as code points.
_PLAIN = re.compile(r"[ -~ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ]")
# Pairs of characters that TeX's fonts replace by a ligature.
_LIGATURE = re.compile(r"([-'`,])(?=\1)|[?!](?=`)")


def render(layout: TableLayout) -> str:
    """Return the whole file: comment, preamble, and floats with caption and footnotes.

    A table that is too wide for a page is split by columns. Each part is a float of its own; all
    parts have the same table number.
    """
    wide = "*" if next(split_by_width(layout, LETTERS_OF_HALF_WIDTH)) != layout.grid else ""
    parts = list(split_by_width(layout, LETTERS_OF_FULL_WIDTH))
    label = re.sub("[^A-Za-z0-9]+", "-", "-".join(filter(None, (layout.suite, layout.name))))
    title = escape(layout.title.strip().rstrip("."))
    see_last_part = [r"\par\vspace{0.5ex}{\scriptsize Footnotes: below the last part.}"]
    see_last_part = see_last_part if layout.notes else []
    lines: list[str] = []
    for number, part in enumerate(parts):
        continued = [rf"\addtocounter{{table}}{{-1}}\caption{{{title}, continued.}}"]
        first = [rf"\caption{{{title}. {escape(layout.caption)}}}", rf"\label{{tab:{label}}}"]
        lines += [
            rf"\begin{{table{wide}}}[htp]\centering\footnotesize",
            *(continued if number else first),
            *_tabular(part, layout.teacher_blocks),
            *(_footnotes(layout.notes) if number == len(parts) - 1 else see_last_part),
            rf"\end{{table{wide}}}",
        ]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _tabular(grid: TextGrid, teacher_blocks: int) -> list[str]:
    blocks = [_block_lines(block) for block in grid.blocks]
    spaced = any(len(block) > 1 for block in grid.blocks)
    body = ("\\addlinespace\n" if spaced else "").join(
        block + "\n" for block in blocks[teacher_blocks:]
    )
    return [
        r"\par\vspace{1ex}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l{'c' * (len(grid.heads) - 1)}@{{}}}}",
        r"\toprule",
        *_head_lines(grid),
        r"\midrule",
        *([*blocks[:teacher_blocks], r"\midrule"] if teacher_blocks else []),
        body.rstrip(),
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def _head_lines(grid: TextGrid) -> Iterator[str]:
    """Yield the lines of the head.

    The first two of several lines name the pair. They span all columns of the pair and have a rule
    below.
    """
    lines = [[escape(line) for line in lines] for lines in zip(*grid.heads, strict=True)]
    starts = [index for index, head in enumerate(grid.heads) if index and any(head[:2])]
    spans = list(zip(starts, [*starts[1:], len(grid.heads)], strict=True))
    spanning = 2 if len(lines) > 2 else 0
    for line in lines[:spanning]:
        spanned = (rf"\multicolumn{{{end - begin}}}{{c}}{{{line[begin]}}}" for begin, end in spans)
        yield " & ".join((line[0], *spanned)) + r" \\"
    if spanning:
        yield "".join(rf"\cmidrule(lr){{{begin + 1}-{end}}}" for begin, end in spans)
    for line in lines[spanning:]:
        yield " & ".join(line) + r" \\"


def _footnotes(notes: tuple[str, ...]) -> list[str]:
    space = [r"\par\vspace{0.5ex}"] if notes else []
    return [*space, *(_footnote(index, note) for index, note in enumerate(notes))]


def escape(text: str) -> str:
    """Return LaTeX that sets the characters of `text` literally, on one line."""
    one_line = unicodedata.normalize("NFC", " ".join(text.split()))
    escaped = (_ESCAPES.get(c) or (c if _PLAIN.match(c) else _code_point(c)) for c in one_line)
    return _LIGATURE.sub(r"\g<0>{}", "".join(escaped))


def _code_point(character: str) -> str:
    return f"{{[}}U+{ord(character):04X}]"


def _block_lines(block: tuple[tuple[FormattedCell, ...], ...]) -> str:
    first, *below = block
    lines = [" & ".join(_format_cell_latex(cell) for cell in first) + r" \\"]
    for line in below:
        small = (
            rf"{{\scriptsize {_format_cell_latex(cell)}}}" if cell.text else "" for cell in line
        )
        lines.append(" & ".join(small) + r" \\")
    return "\n".join(lines)


def _format_cell_latex(cell: FormattedCell) -> str:
    text = escape(cell.text)
    if cell.bold:
        text = rf"\textbf{{{text}}}"
    if cell.italic:
        text = rf"\textit{{{text}}}"
    if cell.underlined and text:
        text = rf"\underline{{{text}}}"
    return text + (rf"\textsuperscript{{{escape(cell.marks)}}}" if cell.marks else "")


def _footnote(index: int, note: str) -> str:
    text = rf"\textsuperscript{{{footnote_letter(index)}}}\,{escape(note)}"
    return rf"\par\parbox{{\linewidth}}{{\scriptsize\raggedright\strut {text}\strut}}"
