"""models.general: what pictures show and how strong they are has no say, a known network stays, and answers are on one scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fauxto.errors import DataError
from fauxto.export import MAX_LOGIT_DIFFERENCE, export_onnx
from fauxto.models.general import HIGH, MEDIAN, MOST_BALANCE, NEEDED, GeneralNet, TraceNet
from fauxto.models.routing import is_on_grid
from fauxto.perturb import perturbed
from fauxto.preprocess import PreprocessSpec


def photographs(n: int, *, size: int = 32) -> np.ndarray:
    rough = np.random.default_rng(0).uniform(0, 255, (n, size, size, 3)).astype(np.uint8)
    return perturbed(rough, "blur-0.8")


def as_input(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture(scope="module")
def both() -> torch.Tensor:
    """24 images as they are, and the same on the codec's grid."""
    images = photographs(24)
    return as_input(np.concatenate([images, perturbed(images, "jpeg-75")]))


@pytest.fixture
def lived_in(both: torch.Tensor) -> GeneralNet:
    """Weights of chance, statistics of these images, and a scale of its own for each route."""
    torch.manual_seed(0)
    network = GeneralNet(temperature=1.5)
    with torch.no_grad():
        for _ in range(30):
            network.train()(both)
        for name, weight in network.named_parameters():
            weight.mul_(100 if "head" in name and name.endswith("weight") else 1)  # answers that differ
        network.get_buffer("scale").copy_(torch.tensor([0.7, 1.3]))
        network.get_buffer("shift").copy_(torch.tensor([-1.0, 0.5]))
        network.get_buffer("balance").fill_(2.5)
    return network.eval()


@pytest.mark.parametrize("kind", [TraceNet, GeneralNet])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47)])
def test_any_size_has_a_map_whose_mean_is_the_logit(kind: type, height: int, width: int) -> None:
    torch.manual_seed(0)
    network, images = kind().eval(), torch.rand(2, 3, height, width) * 2 - 1
    with torch.no_grad():
        evidence, logits = network.evidence(images), network(images)
    assert evidence.shape == (2, -(-height // 4), -(-width // 4))
    torch.testing.assert_close(evidence.mean((1, 2)), logits, atol=1e-5, rtol=1e-5)


def test_the_residual_of_a_single_pixel_is_the_filter() -> None:
    image = torch.zeros(1, 3, 9, 9)
    image[0, 1, 4, 4] = 1.0
    found = TraceNet().residual(image)[0, :, 3:6, 3:6]
    assert not found[0].any(), "colours stay apart"
    torch.testing.assert_close(found[1] / found[1, 1, 1], torch.tensor([[0.25, -0.5, 0.25], [-0.5, 1, -0.5], [0.25, -0.5, 0.25]]))


def test_neither_brightness_nor_contrast_has_a_say_in_traces() -> None:
    torch.manual_seed(0)
    network = TraceNet().eval()
    weak = (torch.rand(4, 3, 32, 32) - 0.5) * 0.8
    weak[1] = weak[1, :, :, :1].expand(3, 32, 32)  # other textures: stripes, and one colour
    weak[2] = weak[2, :1].expand(3, 32, 32)
    with torch.no_grad():
        logits = network(weak)
        for changed in (2 * weak, weak + 0.1):
            assert (network(changed) - logits).abs().max() < 0.2 * logits.std(), "far less than what textures do"


@pytest.mark.parametrize("kind", [TraceNet, GeneralNet])
def test_a_flat_image_gives_a_number(kind: type) -> None:
    images = torch.full((2, 3, 32, 32), 0.3)
    assert torch.isfinite(kind().eval()(images)).all()
    assert torch.isfinite(kind().train()(images)).all()


def test_the_odds_of_both_add_up(lived_in: GeneralNet, both: torch.Tensor) -> None:
    with torch.no_grad():
        known, others = lived_in.known(both) / 1.5, lived_in._of_others(both, is_on_grid(both)).mean((1, 2))
        torch.testing.assert_close(lived_in(both), torch.logaddexp(known, others), atol=1e-5, rtol=1e-5)


def test_each_image_is_asked_by_its_own_route_alone_and_as_in_a_batch(lived_in: GeneralNet, both: torch.Tensor) -> None:
    with torch.no_grad():
        together = lived_in._of_others(both, is_on_grid(both)).mean((1, 2))
        for at in (0, 30):
            alone = lived_in._of_others(both[at : at + 1], is_on_grid(both[at : at + 1])).mean((1, 2))
            torch.testing.assert_close(alone, together[at : at + 1], atol=1e-5, rtol=1e-4)
        shapes, traces = lived_in.shapes(both), lived_in.traces(both)
        wanted = torch.where(is_on_grid(both), shapes * 0.7 - 1, (shapes + 2.5 * traces) * 1.3 + 0.5)
    torch.testing.assert_close(together, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n_on_grid", [0, 1, 5, 7, 8])
def test_a_training_step_moves_the_new_networks_alone(both: torch.Tensor, n_on_grid: int) -> None:
    torch.manual_seed(0)
    network = GeneralNet().train()
    before = {name: value.clone() for name, value in network.known.state_dict().items()}
    images = torch.cat([both[24 : 24 + n_on_grid], both[: 8 - n_on_grid]])
    assert int(is_on_grid(images).sum()) == n_on_grid
    logits = network(images)
    assert logits.shape == (8,)
    (logits * torch.arange(8.0)).sum().backward()
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    assert all(weight.grad is not None for weight in learning), "several processes would wait for a weight without a part"
    torch.optim.SGD(learning, lr=0.1).step()
    assert all(torch.equal(value, before[name]) for name, value in network.known.state_dict().items())
    assert network.shapes.training
    assert network.traces.training


def test_in_training_each_answer_stays_with_its_image(both: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    network = GeneralNet().train()
    monkeypatch.setattr(network.shapes, "evidence", lambda images: images[:, 0, ::4, ::4])
    monkeypatch.setattr(network.traces, "evidence", lambda images: 10 * images[:, 1, ::4, ::4])
    mixed = both[torch.arange(48).reshape(2, 24).T.flatten()]
    has_traces = (~is_on_grid(mixed)).float()[:, None, None]
    wanted = mixed[:, 0, ::4, ::4] + 10 * has_traces * mixed[:, 1, ::4, ::4]
    torch.testing.assert_close(network._of_others(mixed, is_on_grid(mixed)), wanted)


def test_levelled_photographs_get_the_same_median_and_quantile_on_both_routes(lived_in: GeneralNet, both: torch.Tensor) -> None:
    both_quantiles = torch.tensor([0.5, 0.95])
    for _ in range(2):  # what is levelled once more stays
        lived_in.level(both)
        with torch.no_grad():
            others, route, whole = lived_in._of_others(both, is_on_grid(both)).mean((1, 2)), is_on_grid(both), lived_in(both)
        for logits in (others[route], others[~route]):
            found = torch.quantile(logits, both_quantiles)
            torch.testing.assert_close(found, torch.tensor([MEDIAN, HIGH]), atol=1e-3, rtol=0)
        of_whole = [torch.quantile(whole[chosen], both_quantiles) for chosen in (route, ~route)]
        torch.testing.assert_close(of_whole[0], of_whole[1], atol=1e-3, rtol=0)
    assert lived_in.get_buffer("whole_scale")[0] == 1, "on the grid, the known answers are calibrated and stay"
    assert lived_in.get_buffer("whole_shift")[0] == 0


def test_both_networks_count_alike_where_both_answer(lived_in: GeneralNet, both: torch.Tensor) -> None:
    lived_in.level(both)
    off = both[~is_on_grid(both)]
    with torch.no_grad():
        low_and_high = [torch.quantile(network(off), torch.tensor([0.5, 0.95])) for network in (lived_in.shapes, lived_in.traces)]
    spreads = [float(high - low) for low, high in low_and_high]
    assert float(lived_in.get_buffer("balance")) == pytest.approx(spreads[0] / spreads[1], rel=1e-4)
    assert spreads[0] != pytest.approx(spreads[1], rel=0.01)
    with torch.no_grad():
        for weight in lived_in.traces.head.parameters():
            weight.mul_(1e-6)
    lived_in.level(both)
    assert float(lived_in.get_buffer("balance")) == MOST_BALANCE, "what says nothing is not heard"


def test_damaged_photographs_off_the_grid_raise_the_high_quantile_alone(lived_in: GeneralNet, both: torch.Tensor) -> None:
    off = both[~is_on_grid(both)]
    damaged = torch.cat([off + 0.2 * torch.randn(off.shape, generator=torch.Generator().manual_seed(0)), both[24:]])
    assert is_on_grid(damaged).sum() == 24, "what lies on the grid has no say"
    lived_in.level(both, damaged)
    with torch.no_grad():
        clean, all_of_them = (
            lived_in._of_others(some, is_on_grid(some)).mean((1, 2)) for some in (off, torch.cat([off, damaged[:24]]))
        )
        on, whole, together = lived_in(both[24:]), lived_in(off), lived_in(torch.cat([off, damaged[:24]]))
    assert float(torch.quantile(clean, 0.5)) == pytest.approx(MEDIAN, abs=1e-3)
    assert float(torch.quantile(all_of_them, 0.95)) == pytest.approx(HIGH, abs=1e-3)
    assert float(torch.quantile(clean, 0.95)) != pytest.approx(HIGH, abs=1e-2)
    assert float(torch.quantile(whole, 0.5)) == pytest.approx(float(torch.quantile(on, 0.5)), abs=1e-3)
    assert float(torch.quantile(together, 0.95)) == pytest.approx(float(torch.quantile(on, 0.95)), abs=1e-3)


def test_too_few_photographs_of_one_kind_are_refused(lived_in: GeneralNet, both: torch.Tensor) -> None:
    lived_in.level(both[: 24 + NEEDED])
    with pytest.raises(DataError, match=f"{NEEDED - 1} validation photographs are saved as JPEG of quality 75, {NEEDED} are"):
        lived_in.level(both[: 24 + NEEDED - 1])
    with pytest.raises(DataError, match="0 validation photographs are saved otherwise"):
        lived_in.level(both[24:])


def test_onnx_gives_its_answers(lived_in: GeneralNet, both: torch.Tensor, tmp_path) -> None:
    import onnxruntime

    lived_in.level(both)
    export_onnx(lived_in, PreprocessSpec(), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    logit, evidence = session.run(None, {session.get_inputs()[0].name: both.numpy()})
    with torch.no_grad():
        expected = lived_in(both).numpy()
    np.testing.assert_allclose(logit, expected, atol=MAX_LOGIT_DIFFERENCE * max(1, np.abs(expected).max()))
    np.testing.assert_allclose(evidence.mean((1, 2)), logit, atol=1e-3)
