"""Any classifier of torchvision or timm, by name, as a network of ours.

`torchvision/resnet18`, `timm/convnext_tiny`; `torchvision/resnet18@layer2+layer4` names the stages,
else `stages.py` finds them. Parameters, buffers and their state_dict keys stay the library's own,
so that published weights load. Three things are set, in none of which there is a weight: in-place
activations write elsewhere, so that a preact can be seen; dropout and stochastic depth are off,
because they would draw from the global generator, and a student's numbers would come to depend on
its cohort; and GoogLeNet and Inception come without their auxiliary heads.
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
    """What a network is called: ``LIBRARY/MODEL`` or ``LIBRARY/MODEL@PATH+PATH``."""

    library: str
    model: str
    paths: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """Raise ``UserError`` where there is no such network, or its library is not there."""
        whole, _, paths = text.partition("@")
        library, slash, model = whole.partition("/")
        if not slash or library not in LIBRARIES:
            raise UserError(f"'{text}': expected {' or '.join(f'{x}/NAME' for x in LIBRARIES)}")
        if library == "timm" and find_spec("timm") is None:
            raise UserError(
                f"'{text}': timm is not installed. To have it: pip install -e '.[timm]'"
            )
        if model not in (known := list_models(library)):
            raise UserError(f"'{text}': {unknown_model_message(model, known, library)}")
        return cls(library, model, tuple(filter(None, paths.split("+"))))


def list_models(library: str) -> list[str]:
    """List the classifiers of a library by the library's own names."""
    if library == "timm":
        import timm

        return list(timm.list_models())
    return list(torchvision.models.list_models(module=torchvision.models))


def unknown_model_message(model: str, known: Sequence[str], library: str) -> str:
    """Say that there is no such network, without listing a thousand others."""
    said = suggest(model, known, f"network in {library}")
    return said.partition(" There are:")[0]


def external_factory(text: str) -> Callable[[int], Network]:
    """Return what builds the network of that name for a number of classes.

    Raises ``UserError`` where there is no such network, and building does where it has no stages.
    """
    name = ExternalName.read(text)

    def build(classes: int) -> Network:
        inner = library_network(name, classes)
        return ExternalNetwork(inner, f"{name.library}/{name.model}", name.paths)

    return build


def library_network(name: ExternalName, classes: int) -> nn.Module:
    """Build the library's own network, its weights random."""
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
    """Return the image size that a network is made for, which some of timm's insist on."""
    config: Any = getattr(inner, "pretrained_cfg", {})
    return int(config.get("input_size", (3, DEFAULT_IMAGE_SIDE, DEFAULT_IMAGE_SIDE))[-1])


class ExternalNetwork(Network):
    """Somebody else's network under our head: the same modules, seen at the places of a layout."""

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
        # Not a child: two heads on one body, so that every key is the original's. A copy and a
        # pickle keep this, for both see that it is one dictionary.
        self._inner = (inner,)
        self._modules, self._parameters = inner._modules, inner._parameters
        self._buffers = inner._buffers
        self._non_persistent_buffers_set = inner._non_persistent_buffers_set
        self._fitting: set[tuple[int, ...]] = set()

    @property
    def head(self) -> nn.Linear:
        """What reads the embedding."""
        return cast(nn.Linear, self._inner[0].get_submodule(self.layout.classifier))

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm behind each preact; empty where one of them has none."""
        paths = [path for path in self.layout.norms if path is not None]
        if len(paths) < len(self.layout.norms):
            return ()
        return tuple(cast(nn.BatchNorm2d, self._inner[0].get_submodule(path)) for path in paths)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of both heads."""
        super().train(mode)
        self._inner[0].training = mode
        return self

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W). Raises ``UserError`` where they are too small."""
        self._check(tuple(x.shape[1:]))
        return self._seen(lambda: self._inner[0](x))

    def _check(self, shape: tuple[int, ...]) -> None:
        """Raise ``UserError`` where an image (C, H, W) cannot be seen; once a shape."""
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
        """Note what passes the taps during a run; afterwards nothing is left behind."""
        stem, stages, preacts, _, embedding, _, _ = self.layout
        # Preacts first: where the network writes into one, its stage is the copy it goes on with.
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
    """Note what passes a tap; where it would be overwritten, the network goes on with a copy."""

    def enters(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        seen.append(inputs[0])
        return (inputs[0].clone(), *inputs[1:]) if place.written else None

    def leaves(_: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        seen.append(output)
        return output.clone() if place.written else None

    if place.side == "input":
        return module.register_forward_pre_hook(enters)
    return module.register_forward_hook(leaves)
