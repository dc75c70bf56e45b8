"""The list of networks, and what one of them shows of itself. Nothing is computed for it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark import models as zoo
from benchmark.cli.console import DONE, make_console
from benchmark.data import find
from benchmark.models.external import wrapper
from benchmark.models.flops import look, on_paper
from benchmark.models.network import Network
from methods.interface import Features, Shapes

OTHERS = (
    "Also by name, any classifier of torchvision, and of timm where it is installed: "
    "torchvision/resnet18, timm/convnext_tiny. Their stages are found; "
    "torchvision/resnet18@layer2+layer4 names them."
)


def models(options: argparse.Namespace) -> int:
    """List the networks with their parameters, or the shapes of one."""
    show(options.names, options.shapes, options.dataset, options.data_root, make_console())
    return DONE


def show(
    names: Sequence[str], closely: str | None, dataset: str, root: Path, console: Console
) -> None:
    """Print the networks with their parameters, or all about one. Raises ``UserError``."""
    source = find(dataset, root)
    if closely is None:
        console.print(listing(names or zoo.names(), source.classes, dataset))
        if not names:
            console.print(OTHERS, style="dim")
    else:
        console.print(anatomy(closely, source.classes, source.size, dataset))


def listing(names: Sequence[str], classes: int, dataset: str) -> Table:
    """One row a network: its name and how many parameters it has."""
    table = Table(title=Text(f"{dataset}, {classes} classes"), title_justify="left")
    table.add_column("network", overflow="fold")
    table.add_column("parameters", justify="right")
    for name in names:
        table.add_row(name, f"{zoo.count_parameters(on_paper(name, classes)):,}")
    return table


def anatomy(name: str, classes: int, size: int, dataset: str) -> Table:
    """Stem, stages and embedding with their shapes; parameters and FLOPs."""
    network = on_paper(name, classes)
    view = look(network, size)
    table = Table(title=Text(f"{name}, {dataset}: {size} px, {classes} classes"))
    table.title_justify = "left"
    columns = ["", "shape", "preact", *(["found at"] if isinstance(network, wrapper.Found) else [])]
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows(network, view.features):
        table.add_row(*row[: len(columns)])
    counts = zoo.count_parameters(network), view.flops
    table.caption = Text("{:,} parameters, {:,} FLOPs an image".format(*counts))
    table.caption_justify = "left"
    return table


def rows(network: Network, features: Features) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is shown, its shape, where its preact is, and where it was found."""
    shapes = Shapes.of(features)
    taps = network.layout if isinstance(network, wrapper.Found) else None
    yield "stem", told(shapes.stem), "", f"before {taps.stem.path}" if taps else ""
    pairs = zip(features.stages, features.preacts, strict=True)
    for i, (shape, (stage, preact)) in enumerate(zip(shapes.stages, pairs, strict=True)):
        where = "the stage itself" if preact is stage else "before its activation"
        yield f"stage {i + 1}", told(shape), where, taps.stages[i].path if taps else ""
    where = f"before {taps.classifier}" if taps else ""
    yield "embedding", str(shapes.embedding), "", where


def told(shape: tuple[int, int, int]) -> str:
    """Write channels, height and width."""
    return " x ".join(map(str, shape))
