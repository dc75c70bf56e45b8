"""The verb `models`: list the networks, or show the shapes of one. No forward pass is computed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark import models as zoo
from benchmark.cli.console import DONE, make_console
from benchmark.data import find_data_set
from benchmark.models.external import wrapper
from benchmark.models.flops import build_on_meta_device, features_and_flops
from benchmark.models.network import Network
from methods.interface import Features, Shapes

OTHER_NETWORKS = (
    "Any classifier of torchvision works too, and of timm if it is installed: "
    "torchvision/resnet18, timm/convnext_tiny. Their stages are found automatically; "
    "torchvision/resnet18@layer2+layer4 chooses them by name."
)


def models(options: argparse.Namespace) -> int:
    """List the networks with their parameters, or the shapes of one."""
    print_models(options.names, options.shapes, options.dataset, options.data_root, make_console())
    return DONE


def print_models(
    names: Sequence[str], shapes: str | None, dataset: str, root: Path, console: Console
) -> None:
    """Print the networks with their parameters, or the shapes of the network ``shapes``.

    Raises UserError for unknown names.
    """
    source = find_data_set(dataset, root)
    if shapes is None:
        console.print(network_list(names or zoo.network_names(), source.classes, dataset))
        if not names:
            console.print(OTHER_NETWORKS, style="dim")
    else:
        console.print(network_table(shapes, source.classes, source.size, dataset))


def network_list(names: Sequence[str], classes: int, dataset: str) -> Table:
    """Return a table with the number of parameters of each network."""
    table = Table(title=Text(f"{dataset}, {classes} classes"), title_justify="left")
    table.add_column("network", overflow="fold")
    table.add_column("parameters", justify="right")
    for name in names:
        table.add_row(name, f"{zoo.count_parameters(build_on_meta_device(name, classes)):,}")
    return table


def network_table(name: str, classes: int, size: int, dataset: str) -> Table:
    """Return a table of the shapes of stem, stages and embedding, with parameters and FLOPs."""
    network = build_on_meta_device(name, classes)
    view = features_and_flops(network, size)
    table = Table(title=Text(f"{name}, {dataset}: {size} px, {classes} classes"))
    table.title_justify = "left"
    modules = ["module"] if isinstance(network, wrapper.ExternalNetwork) else []
    columns = ["", "shape", "pre-activation", *modules]
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in network_rows(network, view.features):
        table.add_row(*row[: len(columns)])
    counts = zoo.count_parameters(network), view.flops
    table.caption = Text("{:,} parameters, {:,} FLOPs per image".format(*counts))
    table.caption_justify = "left"
    return table


def network_rows(network: Network, features: Features) -> Iterator[tuple[str, str, str, str]]:
    """Yield rows of the table: feature, shape, place of the pre-activation, module."""
    shapes = Shapes.of(features)
    taps = network.layout if isinstance(network, wrapper.ExternalNetwork) else None
    yield "stem", format_shape(shapes.stem), "", f"before {taps.stem.path}" if taps else ""
    pairs = zip(features.stages, features.preacts, strict=True)
    for i, (shape, (stage, preact)) in enumerate(zip(shapes.stages, pairs, strict=True)):
        where = "same as the stage" if preact is stage else "before the stage's activation"
        yield f"stage {i + 1}", format_shape(shape), where, taps.stages[i].path if taps else ""
    where = f"before {taps.classifier}" if taps else ""
    yield "embedding", str(shapes.embedding), "", where


def format_shape(shape: tuple[int, int, int]) -> str:
    """Format a feature map's shape: channels x height x width."""
    return " x ".join(map(str, shape))
