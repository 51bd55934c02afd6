"""A network for generators that nobody named: whole images and their finest traces, beside a network that knows one generator."""

from __future__ import annotations

import copy

from fauxto.errors import DataError, missing_extra
from fauxto.models.nets import EvidenceNet, RoutedNet
from fauxto.models.routing import frozen, is_on_grid

try:
    import torch
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

# Second differences both ways: the residual filter of steganalysis (Ker and Boehme 2008; Fridrich and Kodovsky 2012).
_FILTER = ((-0.25, 0.5, -0.25), (0.5, -1.0, 0.5), (-0.25, 0.5, -0.25))
_LEVEL = 1 / 127.5  # one of 255 levels, on the network's scale
POOL = 4
NEEDED = 20  # photographs on each side, for a 95 % quantile
MOST_BALANCE = 10.0  # a network that has learned little shall not be heard too loud
MEDIAN, HIGH = -4.0, -2.0  # logits that the middle and the 95 % quantile of photographs get, however they were saved


class TraceNet(nn.Module):
    """Local statistics of an image's residual, divided by its own energy.

    Without the smooth part and without the strength of the rest it can learn neither what a picture shows nor that it is blurred
    or weak, by which small generators are told at once and others never (docs/generalisation.md): what is left is how
    neighbouring pixels and colours hang together. Its map has a quarter of the image's resolution.

    Args:
        width: Channels.
        depth: Convolutions of 3x3 pixels.

    Example:
        >>> TraceNet().eval()(torch.zeros(2, 3, 32, 48)).shape
        torch.Size([2])
    """

    def __init__(self, *, width: int = 48, depth: int = 4) -> None:
        super().__init__()
        self.register_buffer("filter", torch.tensor(_FILTER).expand(3, 1, 3, 3).clone())
        layers: list[nn.Module] = []
        for n_in in (3, *(width,) * (depth - 1)):
            layers += [nn.Conv2d(n_in, width, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.layers, self.head = nn.Sequential(*layers), nn.Conv2d(width, 1, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for images (n, 3, h, w) in [-1, 1]."""
        return self.evidence(images).mean(dim=(1, 2))

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map (n, h / 4, w / 4), rounded up, whose mean is the logit."""
        found = self.head(self.layers(self.residual(images)))
        return nn.functional.avg_pool2d(found, POOL, ceil_mode=True).squeeze(1)

    def residual(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the filter leaves of each image, with a mean square near 1: shape (n, 3, h, w)."""
        with torch.autocast(images.device.type, enabled=False):
            wide = nn.functional.pad(images.float(), (1, 1, 1, 1), mode="reflect")
            return _normalised(nn.functional.conv2d(wide, self.get_buffer("filter"), groups=3))


def _normalised(residual: torch.Tensor) -> torch.Tensor:
    """Divide by each image's own energy; one level is added, so that a flat image stays flat."""
    found: torch.Tensor = residual / (residual.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + _LEVEL)
    return found


class GeneralNet(nn.Module):
    """A network that knows one generator, and two that look for any: one at the whole image, one at its finest traces.

    On the codec's grid, where the finest traces are gone, the first answers alone; elsewhere both maps add up. The odds of the
    known and of any other generator add up too. To have been saved as JPEG must not look like a generator's trace, nor its
    absence: all answers are put on one scale of false alarms (``level``).

    Args:
        known: Stays as it is; None begins with random weights, which is of use only to read others into.
        temperature: Its logits are divided by it.

    Example:
        >>> GeneralNet().eval()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2])
    """

    def __init__(self, known: RoutedNet | None = None, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.known = frozen(copy.deepcopy(known) if known is not None else RoutedNet())
        self.shapes, self.traces = EvidenceNet(), TraceNet()
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("balance", torch.tensor(1.0))  # what the finest traces weigh beside the whole image
        for whose in ("", "whole_"):  # on the codec's grid, and off it
            self.register_buffer(f"{whose}scale", torch.ones(2))
            self.register_buffer(f"{whose}shift", torch.zeros(2))

    def train(self, mode: bool = True) -> GeneralNet:
        """Let the new networks learn; the known one's statistics stay too."""
        super().train(mode)
        self.known.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for images (n, 3, h, w)."""
        return self.evidence(images).mean(dim=(1, 2))

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map (n, h / 4, w / 4), rounded up, whose mean is the logit: both maps in the shares in which they decide."""
        route = is_on_grid(images)
        known, others = self.known.evidence(images) / self.get_buffer("temperature"), self._of_others(images, route)
        of_known, of_others = known.mean(dim=(1, 2), keepdim=True), others.mean(dim=(1, 2), keepdim=True)
        share = torch.sigmoid(of_known - of_others)
        mixed = share * known + (1 - share) * others
        found = mixed + torch.logaddexp(of_known, of_others) - mixed.mean(dim=(1, 2), keepdim=True)
        return self._levelled(found, route, "whole_")

    @torch.no_grad()
    def level(self, photographs: torch.Tensor, damaged: torch.Tensor | None = None) -> None:
        """Give the answers for photographs the same median and the same 95 % quantile, however they were saved.

        Both networks count alike where both answer, within a factor of ``MOST_BALANCE``. On the codec's grid, what the known
        network says is calibrated, and stays.

        Args:
            photographs: Shape (n, 3, h, w), some of them on the codec's grid and some not.
            damaged: Likewise; those off the grid count for the 95 % quantile too, so that damage raises no alarm.

        Raises:
            DataError: There are too few of either.
        """
        check_enough(is_on_grid(photographs))
        every = photographs if damaged is None else torch.cat([photographs, damaged])
        parts, is_clean = torch.split(every, 256), torch.arange(len(every), device=every.device) < len(photographs)
        route, shapes, traces = (torch.cat([of(part) for part in parts]) for of in (is_on_grid, self.shapes, self.traces))
        on, off = route & is_clean, ~route
        self.get_buffer("balance").fill_(min(MOST_BALANCE, _spread(shapes[off]) / max(_spread(traces[off]), 1e-3)))
        self._set_level("", 0, _middle_and_high(shapes[on]))
        together = shapes + self.get_buffer("balance") * traces
        self._set_level("", 1, _middle_and_high(together[off & is_clean], together[off]))
        self.get_buffer("whole_scale").fill_(1)
        self.get_buffer("whole_shift").fill_(0)
        whole = torch.cat([self(part) for part in parts])
        self._set_level("whole_", 1, _middle_and_high(whole[off & is_clean], whole[off]), like=_middle_and_high(whole[on]))

    def _of_others(self, images: torch.Tensor, route: torch.Tensor) -> torch.Tensor:
        """Return the map of any generator's signs; in training, the finest traces are learned from images that may have them."""
        if self.training:
            order = torch.argsort(~route, stable=True)
            n_on_grid = int(route.sum())
            learned = _asked(self.traces, images[order][n_on_grid:])
            traces = torch.cat([learned.new_zeros(n_on_grid, *learned.shape[1:]), learned])[torch.argsort(order)]
        else:
            traces = torch.where(route.view(-1, 1, 1), 0.0, self.traces.evidence(images))
        return self._levelled(self.shapes.evidence(images) + self.get_buffer("balance") * traces, route, "")

    def _levelled(self, found: torch.Tensor, route: torch.Tensor, whose: str) -> torch.Tensor:
        at = (~route).long()
        scale, shift = (self.get_buffer(f"{whose}{name}")[at].view(-1, 1, 1) for name in ("scale", "shift"))
        return found * scale + shift

    def _set_level(self, whose: str, at: int, found: tuple[float, float], *, like: tuple[float, float] = (MEDIAN, HIGH)) -> None:
        scale = (like[1] - like[0]) / max(found[1] - found[0], 1e-3)
        self.get_buffer(f"{whose}scale")[at], self.get_buffer(f"{whose}shift")[at] = scale, like[0] - scale * found[0]


def _middle_and_high(logits: torch.Tensor, others: torch.Tensor | None = None) -> tuple[float, float]:
    """Return the median, and the 95 % quantile, of other logits where they are given."""
    high = logits if others is None else others
    return float(torch.quantile(logits.float().cpu(), 0.5)), float(torch.quantile(high.float().cpu(), 0.95))


def _spread(logits: torch.Tensor) -> float:
    median, high = _middle_and_high(logits)
    return high - median


def check_enough(route: torch.Tensor) -> None:
    """Refuse to go on with too few photographs of either kind.

    Args:
        route: Bool, (n,): which photographs are on the codec's grid.

    Raises:
        DataError: There are too few.
    """
    for kind, n in (("as JPEG of quality 75", int(route.sum())), ("otherwise", int((~route).sum()))):
        if n < NEEDED:
            raise DataError(f"{n} validation photographs are saved {kind}, {NEEDED} are needed: give more of them")


def _asked(network: TraceNet, images: torch.Tensor) -> torch.Tensor:
    """Return the map for a part of a training batch, which may be small: one image alone has no statistics."""
    if len(images) > 1:
        return network.evidence(images)
    height, width = (-(-side // POOL) for side in images.shape[2:])
    if not len(images):  # the weights must still be part of the answer, or several processes would wait for them
        return images.new_zeros(0, height, width) + 0 * sum(weight.sum() for weight in network.parameters())
    network.eval()
    found = network.evidence(images)
    network.train()
    return found
