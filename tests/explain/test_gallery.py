from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fauxto.data.sources import open_source
from fauxto.data.store import Store, open_store
from fauxto.detector import Detector
from fauxto.errors import DiskFullError, ImageError, UsageError
from fauxto.explain import gallery
from fauxto.explain.cam import Explainer
from fauxto.explain.gallery import explain_paths, pick_cases, strip, write_gallery
from fauxto.explain.pictures import colour_bar, enlarged, palette
from fauxto.runs import whole_folder


class Reddish(nn.Module):
    """Logit = mean of red - blue."""

    def __init__(self) -> None:
        super().__init__()
        self.planes = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.planes.weight.copy_(torch.eye(3)[[0, 2], :, None, None])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.planes(images)
        return (maps[:, 0] - maps[:, 1]).mean(dim=(1, 2))


@pytest.fixture
def explainer() -> Explainer:
    card = {
        "name": "red <b>&",
        "preprocessing": {"size": 8, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "calibration": {"temperature": 1.0},
        "threshold": 0.5,
        "scope": {"min_side": 1, "max_side": 64},
        "trained_on": {},
    }
    return Explainer(Detector(Path("nowhere"), card), Reddish(), ("planes",))


@pytest.fixture
def coloured(tmp_path: Path) -> Store:
    """Four fake red, two fake blue (wrong), three real blue images; no real image is called fake."""
    rng = np.random.default_rng(0)
    for label, colour, n_images in (("FAKE", 0, 4), ("FAKE", 2, 2), ("REAL", 2, 3)):
        for number in range(n_images):
            pixels = rng.integers(0, 40, (8, 8, 3), dtype=np.uint8)
            pixels[..., colour] += np.uint8(60 + 30 * number)
            path = tmp_path / "data" / label / f"{'rgb'[colour]}<i>{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return open_store(open_source(tmp_path / "data"), cache=tmp_path / "cache")


def pictures_in(page: str) -> list[Image.Image]:
    payloads = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in payloads]


def test_pick_cases_by_hand():
    is_fake = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
    logits = np.array([3.0, 9.0, 1.0, -2.0, 5.0, -4.0, 2.0, -8.0])
    wrong_fake, wrong_real, right_fake, right_real = pick_cases(
        np.arange(100, 108), is_fake, logits >= 0, logits, n_each=3, seed=0
    )
    assert [(each.truth, each.called, each.n_images) for each in (wrong_fake, wrong_real, right_fake, right_real)] == [
        ("fake", "real", 1), ("real", "fake", 1), ("fake", "fake", 4), ("real", "real", 2),
    ]  # fmt: skip
    assert wrong_fake.cases == ((103, "most confident"),)
    assert wrong_real.cases == ((106, "most confident"),)
    assert right_fake.cases[:2] == ((101, "most confident"), (104, "most confident"))
    assert right_fake.cases[2][0] in (100, 102)
    assert right_fake.cases[2][1] == "drawn at random"
    assert right_real.cases == ((107, "most confident"), (105, "most confident"))
    assert right_fake.title == "Fake images called fake (right): 3 of 4"
    assert wrong_real.title == "Real images called fake (wrong): 1 of 1"


def test_pick_cases_draws_differently_with_another_seed_and_equally_with_the_same():
    logits = np.linspace(1, 2, 200)

    def drawn(seed: int) -> tuple[tuple[int, str], ...]:
        return pick_cases(np.arange(200), np.ones(200, bool), logits > 0, logits, n_each=8, seed=seed)[2].cases

    assert drawn(1) == drawn(1)
    assert drawn(1)[:4] == drawn(2)[:4] == tuple((at, "most confident") for at in (199, 198, 197, 196))
    assert drawn(1)[4:] != drawn(2)[4:]
    assert len({at for at, _ in drawn(1)}) == 8


def test_gallery_holds_every_group_and_needs_no_other_file(explainer: Explainer, coloured: Store, tmp_path: Path):
    page = write_gallery(explainer, coloured, range(len(coloured)), tmp_path / "out", n_each=2)
    assert page == tmp_path / "out" / "gallery.html"
    text = page.read_text(encoding="utf-8")
    expected = ["cases.json", "fake-called-fake.png", "fake-called-real.png", "gallery.html", "real-called-real.png"]
    assert sorted(path.name for path in page.parent.iterdir()) == expected
    for title in (
        "fake called real (wrong): 2 of 2",
        "Real images called fake (wrong): 0 of 0",
        "(right): 2 of 4",
        "(right): 2 of 3",
    ):
        assert title.replace("fake called", "Fake images called") in text
    assert "There are none." in text
    assert text.count("map 8x8") == 1 + 6
    pictures = pictures_in(text)
    assert len(pictures) == 1 + 6  # the colour bar, then one strip per case
    assert {each.size for each in pictures[1:]} == {(3 * 160 + 2 * 8, 160)}
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", text)
    assert "color-scheme:light dark" in text


def test_gallery_escapes_names(explainer: Explainer, coloured: Store, tmp_path: Path):
    text = write_gallery(explainer, coloured, range(len(coloured)), tmp_path / "out").read_text(encoding="utf-8")
    assert "<i>" not in text
    assert "r&lt;i&gt;0.png" in text
    assert "red &lt;b&gt;&amp;" in text


def test_gallery_records_its_cases_and_is_repeatable(explainer: Explainer, coloured: Store, tmp_path: Path):
    pages = [write_gallery(explainer, coloured, range(9), tmp_path / name, n_each=2, seed=4) for name in ("one", "two")]
    assert pages[0].read_bytes() == pages[1].read_bytes()
    kept = json.loads((tmp_path / "one" / "cases.json").read_text())
    assert kept["seed"] == 4
    assert [group["n_images"] for group in kept["groups"]] == [2, 0, 4, 3]
    names = {coloured.records[position].path for position, _ in kept["groups"][0]["cases"]}
    assert names == {"FAKE/b<i>0.png", "FAKE/b<i>1.png"}


def test_gallery_chooses_only_from_the_positions_given(explainer: Explainer, coloured: Store, tmp_path: Path):
    real = np.flatnonzero(~coloured.is_fake)
    write_gallery(explainer, coloured, real, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "cases.json").read_text())
    assert [group["n_images"] for group in kept["groups"]] == [0, 0, 0, 3]
    assert sorted(position for position, _ in kept["groups"][3]["cases"]) == real.tolist()


def test_gallery_refusals_leave_nothing(explainer: Explainer, coloured: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for positions, n_each in (([], 8), ([0], 0)):
        with pytest.raises(UsageError, match="needs images and at least 1 case"):
            write_gallery(explainer, coloured, positions, tmp_path / "out", n_each=n_each)
    with pytest.raises(UsageError, match="no map can be taken"):
        write_gallery(explainer, coloured, [0], tmp_path / "out", layer="plane")

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gallery, "write_json", full)
    with pytest.raises(DiskFullError):
        write_gallery(explainer, coloured, [0], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "data"]


def test_both_overlays_of_a_strip_share_one_scale(explainer: Explainer):
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :4, 0], image[:, 4:, 2] = 200, 20
    fake, real = (explainer.explain([image], target=target)[0] for target in ("fake", "real"))
    assert real.map.max() == fake.map.max() == 1
    shown = np.asarray(strip(fake, real))
    left, right = shown[:, 168:328, :3].astype(int), shown[:, 336:, :3].astype(int)
    assert np.abs(left[80, 20] - (0.25 * np.array([200, 0, 0]) + 0.75 * palette()[255])).max() <= 1
    # a tenth of the fake map's strength: share 0.35 + 0.4 * 0.1
    assert np.abs(right[80, 140] - (0.61 * np.array([0, 0, 20]) + 0.39 * palette()[26])).max() <= 2
    assert shown[80, 163].tolist() == [0, 0, 0, 0]


def test_enlarged_equals_opencv():
    heat = np.random.default_rng(0).random((4, 4), np.float32)
    np.testing.assert_allclose(enlarged(heat, height=32, width=32), cv2.resize(heat, (32, 32)), atol=1e-5)
    smooth = enlarged(heat, height=40, width=64, is_smooth=True)
    assert smooth.shape == (40, 64)
    assert 0 <= smooth.min() <= smooth.max() <= 1


def test_colour_bar_runs_from_0_to_1_and_only_gets_brighter():
    bar = np.asarray(colour_bar(100, 7))
    assert bar.shape == (7, 100, 3)
    ends = np.array(matplotlib.colormaps["inferno"]([0.0, 1.0]))[:, :3] * 255
    np.testing.assert_allclose(bar[3, [0, -1]], ends, atol=1)
    brightness = bar[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(brightness) > -1).all()


def test_explain_paths_goes_on_after_a_broken_image(explainer: Explainer, tmp_path: Path):
    good = np.full((8, 8, 3), 100, np.uint8)
    for name in ("a/cat.png", "b/cat.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(good).save(tmp_path / name)
    (tmp_path / "text.png").write_text("no image")
    paths = [tmp_path / "a/cat.png", tmp_path / "text.png", tmp_path / "b/cat.png", tmp_path / "none.png"]
    done = explain_paths(explainer, paths, tmp_path / "out", target="real")
    assert [each.folder and each.folder.name for each in done] == ["cat", None, "cat-2", None]
    assert [isinstance(each.answer, ImageError) for each in done] == [False, True, False, True]
    assert done[2].path == str(paths[2])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat", "cat-2"]
    manifest = json.loads((tmp_path / "out/cat-2/manifest.json").read_text())
    assert (manifest["source"], manifest["target"]) == (str(paths[2]), "real")


def test_explain_paths_refusals_leave_nothing(explainer: Explainer, tmp_path: Path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ImageError, match=r"none of 1 images can be explained, .*text.png: this is not an image"):
        explain_paths(explainer, [tmp_path / "text.png"], tmp_path / "out")
    with pytest.raises(ImageError, match="none was named"):
        explain_paths(explainer, [], tmp_path / "out")
    with pytest.raises(UsageError, match="must be one of fake, real"):
        explain_paths(explainer, [tmp_path / "text.png"], tmp_path / "out", target="both")
    assert [path.name for path in tmp_path.iterdir()] == ["text.png"]


def test_whole_folder_refuses_an_existing_one_and_can_be_read_by_others(tmp_path: Path):
    with whole_folder(tmp_path / "new" / "one") as inside:
        assert not (tmp_path / "new" / "one").exists()
        (inside / "file").write_text("x")
    plain = tmp_path / "plain"
    plain.mkdir()
    assert (tmp_path / "new" / "one").stat().st_mode == plain.stat().st_mode
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one"]
    with pytest.raises(UsageError, match="already exists"), whole_folder(plain):
        pass
