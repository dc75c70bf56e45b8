"""The tables of a suite: cells with numbers, layouts with text, and one writer a file format.

Read `cells.py` first (numbers), then `layout.py` (text, the same for all formats), then a writer:
`markdown.py`, `latex.py`, `csv_files.py`, `terminal.py`, or `sidecar.py` for the JSON file.
"""
