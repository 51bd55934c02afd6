"""models.nets: torchvision's ResNet-18 with one logit, which is the mean of its map of evidence."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision

from fauxto.errors import ConfigError
from fauxto.models.nets import STEMS, EvidenceNet, ResNet18


def lived_in(stem: str) -> ResNet18:
    """A network whose batch statistics and last layer are no longer those it was born with."""
    torch.manual_seed(0)
    network = ResNet18(stem=stem)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    torch.nn.init.normal_(network.backbone.fc.bias)
    return network.eval()


def images(n: int, size: int = 32) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=STEMS)
def network(request):
    return lived_in(request.param)


@torch.no_grad()
def test_one_logit_per_image(network):
    assert network(images(5)).shape == (5,)
    assert network(images(1)).shape == (1,)


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 64, 75])
def test_the_evidences_mean_is_the_logit(network, size):
    batch = images(3, size)
    evidence = network.evidence(batch)
    assert evidence.ndim == 3
    torch.testing.assert_close(evidence.mean(dim=(1, 2)), network(batch), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("stem", "size", "side"), [("imagenet", 32, 1), ("imagenet", 64, 2), ("cifar", 32, 4), ("cifar", 64, 8)])
def test_the_size_of_the_map(stem, size, side):
    assert lived_in(stem).evidence(images(1, size)).shape == (1, side, side)


@torch.no_grad()
def test_the_imagenet_stem_is_torchvisions_network():
    ours = lived_in("imagenet")
    theirs = torchvision.models.resnet18(num_classes=1).eval()
    theirs.load_state_dict(ours.backbone.state_dict())
    torch.testing.assert_close(ours(images(4)), theirs(images(4))[:, 0], rtol=0, atol=0)


def test_the_cifar_stem_keeps_the_size():
    network = ResNet18(stem="cifar")
    first = network.backbone.conv1
    assert (first.kernel_size, first.stride, first.padding, first.bias) == ((3, 3), (1, 1), (1, 1), None)
    assert isinstance(network.backbone.maxpool, torch.nn.Identity)
    # He et al. 2015: variance 2 / fan_out, fan_out = 64 * 3 * 3
    assert float(first.weight.detach().var()) == pytest.approx(2 / (64 * 9), rel=0.15)


def test_the_same_seed_gives_the_same_first_weights():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in ResNet18(stem="cifar").parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


@pytest.mark.parametrize(("stem", "hint"), [("cifar10", "did you mean 'cifar'"), ("", "known: imagenet, cifar"), (None, "known")])
def test_an_unknown_stem_is_refused(stem, hint):
    with pytest.raises(ConfigError, match=hint):
        ResNet18(stem=stem)


# ---------------------------------------------------------------- EvidenceNet


def test_evidence_net_has_under_a_million_weights():
    assert sum(weight.numel() for weight in EvidenceNet().parameters()) < 1_000_000


@torch.no_grad()
@pytest.mark.parametrize(("size", "side"), [(32, 8), (24, 6), (33, 9), (64, 16), (4, 1), (1, 1)])
def test_evidence_net_takes_any_size_and_its_map_is_a_quarter_of_it(size, side):
    network = EvidenceNet().eval()
    batch = images(2, size)
    evidence = network.evidence(batch)
    assert evidence.shape == (2, side, side)
    torch.testing.assert_close(network(batch), evidence.mean(dim=(1, 2)))


@torch.no_grad()
def test_the_evidence_is_local():
    torch.manual_seed(0)
    network = EvidenceNet().eval()
    before = images(1, 256)
    after = before.clone()
    after[..., :32, :32] = 0
    changed = (network.evidence(before) != network.evidence(after))[0]
    assert changed[:8, :8].all()
    assert not changed[24:].any(), "a corner says nothing of what lies 64 pixels away"
    assert not changed[:, 24:].any()


@torch.no_grad()
def test_a_residual_block_begins_as_nothing():
    torch.manual_seed(0)
    block = EvidenceNet().stage1[1].eval()
    hidden = torch.rand(2, 64, 5, 5)
    assert torch.equal(block(hidden), hidden)


@pytest.mark.parametrize("module", ["fauxto.training", "fauxto.models.nets", "fauxto.export"])
def test_without_torch_there_is_a_sentence(module):
    code = f"import sys; sys.modules['torch'] = None\nimport {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: this needs the package torch, which is not installed: pip install 'fauxto[train]'" in done.stderr
