"""The networks, nothing else; each answers with one logit per image, the mean of a map of local evidence."""

from __future__ import annotations

from fauxto.config import nearest
from fauxto.errors import ConfigError, missing_extra

try:
    import torch
    import torchvision
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

STEMS = ("imagenet", "cifar")


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
