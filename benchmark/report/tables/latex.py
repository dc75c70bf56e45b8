"""Tables as LaTeX (booktabs): files that compile alone and that a paper can \\input."""

import re
import unicodedata
from collections.abc import Iterator

from benchmark.report.tables.layout import Entry, Grid, Layout, letter, split

ACROSS = 150  # letters in a line of a page's width before it would have to be set too small
NARROW = 75  # and in one that fits half of it

# Inside a document \@nodocument is \relax, so there the preamble is skipped, and the name called
# on the last line means nothing. No package beyond Debian's texlive-latex-recommended.
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

_SHOWN_AS = {
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
    "[": "{[}",  # after the \\ of the row before, a bracket or a star would be its argument
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
# What pdflatex knows without further fonts; the rest is shown by its number.
_PLAIN = re.compile(r"[ -~ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ]")
# Pairs that TeX's fonts run together to another character.
_LIGATURE = re.compile(r"([-'`,])(?=\1)|[?!](?=`)")


def render(layout: Layout) -> str:
    """The whole file: comment, preamble, floats with caption and footnotes.

    What is too wide for a page is split by columns, each part a float with the same number.
    """
    wide = "*" if next(split(layout, NARROW)) != layout.grid else ""
    parts = list(split(layout, ACROSS))
    label = re.sub("[^A-Za-z0-9]+", "-", "-".join(filter(None, (layout.suite, layout.name))))
    title = escape(layout.title.strip().rstrip("."))
    below = [r"\par\vspace{0.5ex}{\scriptsize Footnotes: below the last part.}"]
    below = below if layout.notes else []
    lines: list[str] = []
    for place, part in enumerate(parts):
        again = [rf"\addtocounter{{table}}{{-1}}\caption{{{title}, continued.}}"]
        first = [rf"\caption{{{title}. {escape(layout.caption)}}}", rf"\label{{tab:{label}}}"]
        lines += [
            rf"\begin{{table{wide}}}[htp]\centering\footnotesize",
            *(again if place else first),
            *_tabular(part, layout.ruled),
            *(_notes(layout.notes) if place == len(parts) - 1 else below),
            rf"\end{{table{wide}}}",
        ]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _tabular(grid: Grid, ruled: int) -> list[str]:
    blocks = [_block(block) for block in grid.blocks]
    spaced = any(len(block) > 1 for block in grid.blocks)
    body = ("\\addlinespace\n" if spaced else "").join(block + "\n" for block in blocks[ruled:])
    return [
        r"\par\vspace{1ex}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l{'c' * (len(grid.heads) - 1)}@{{}}}}",
        r"\toprule",
        *_heads(grid),
        r"\midrule",
        *([*blocks[:ruled], r"\midrule"] if ruled else []),
        body.rstrip(),
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def _heads(grid: Grid) -> Iterator[str]:
    """The head's lines; what heads several columns stands across them, with a rule below."""
    lines = [[escape(line) for line in lines] for lines in zip(*grid.heads, strict=True)]
    starts = [place for place, head in enumerate(grid.heads) if place and any(head[:2])]
    spans = list(zip(starts, [*starts[1:], len(grid.heads)], strict=True))
    above = 2 if len(lines) > 2 else 0
    for line in lines[:above]:
        across = (rf"\multicolumn{{{end - begin}}}{{c}}{{{line[begin]}}}" for begin, end in spans)
        yield " & ".join((line[0], *across)) + r" \\"
    if above:
        yield "".join(rf"\cmidrule(lr){{{begin + 1}-{end}}}" for begin, end in spans)
    for line in lines[above:]:
        yield " & ".join(line) + r" \\"


def _notes(notes: tuple[str, ...]) -> list[str]:
    space = [r"\par\vspace{0.5ex}"] if notes else []
    return [*space, *(_note(place, note) for place, note in enumerate(notes))]


def escape(text: str) -> str:
    """`text` as LaTeX that shows these very characters on one line, whatever they are."""
    flat = unicodedata.normalize("NFC", " ".join(text.split()))
    shown = "".join(_SHOWN_AS.get(c) or (c if _PLAIN.match(c) else _numbered(c)) for c in flat)
    return _LIGATURE.sub(r"\g<0>{}", shown)


def _numbered(character: str) -> str:
    return f"{{[}}U+{ord(character):04X}]"


def _block(block: tuple[tuple[Entry, ...], ...]) -> str:
    first, *below = block
    lines = [" & ".join(_mark(entry) for entry in first) + r" \\"]
    for line in below:
        small = (rf"{{\scriptsize {_mark(entry)}}}" if entry.text else "" for entry in line)
        lines.append(" & ".join(small) + r" \\")
    return "\n".join(lines)


def _mark(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.bold:
        text = rf"\textbf{{{text}}}"
    if entry.italic:
        text = rf"\textit{{{text}}}"
    if entry.underlined and text:
        text = rf"\underline{{{text}}}"
    return text + (rf"\textsuperscript{{{escape(entry.marks)}}}" if entry.marks else "")


def _note(place: int, note: str) -> str:
    text = rf"\textsuperscript{{{letter(place)}}}\,{escape(note)}"
    return rf"\par\parbox{{\linewidth}}{{\scriptsize\raggedright\strut {text}\strut}}"
