"""The networks and what they minimise: shapes, causality, values worked out by hand, other libraries' answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import logistic

from fauxto.errors import ConfigError
from fauxto.forge import autoencoders, gans
from fauxto.forge.autoencoders import Autoencoder, AutoencoderConfig, Codebook, Gaussian, distance
from fauxto.forge.autoregressive import AutoregressiveConfig, Codes, Pixels, in_waves
from fauxto.forge.blocks import Residual, conv, up
from fauxto.forge.diffusion import _stepped, signal_and_noise
from fauxto.forge.game import GanConfig, critic_loss, generator_loss, gradient_penalty
from fauxto.forge.gans import Modulated
from fauxto.forge.logistics import FIRST_LOG_SCALE, draw_pixels, pixel_loss
from fauxto.forge.unet import UNet
from fauxto.forge.workshop import Workshop, seeded, to_pixels
from fauxto.mapping import from_mapping

CPU = torch.device("cpu")


@pytest.mark.parametrize("how", ["transposed", "nearest", "bilinear", "shuffle"])
@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_sizes_double_and_halve(how: str, kernel: int) -> None:
    x = torch.zeros(1, 2, 6, 4)
    assert up(2, 3, how, kernel)(x).shape == (1, 3, 12, 8)
    assert conv(2, 3, kernel)(x).shape == (1, 3, 6, 4)
    assert conv(2, 3, kernel, stride=2)(x).shape == (1, 3, 3, 2)


def test_a_residual_begins_as_the_identity() -> None:
    x = torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(Residual(8, kernel=4)(x), x)


@pytest.mark.parametrize("latent", ["kl", "vq"])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_latents_hold_a_third_of_the_numbers(latent: str, factor: int) -> None:
    config = from_mapping(AutoencoderConfig, {"latent": latent, "factor": factor, "width": 8})
    network = Autoencoder(config).eval()
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    n_out = network.encoder(images).shape[1:]
    assert n_out == (factor**2 * (2 if latent == "kl" else 1), 16 // factor, 16 // factor)
    made, loss = network(images)
    assert made.shape == images.shape
    assert loss.ndim == 0


def test_gaussian_by_hand() -> None:
    mean, log_variance = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), math.log(4.0))
    sample, loss = Gaussian().eval()(torch.cat([mean, log_variance], dim=1))
    assert sample.item() == 2.0
    wanted = torch.distributions.kl_divergence(torch.distributions.Normal(2.0, 2.0), torch.distributions.Normal(0.0, 1.0))
    assert loss.item() == pytest.approx(1e-4 * wanted.item())


def test_codebook_takes_the_nearest_and_lets_gradients_through() -> None:
    book = Codebook(2, 1, 3).eval()
    book.codes.data = torch.tensor([[0.0], [1.0], [5.0]])
    latents = torch.tensor([[[[0.2]], [[3.5]]]], requires_grad=True)
    found, loss = book(latents)
    assert found.flatten().tolist() == [0.0, 5.0]
    assert loss.item() == pytest.approx(1.25 * (0.2**2 + 1.5**2) / 2)
    found.sum().backward()
    assert latents.grad is not None
    assert latents.grad.flatten().tolist() == [1.0, 1.0]


def test_unused_codes_begin_again_at_latents() -> None:
    book = Codebook(1, 1, 4, renew_every=1).train()
    book.codes.data = torch.full((4, 1), 100.0)
    book(torch.tensor([[[[7.0, 8.0]]]]))
    assert set(book.codes.flatten().tolist()) <= {7.0, 8.0}


def test_codes_and_back() -> None:
    network = Autoencoder(AutoencoderConfig(latent="vq", width=8, code_width=4)).eval()
    images = torch.rand(2, 3, 16, 16)
    codes = network.codes(images)
    assert codes.shape == (2, 4, 16)
    torch.testing.assert_close(network.decode(network.latents(codes)), network(images)[0])


def test_distances_by_hand() -> None:
    images, made = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5)
    assert distance(made, images, "l2").item() == 0.25
    assert distance(made, images, "l1").item() == 0.5
    assert distance(made, images, "perceptual").item() == 0.5, "a shift has no gradients"


def test_reconstructions_get_better(workshop: Workshop) -> None:
    losses = []
    for n_steps in (2, 150):
        with seeded(0, CPU):
            autoencoders.train(AutoencoderConfig(factor=2, width=8, n_steps=n_steps, batch_size=8, learning_rate=5e-3), workshop)
        losses.append(workshop.final_loss())
    assert losses[1] < losses[0] / 2


def test_gan_losses_by_hand() -> None:
    real, fake = torch.tensor([2.0]), torch.tensor([0.5])
    assert critic_loss(real, fake, "wasserstein").item() == -1.5
    assert critic_loss(real, fake, "hinge").item() == 1.5
    crossed = F.binary_cross_entropy_with_logits(torch.cat([real, fake]), torch.tensor([1.0, 0.0]), reduction="sum")
    assert critic_loss(real, fake, "bce").item() == pytest.approx(crossed.item())
    assert generator_loss(fake, "hinge").item() == -0.5
    assert generator_loss(fake, "bce").item() == pytest.approx(F.binary_cross_entropy_with_logits(fake, torch.ones(1)).item())


def test_gradient_penalties_by_hand() -> None:
    images = torch.zeros(2, 1, 1, 2)

    def critic(x: torch.Tensor) -> torch.Tensor:
        return 3 * x[:, 0, 0, 0] + 4 * x[:, 0, 0, 1]

    assert gradient_penalty(critic, images, images, "softplus").item() == pytest.approx(25)  # type: ignore[arg-type]
    assert gradient_penalty(critic, images, images, "wasserstein").item() == pytest.approx(16)  # type: ignore[arg-type]


def test_modulation_is_that_of_a_convolution_with_scaled_weights() -> None:
    with seeded(0, CPU):
        layer = Modulated(3, 5, 4)
        layer.noise.data.zero_()
        x, style = torch.randn(2, 3, 6, 6), torch.randn(2, 4)
        found = layer(x, style)
    for one in range(2):
        weight = layer.conv.weight * layer.scale(style[one])[None, :, None, None]
        weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).add(1e-8).sqrt()
        bias = (
            layer.conv.bias
            / (layer.conv.weight * layer.scale(style[one])[None, :, None, None]).square().sum(dim=(1, 2, 3)).sqrt()
        )
        made = F.conv2d(x[one : one + 1], weight, padding=1) + bias[None, :, None, None]
        torch.testing.assert_close(found[one : one + 1], F.leaky_relu(made, 0.2) * 2**0.5, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("block", ["plain", "residual", "style"])
def test_generators_and_critics_fit_the_size(size: int, block: str) -> None:
    config = from_mapping(GanConfig, {"block": block, "width": 8, "critic_norm": "spectral"})
    build = gans.Styled if block == "style" else gans.Convolutional
    images = build(config, size)(torch.randn(2, config.n_noise))
    assert images.shape == (2, 3, size, size)
    assert gans.Critic(config, size)(images).shape == (2,)


def test_times_mix_image_and_noise() -> None:
    signal, rest = signal_and_noise(torch.tensor([0.0, 0.3, 1.0]))
    torch.testing.assert_close(signal**2 + rest**2, torch.ones(3))
    assert signal.tolist() == sorted(signal.tolist(), reverse=True)
    assert signal_and_noise(0.3) == pytest.approx((signal[1].item(), rest[1].item()))


@pytest.mark.parametrize("predicts", ["noise", "velocity"])
def test_a_perfect_prediction_leads_to_the_image(predicts: str) -> None:
    image, noise = torch.full((1, 3, 2, 2), 0.4), torch.randn(1, 3, 2, 2)
    signal, rest = signal_and_noise(0.6)
    signal_then, rest_then = signal_and_noise(0.2)
    made = noise if predicts == "noise" else signal * noise - rest * image
    x = signal * image + rest * noise
    torch.testing.assert_close(_stepped(x, made, 0.6, 0.2, predicts, 0.0), signal_then * image + rest_then * noise)
    torch.testing.assert_close(_stepped(x, made, 0.6, 0.0, predicts, 1.0), image)


def test_ddpm_keeps_the_noise_of_every_time() -> None:
    with seeded(0, CPU):
        image, noise = torch.zeros(1, 1, 200, 200), torch.randn(1, 1, 200, 200)
        _, rest = signal_and_noise(0.6)
        found = _stepped(rest * noise, noise, 0.6, 0.3, "noise", 1.0)
    assert found.std().item() == pytest.approx(signal_and_noise(0.3)[1], rel=0.02)
    assert abs(np.corrcoef(found.flatten(), noise.flatten())[0, 1]) < 0.95, "some of it is fresh"
    assert image.shape == found.shape


@pytest.mark.parametrize("patch", [1, 2])
def test_unet_begins_with_nothing_and_knows_time_and_class(patch: int) -> None:
    network = UNet(width=8, patch=patch, n_classes=3)
    x, t, classes = torch.randn(2, 3, 16, 16), torch.tensor([0.1, 0.9]), torch.tensor([0, 3])
    torch.testing.assert_close(network(x, t, classes), torch.zeros_like(x))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    plain = network(x, t, classes)
    assert plain.shape == x.shape
    assert not torch.allclose(plain, network(x, t.flip(0), classes))
    assert not torch.allclose(plain, network(x, t, classes.flip(0)))


def scrambled(network: torch.nn.Module) -> torch.nn.Module:
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def test_no_pixel_sees_itself_or_what_comes_after() -> None:
    network = scrambled(Pixels(AutoregressiveConfig(width=8, n_blocks=3, n_mixtures=1)))
    images = torch.randn(1, 3, 6, 6, requires_grad=True)
    network.answers(images)[0, :, 3, 2].sum().backward()
    assert images.grad is not None
    seen = images.grad[0].abs().sum(dim=0) > 0
    assert not seen[3, 2:].any()
    assert not seen[4:].any()
    assert seen[3, 1]
    assert seen[2, 3]


def test_waves_draw_what_one_by_one_would() -> None:
    """With draws that follow from the distribution alone, both orders must give the same image."""
    network = scrambled(Pixels(AutoregressiveConfig(width=8, n_blocks=2, n_mixtures=1))).answers

    def draw(found: torch.Tensor) -> torch.Tensor:
        return torch.tanh(found[:, 1:4])

    with torch.no_grad():
        found = in_waves(torch.zeros(2, 3, 5, 7), network, draw)
        slowly = torch.zeros(2, 3, 5, 7)
        for row in range(5):
            for column in range(7):
                slowly[:, :, row, column] = draw(network(slowly)[:, :, row, column])
    torch.testing.assert_close(found, slowly)


def test_codes_of_one_position_stand_side_by_side() -> None:
    torch.manual_seed(0)
    config = AutoregressiveConfig(over="codes", width=8, n_blocks=1, n_codes=8)
    network = Codes(config, Autoencoder(AutoencoderConfig(latent="vq", width=8, n_codes=8)).eval())
    images = torch.rand(2, 3, 16, 16)
    assert network.answers(network.autoencoder.codes(images)).shape == (2, 8, 4, 16)
    assert network.loss(images).item() == pytest.approx(math.log(8), rel=0.2), "untrained, all codes are about as likely"
    assert network.drawn(3, 16, 1.0, CPU).shape == (3, 3, 16, 16)


def test_pixel_loss_is_scipys() -> None:
    with seeded(0, CPU):
        found = torch.randn(1, 10, 1, 2).double()
    images = torch.tensor([[[[-1.0, 3 / 127.5]], [[1.0, 10 / 127.5]], [[0.2, -0.5]]]]).double()
    total = 0.0
    for at in range(2):
        row, (red, green, blue) = found[0, :, 0, at].numpy(), images[0, :, 0, at].numpy()
        a, b, c = np.tanh(row[7:])
        means = (row[1], row[2] + a * red, row[3] + b * red + c * green)
        for value, mean, log_scale in zip((red, green, blue), means, row[4:7] + FIRST_LOG_SCALE, strict=True):
            law = logistic(mean, np.exp(log_scale))
            low = 0.0 if value == -1 else law.cdf(value - 1 / 255)
            high = 1.0 if value == 1 else law.cdf(value + 1 / 255)
            total -= math.log2(high - low) / 6
    assert pixel_loss(images, found).item() == pytest.approx(total, rel=1e-9)


def test_pixels_are_drawn_where_the_mixture_lies() -> None:
    row = torch.zeros(1, 20)
    row[0, :2] = torch.tensor([50.0, -50.0])  # always the first of two
    means, log_scales = torch.tensor([[0.5, -0.9], [-0.25, 0.9], [0.1, 0.9]]), torch.full((3, 2), -7.0)
    row[0, 2:14] = torch.cat([means.flatten(), log_scales.flatten()])
    with seeded(0, CPU):
        drawn = draw_pixels(row.expand(500, -1), 1.0)
    torch.testing.assert_close(drawn.mean(dim=0), means[:, 0], atol=0.01, rtol=0)
    levels = (drawn + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)


def test_pixels_of_every_level_come_back(workshop: Workshop, photographs: np.ndarray) -> None:
    np.testing.assert_array_equal(to_pixels(workshop.real(torch.arange(20))), photographs)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="factor"):
        from_mapping(AutoencoderConfig, {"factor": 3})
