"""models.routing: which images lie on the codec's grid, and a network that learns more for these alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fauxto.models.nets import EvidenceNet, RoutedNet
from fauxto.models.routing import STEPS, RoutedConvolution, RoutedNorm, is_on_grid
from fauxto.perturb import perturbed


def photographs() -> np.ndarray:
    rng = np.random.default_rng(0)
    rough = rng.uniform(0, 255, (64, 32, 32, 3))
    return perturbed(rough.astype(np.uint8), "blur-0.8")


def as_input(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_the_steps_are_those_that_pillow_writes_at_quality_75(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", quality=75)
    with Image.open(tmp_path / "a.jpg") as image:
        assert [step for row in STEPS for step in row] == list(image.quantization[0])


@pytest.mark.parametrize("name", ["jpeg-75", "jpeg444-75", "jpeg-40+jpeg-75", "noise-0.05+jpeg-75"])
def test_what_was_saved_at_quality_75_last_lies_on_the_grid(name):
    assert is_on_grid(as_input(perturbed(photographs(), name))).all()


@pytest.mark.parametrize("name", ["blur-0.4", "jpeg-40", "jpeg-60", "jpeg-75+noise-0.1", "jpeg-75+resize-0.75", "webp-50"])
def test_all_else_does_not(name):
    assert not is_on_grid(as_input(perturbed(photographs(), name))).any()


def test_the_mirror_image_lies_where_the_image_does_and_a_moved_one_does_not():
    saved = perturbed(photographs(), "jpeg-75")
    assert is_on_grid(as_input(saved[:, :, ::-1].copy())).all()
    assert not is_on_grid(as_input(np.roll(saved, 3, axis=2))).any()


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (33, 20)])
def test_any_size_gets_an_answer(size):
    assert is_on_grid(torch.rand(3, 3, *size)).shape == (3,)


def test_half_precision_around_it_changes_nothing():
    batch = as_input(perturbed(photographs(), "jpeg-75"))
    with torch.autocast("cpu", torch.bfloat16):
        assert is_on_grid(batch).all()


def lived_in(network: EvidenceNet) -> EvidenceNet:
    """Weights and statistics that are no longer those it was born with."""
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if "running_mean" in name or "up.weight" in name:
            torch.nn.init.normal_(value, std=0.1)
        elif "running_var" in name or name.endswith("norm.weight"):
            torch.nn.init.uniform_(value, 0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def plain() -> EvidenceNet:
    return lived_in(EvidenceNet())


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    """Every third image on the grid."""
    images = photographs()
    return as_input(np.where((np.arange(len(images)) % 3 == 0)[:, None, None, None], perturbed(images, "jpeg-75"), images))


@torch.no_grad()
def test_at_first_it_answers_as_the_network_it_goes_on_from(plain, batch):
    torch.testing.assert_close(RoutedNet(plain).eval()(batch), plain(batch))


@torch.no_grad()
def test_it_learns_for_images_on_the_grid_only(plain, batch):
    network, route = RoutedNet(plain).train(), is_on_grid(batch)
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(3):
        with torch.enable_grad():
            network(batch).mean().backward()
        optimizer.step()
    found = network.eval()(batch)
    assert route.any()
    assert not route.all()
    torch.testing.assert_close(found[~route], plain(batch)[~route])
    assert ((found - plain(batch)).abs()[route] > 1e-3).all()


@torch.no_grad()
def test_each_image_gets_its_own_answer_whatever_lies_beside_it(batch):
    network, route = lived_in(RoutedNet()), is_on_grid(batch)
    together = network(batch)
    torch.testing.assert_close(together[route], network(batch[route]))
    torch.testing.assert_close(together[~route], network(batch[~route]))
    assert not torch.allclose(network._evidence(batch, ~route), network.evidence(batch)), "the routes differ"


@torch.no_grad()
def test_training_and_answering_convolve_alike(batch):
    torch.manual_seed(0)
    layer = RoutedConvolution(torch.nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False), rank=2)
    torch.nn.init.normal_(layer.up.weight)
    route = torch.tensor([True] * 4 + [False] * 6)
    torch.testing.assert_close(layer(batch[:10], 4), layer(batch[:10], route), rtol=1e-4, atol=1e-5)
    by_hand = torch.einsum("or,rihw->oihw", layer.up.weight[..., 0, 0], layer.down.weight) + layer.base.weight
    expected = torch.nn.functional.conv2d(batch[:4], by_hand, stride=2, padding=1)
    torch.testing.assert_close(layer(batch[:10], route)[:4], expected, rtol=1e-4, atol=1e-5)


def test_with_no_image_on_the_grid_every_weight_still_has_a_gradient(plain, batch):
    """Several processes would wait for it."""
    network = RoutedNet(plain).train()
    network(batch[~is_on_grid(batch)]).sum().backward()
    for name, weight in network.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
        assert weight.grad is None or not weight.grad.any(), name


def test_in_training_answers_come_in_the_order_of_the_images(plain, batch):
    torch.manual_seed(0)
    network = RoutedNet(plain).train()
    order = torch.randperm(len(batch))
    torch.testing.assert_close(network(batch)[order], network(batch[order]), rtol=1e-3, atol=1e-4)


def test_a_norm_in_training_has_statistics_of_the_images_on_the_grid_only():
    norm = RoutedNorm(torch.nn.BatchNorm2d(2)).train()
    hidden = torch.cat([torch.randn(8, 2, 4, 4) + 5, 3 * torch.randn(6, 2, 4, 4)])
    found = norm(hidden, 8)
    torch.testing.assert_close(found[:8].mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[8:], hidden[8:] / (1 + 1e-5) ** 0.5)
    assert (norm.on_grid.running_mean > 0.4).all()
    assert not norm.off_grid.running_mean.any()


def test_it_has_under_a_million_weights():
    assert sum(weight.numel() for weight in RoutedNet().parameters()) < 1_000_000
