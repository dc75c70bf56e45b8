"""The table as LaTeX (booktabs): a file that compiles alone and that a paper can \\input."""

import re
import unicodedata

from benchmark.report.layout import Entry, lay_out, letter
from benchmark.report.table import Table

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
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
}
# What pdflatex knows without further fonts; the rest is shown by its number.
_PLAIN = re.compile(r"[ -~ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ]")
# Pairs that TeX's fonts run together to another character.
_LIGATURE = re.compile(r"([-'`,])(?=\1)|[?!](?=`)")


def render(table: Table) -> str:
    """The whole file: comment, preamble, the float with its caption and footnotes."""
    grid = lay_out(table)
    wide = "*" if len(table.columns) > 1 else ""
    heads = [[escape(line) for line in lines] for lines in zip(*grid.heads, strict=True)]
    blocks = [_block(block) for block in grid.blocks]
    columns = "l" + "c" * (len(grid.heads) - 1)
    lines = [
        rf"\begin{{table{wide}}}[ht]\centering\footnotesize",
        rf"\caption{{{escape(table.title.strip().rstrip('.'))}. {escape(table.caption)}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9]+', '-', table.suite)}}}",
        r"\par\vspace{1ex}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        *(" & ".join(head) + r" \\" for head in heads),
        r"\midrule",
        blocks[0],
        r"\midrule",
        ("\\addlinespace\n" if wide else "").join(block + "\n" for block in blocks[1:]).rstrip(),
        r"\bottomrule",
        r"\end{tabular}}",
        *([r"\par\vspace{0.5ex}"] if table.notes else []),
        *(_note(place, note) for place, note in enumerate(table.notes)),
        rf"\end{{table{wide}}}",
    ]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


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
    return text + (rf"\textsuperscript{{{entry.marks}}}" if entry.marks else "")


def _note(place: int, note: str) -> str:
    text = rf"\textsuperscript{{{letter(place)}}}\,{escape(note)}"
    return rf"\par\parbox{{\linewidth}}{{\scriptsize\raggedright\strut {text}\strut}}"
