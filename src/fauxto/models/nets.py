"""The networks, nothing else; each answers with one logit per image, the mean of a map of local evidence."""

from __future__ import annotations

import math

from fauxto.config import nearest
from fauxto.errors import ConfigError, missing_extra

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

    def __init__(self, *, widths: tuple[int, int, int] = (32, 64, 128), blocks: tuple[int, int] = (1, 2)) -> None:
        super().__init__()
        fine, half, quarter = widths
        self.stem = nn.Sequential(_convolution(3, fine), _convolution(fine, fine))
        self.stage1 = nn.Sequential(_convolution(fine, half, stride=2), *(_Residual(half) for _ in range(blocks[0])))
        self.stage2 = nn.Sequential(_convolution(half, quarter, stride=2), *(_Residual(quarter) for _ in range(blocks[1])))
        self.head = nn.Conv2d(quarter, 1, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for images (n, 3, h, w)."""
        return self.evidence(images).mean(dim=(1, 2))

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map (n, h / 4, w / 4), rounded up, whose mean is the logit."""
        return self.head(self.stage2(self.stage1(self.stem(images)))).squeeze(1)  # type: ignore[no-any-return]


class _Residual(nn.Module):
    """Two convolutions beside a shortcut; the second begins at 0, so that the block begins as nothing at all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(hidden + self.norm(self.second(self.first(hidden))))


def _convolution(n_in: int, n_out: int, *, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU())
