"""Wrap any classifier of torchvision or timm as a ``Network``.

Examples: `torchvision/resnet18`, `timm/convnext_tiny`. `torchvision/resnet18@layer2+layer4` names
the stages; otherwise `stages.py` finds them. Parameters, buffers and state_dict keys stay the
library's own, so that published weights load. Three settings change, none with a weight: in-place
activations become out-of-place, so that preacts can be read; dropout and stochastic depth are off,
because they draw from the global generator and would make a student depend on its cohort; and
GoogLeNet and Inception have no auxiliary heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple, Self, cast

import torchvision
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torchvision.ops import StochasticDepth

from benchmark.config.errors import UserError, suggest
from benchmark.models.external.stages import DEFAULT_IMAGE_SIDE, Tap, find_layout
from benchmark.models.network import Network
from benchmark.models.tracing import run_on_meta_device, size_errors_for
from methods.interface import Features

LIBRARIES = ("torchvision", "timm")
WITHOUT_AUXILIARY_HEADS = {
    name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")
}
DISABLED_ATTRIBUTES = {
    "inplace": False,
    "drop_prob": 0.0,
    "drop_rate": 0.0,
}  # the last two are timm's
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, StochasticDepth)


class ExternalName(NamedTuple):
    """A parsed name: ``LIBRARY/MODEL`` or ``LIBRARY/MODEL@PATH+PATH``."""

    library: str
    model: str
    paths: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """Raise ``UserError`` if there is no such network, or its library is not installed."""
        whole, _, paths = text.partition("@")
        library, slash, model = whole.partition("/")
        if not slash or library not in LIBRARIES:
            raise UserError(f"'{text}': expected {' or '.join(f'{x}/NAME' for x in LIBRARIES)}")
        if library == "timm" and find_spec("timm") is None:
            raise UserError(
                f"'{text}': timm is not installed. To have it: pip install -e '.[timm]'"
            )
        if model not in (known := list_models(library)):
            raise UserError(f"'{text}': {unknown_model_message(model, known, library, paths)}")
        return cls(library, model, tuple(filter(None, paths.split("+"))))


def list_models(library: str) -> list[str]:
    """Return the names of a library's classifiers."""
    if library == "timm":
        import timm

        return list(timm.list_models())
    return list(torchvision.models.list_models(module=torchvision.models))


def unknown_model_message(model: str, known: Sequence[str], library: str, paths: str = "") -> str:
    """Return the error for an unknown network, without listing a thousand others."""
    architecture, _, tag = model.partition(".")
    if tag and architecture in known:
        # As a mere name it would promise weights that the network does not get.
        network = f"{library}/{architecture}" + f"@{paths}" * bool(paths)
        return (
            f"the tag {tag} names trained weights, but networks are built with random weights "
            f"here. Write {network}. To use those weights in a teacher, save its state_dict and "
            f"import it: teachers import FILE --as {network}"
        )
    said = suggest(model, known, f"network in {library}")
    return said.partition(" There are:")[0]


def external_factory(text: str) -> Callable[[int], Network]:
    """Return a function from a number of classes to the network of that name.

    Raises ``UserError`` if there is no such network. The function raises it if it has no stages.
    """
    name = ExternalName.read(text)

    def build(classes: int) -> Network:
        inner = library_network(name, classes)
        return ExternalNetwork(inner, f"{name.library}/{name.model}", name.paths)

    return build


def library_network(name: ExternalName, classes: int) -> nn.Module:
    """Build the library's network with random weights."""
    if name.library == "timm":
        import timm

        made: Any = timm.create_model(name.model, pretrained=False, num_classes=classes)
    else:
        options: dict[str, Any] = WITHOUT_AUXILIARY_HEADS.get(name.model, {})
        made = torchvision.models.get_model(
            name.model, weights=None, num_classes=classes, **options
        )
    return cast(nn.Module, made)


def default_image_side(inner: nn.Module) -> int:
    """Return the image size that a network is made for; some of timm's require it."""
    config: Any = getattr(inner, "pretrained_cfg", {})
    return int(config.get("input_size", (3, DEFAULT_IMAGE_SIDE, DEFAULT_IMAGE_SIDE))[-1])


class ExternalNetwork(Network):
    """Another library's network: the same modules, with features read where the layout says."""

    def __init__(self, inner: nn.Module, name: str, paths: Sequence[str] = ()) -> None:
        super().__init__()
        for module in inner.modules():
            for attribute, value in DISABLED_ATTRIBUTES.items():
                if isinstance(getattr(module, attribute, None), type(value)):
                    setattr(module, attribute, value)
            if isinstance(module, DROPOUTS):
                module.p = 0.0
        self.name = name
        self.layout = find_layout(inner, name, paths, default_image_side(inner))
        # Share the modules instead of adding a child, so that every key is the original's. Copies
        # and pickles keep this, because both see one dictionary.
        self._inner = (inner,)
        self._modules, self._parameters = inner._modules, inner._parameters
        self._buffers = inner._buffers
        self._non_persistent_buffers_set = inner._non_persistent_buffers_set
        self._fitting: set[tuple[int, ...]] = set()

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return cast(nn.Linear, self._inner[0].get_submodule(self.layout.classifier))

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm behind each preact; empty if one of them has none."""
        paths = [path for path in self.layout.norms if path is not None]
        if len(paths) < len(self.layout.norms):
            return ()
        return tuple(cast(nn.BatchNorm2d, self._inner[0].get_submodule(path)) for path in paths)

    @property
    def behind_stages(self) -> tuple[nn.Module, ...]:
        """The modules that are called after the last stage; the classifier is among them."""
        return tuple(self._inner[0].get_submodule(path) for path in self.layout.behind)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the wrapper and of the library's network."""
        super().train(mode)
        self._inner[0].training = mode
        return self

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W). Raises ``UserError`` if they are too small."""
        self._check(tuple(x.shape[1:]))
        return self._seen(lambda: self._inner[0](x))

    def _check(self, shape: tuple[int, ...]) -> None:
        """Raise ``UserError`` if images (C, H, W) have a wrong size; checked once a shape."""
        if shape in self._fitting:
            return
        with size_errors_for(self.name, shape[1:]):
            features = self._seen(lambda: cast(Tensor, run_on_meta_device(self._inner[0], shape)))
        sizes = [tuple(stage.shape[2:]) for stage in features.stages]
        if len(set(sizes)) < self.layout.resolutions:
            shown = ", ".join(f"{height}x{width}" for height, width in sizes)
            pixels = "x".join(map(str, shape[1:]))
            raise UserError(
                f"{self.name}: images of {pixels} pixels are too small, its stages would be {shown}"
            )
        self._fitting.add(shape)

    def _seen(self, run: Callable[[], Tensor]) -> Features:
        """Record the tensors at the taps during a forward pass; remove all hooks afterwards."""
        stem, stages, preacts, _, embedding, *_ = self.layout
        # Preacts first: if the network changes one in place, its stage is the copy that continues.
        kept: dict[Tap, list[Tensor]] = {
            place: [] for place in (*preacts, *stages, stem, embedding)
        }
        handles = [
            attach_tap(place, self._inner[0].get_submodule(place.path), seen)
            for place, seen in kept.items()
        ]
        try:
            logits = run()
        finally:
            for handle in handles:
                handle.remove()

        maps = {
            place: tensors[place.call].permute(0, 3, 1, 2)
            if place.channels_last
            else tensors[place.call]
            for place, tensors in kept.items()
        }
        return Features(
            maps[stem],
            tuple(maps[place] for place in stages),
            tuple(maps[place] for place in preacts),
            maps[embedding],
            logits,
        )


def attach_tap(place: Tap, module: nn.Module, seen: list[Tensor]) -> RemovableHandle:
    """Record the tensor at a tap; if it would be overwritten, continue with a copy."""

    def enters(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        seen.append(inputs[0])
        return (inputs[0].clone(), *inputs[1:]) if place.written else None

    def leaves(_: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        seen.append(output)
        return output.clone() if place.written else None

    if place.side == "input":
        return module.register_forward_pre_hook(enters)
    return module.register_forward_hook(leaves)
