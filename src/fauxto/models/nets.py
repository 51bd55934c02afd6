"""The networks, nothing else; each answers with one logit per image, the mean of a map of local evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from fauxto.config import nearest
from fauxto.errors import ConfigError, missing_extra
from fauxto.models.routing import Route, RoutedConvolution, RoutedHead, RoutedNorm, frozen, is_on_grid

try:
    import torch
    import torchvision
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

STEMS = ("imagenet", "cifar")


def answers(network: nn.Module, images: torch.Tensor, *, mirrored: bool, certain_logit: float = math.inf) -> torch.Tensor:
    """Return a detector's logits (n,) for images (n, 3, h, w).

    Args:
        network: Answers with one logit per image.
        images: What it sees.
        mirrored: Take the mean over both mirror images.
        certain_logit: Except where the first answer is at least so far from 0.
    """
    logits: torch.Tensor = network(images)
    if not mirrored:
        return logits
    return torch.where(logits.abs() < certain_logit, (logits + network(images.flip(3))) / 2, logits)


class ResNet18(nn.Module):
    """torchvision's ResNet-18 from scratch with one logit (He et al. 2016, arXiv 1512.03385).

    Args:
        stem: "imagenet" is torchvision's own (7x7 stride 2, max-pool): 32x32 pixels end as a 1x1 map. "cifar" is He et
            al.'s for small images (3x3 stride 1, no max-pool): they end as 4x4.

    Raises:
        ConfigError: The stem has another name.

    Example:
        >>> ResNet18(stem="cifar").eval()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2])
    """

    def __init__(self, *, stem: str = "imagenet") -> None:
        super().__init__()
        if stem not in STEMS:
            raise ConfigError(f"no stem is called {stem!r}{nearest(str(stem), STEMS)}")
        self.backbone = torchvision.models.resnet18(weights=None, num_classes=1)
        if stem == "cifar":
            self.backbone.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(self.backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.backbone.maxpool = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for images (n, 3, h, w)."""
        return self.backbone(images).squeeze(1)  # type: ignore[no-any-return]

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map (n, h', w') whose mean is the logit: the last layer applied before the pooling, not after it."""
        net = self.backbone
        hidden = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        hidden = net.layer4(net.layer3(net.layer2(net.layer1(hidden))))
        weight = net.fc.weight[:, :, None, None]
        return nn.functional.conv2d(hidden, weight, net.fc.bias).squeeze(1)


class EvidenceNet(nn.Module):
    """A small network without padding tricks or pooling: any image size goes in, and its map of evidence is the decision.

    Two convolutions see every pixel before anything is made coarser, since the traces of generators live in the highest
    frequencies; then one residual block (He et al. 2016, arXiv 1512.03385) at half and two at a quarter of the resolution. For
    (3, 32, 32) the map is 8x8; docs/LOG.md tells which designs were tried and what they bought.

    Args:
        widths: Channels at full, half and a quarter of the resolution.
        blocks: Residual blocks at half and a quarter of the resolution.

    Example:
        >>> network = EvidenceNet().eval()
        >>> network(torch.zeros(2, 3, 32, 32)).shape, network.evidence(torch.zeros(1, 3, 40, 64)).shape
        (torch.Size([2]), torch.Size([1, 10, 16]))
    """

    any_size = True  # for export: height and width of its input are free

    def __init__(self, *, widths: tuple[int, int, int] = (32, 64, 128), blocks: tuple[int, int] = (1, 2)) -> None:
        super().__init__()
        fine, half, quarter = widths
        self.stem = _Chain(_convolution(3, fine), _convolution(fine, fine))
        self.stage1 = _Chain(_convolution(fine, half, stride=2), *(_Residual(half) for _ in range(blocks[0])))
        self.stage2 = _Chain(_convolution(half, quarter, stride=2), *(_Residual(quarter) for _ in range(blocks[1])))
        self.head: nn.Module = nn.Conv2d(quarter, 1, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for images (n, 3, h, w)."""
        return self.evidence(images).mean(dim=(1, 2))

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map (n, h / 4, w / 4), rounded up, whose mean is the logit."""
        return self._evidence(images, None)

    def _evidence(self, images: torch.Tensor, route: Route | None) -> torch.Tensor:
        hidden = images
        for part in (self.stem, self.stage1, self.stage2, self.head):
            hidden = _through(part, hidden, route)
        return hidden.squeeze(1)


class RoutedNet(EvidenceNet):
    """A trained EvidenceNet that answers as it did, but for images encoded as its training's were: on these it learns more.

    To survive perturbations costs a network accuracy on images that came through none. Here the layers at a quarter of the
    resolution get a change of low rank, and all norms statistics of their own, for images on the codec's grid alone
    (``models.routing``); what was trained before stays as it is, for all others. The evidence is local all the same, but for
    this one bit about the whole image.

    Args:
        trained: Where it begins; None begins with random weights, which is of use only to read others into.
        rank: Of the change.

    Example:
        >>> RoutedNet().eval()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2])
    """

    any_size = False  # its route looks at whole blocks of one image, at the size that it was trained for

    def __init__(self, trained: EvidenceNet | None = None, *, rank: int = 32) -> None:
        super().__init__()
        if trained is not None:
            self.load_state_dict(trained.state_dict())
        frozen(self)
        _replaced(self, nn.BatchNorm2d, RoutedNorm)
        _replaced(self.stage2, nn.Conv2d, partial(RoutedConvolution, rank=rank))
        self.head = RoutedHead(self.head)

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map (n, h / 4, w / 4), rounded up, whose mean is the logit."""
        route = is_on_grid(images)
        if not self.training:
            return self._evidence(images, route)
        order = torch.argsort(~route, stable=True)  # those on the grid come first
        return self._evidence(images[order], int(route.sum()))[torch.argsort(order)]


class _Chain(nn.Sequential):
    """One after the other; the parts that ask for the route get it."""

    takes_route = True

    def forward(self, hidden: torch.Tensor, route: Route | None = None) -> torch.Tensor:
        for part in self:
            hidden = _through(part, hidden, route)
        return hidden


class _Residual(nn.Module):
    """Two convolutions beside a shortcut; the second begins at 0, so that the block begins as nothing at all."""

    takes_route = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second: nn.Module = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, hidden: torch.Tensor, route: Route | None = None) -> torch.Tensor:
        inner = _through(self.second, self.first(hidden, route), route)
        return nn.functional.relu(hidden + _through(self.norm, inner, route))


def _through(part: nn.Module, hidden: torch.Tensor, route: Route | None) -> torch.Tensor:
    return part(hidden, route) if getattr(part, "takes_route", False) else part(hidden)  # type: ignore[no-any-return]


def _replaced(module: nn.Module, kind: type[nn.Module], other: Callable[[Any], nn.Module]) -> None:
    """Put something else in the place of each part of a kind."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kind):
                setattr(parent, name, other(child))


def _convolution(n_in: int, n_out: int, *, stride: int = 1) -> _Chain:
    convolution = nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1, bias=False)
    return _Chain(convolution, nn.BatchNorm2d(n_out), nn.ReLU())
