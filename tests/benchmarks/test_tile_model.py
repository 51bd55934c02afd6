"""The model for tiles: its discriminant by definition, what it leaves out, two experts in one, and a tiny study as a whole."""

from __future__ import annotations

import csv
import io
import json
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from fauxto import bundled
from fauxto.checkpoint import MODEL, TILES_MODEL
from fauxto.data.store import load_data
from fauxto.models.general import HIGH, MEDIAN
from fauxto.perturb import perturbed
from fauxto.preprocess import normalised
from fauxto.tiles import TileRule

from .conftest import module

record, study, ship, experts, cards = (module(name) for name in ("record", "tile_model", "ship", "tile_experts", "tile_card"))
frozen_features = module("frozen_features")
Sources = frozen_features.Sources


FAKE, OTHER, PHOTOS = ("a", True), ("x", True), ("b", False)


def tiles_of(values: dict[experts.Key, np.ndarray]) -> experts.Tiles:
    """Return tiles, two to an image, of which these numbers were seen under the name "seen"."""
    names = [name for name, own in values.items() for _ in range(len(own) // 2)]
    sources = Sources(np.array([name for name, _ in names]), np.array([is_fake for _, is_fake in names]))
    return experts.Tiles(np.repeat(np.arange(len(names)), 2), {"seen": np.concatenate(list(values.values()))}, sources)


def test_the_discriminant_is_the_one_by_definition() -> None:
    rng = np.random.default_rng(0)
    values = {PHOTOS: rng.normal(size=(50, 3)), FAKE: rng.normal((0, 2, 0), (1, 5, 1), size=(40, 3))}
    weights, zero = experts.fisher(experts.moments_of(values), {PHOTOS: 1.0}, {FAKE: 1.0}, ridge=2.0)
    within = sum(np.cov(own.T, bias=True) / 2 for own in values.values())
    apart = values[FAKE].mean(axis=0) - values[PHOTOS].mean(axis=0)
    expected = np.linalg.inv(within + 2 * np.diag(np.diag(within))) @ apart
    np.testing.assert_allclose(weights / np.linalg.norm(weights), expected / np.linalg.norm(expected), atol=0.01)
    assert weights @ within @ weights == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(zero, (values[PHOTOS].mean(axis=0) + values[FAKE].mean(axis=0)) / 2)


def test_an_expert_learns_nothing_of_the_sources_left_out() -> None:
    rng = np.random.default_rng(0)
    values = {PHOTOS: rng.normal(size=(80, 2)), FAKE: rng.normal((3, 0), size=(80, 2)), OTHER: rng.normal((0, 3), size=(80, 2))}
    asked, others = tiles_of(values), tiles_of({**values, OTHER: rng.normal((50, -9), 7, size=(80, 2))})
    for left_out, is_same in ((OTHER, True), (FAKE, False)):
        pair = frozenset([left_out])
        one, other = (experts.discriminant("seen", each, ridge=0.1)(pair, asked) for each in (asked, others))
        assert np.array_equal(one, other) == is_same
    by_name = experts.discriminant("seen", others, ridge=0.1, left_out=lambda _: frozenset([OTHER]))
    plain = experts.discriminant("seen", asked, ridge=0.1)
    np.testing.assert_array_equal(by_name(frozenset(), asked), plain(frozenset([OTHER]), asked))


def test_a_pair_leaves_out_its_photographs_and_what_was_made_of_them() -> None:
    assert study.reconstructed(frozenset([("x", True), ("b", False)])) == {("b", False), ("b", True)}


def test_sources_of_photographs_set_the_scale_alike_and_those_left_out_do_not() -> None:
    many, few = np.linspace(0, 1, 600)[:, None], np.linspace(10, 11, 60)[:, None]
    tiles = tiles_of({("many", False): many, ("few", False): few, FAKE: np.full((60, 1), 99.0)})
    scores = tiles.seen["seen"][:, 0]
    times, added = experts.level_of(scores, frozenset(), tiles)
    assert times * scores.max(initial=0, where=scores < 5) + added == pytest.approx(MEDIAN, abs=0.01)
    assert times * 10.9 + added == pytest.approx(HIGH, abs=0.01)
    times, added = experts.level_of(scores, frozenset([("many", False)]), tiles)
    assert (times * 10.5 + added, times * 10.95 + added) == pytest.approx((MEDIAN, HIGH), abs=0.1)


def test_either_expert_is_enough_and_the_second_hides_no_photograph() -> None:
    rng = np.random.default_rng(0)
    values = {PHOTOS: rng.normal(size=(400, 2)), FAKE: rng.normal((9, 0), size=(60, 2)), OTHER: rng.normal((0, 9), size=(60, 2))}
    tiles = tiles_of(values)
    often, seldom = (lambda _, asked, at=at: asked.seen["seen"][:, at] for at in (0, 1))
    scores = experts.either(often, seldom, photographs=tiles)(frozenset(), tiles)
    photographs, fakes = scores[tiles.of(PHOTOS)], scores[np.concatenate([tiles.of(FAKE), tiles.of(OTHER)])]
    assert fakes.min() > photographs.max()
    assert np.corrcoef(photographs, values[PHOTOS][:, 0])[0, 1] > 0.9
    assert [len(each) for each in tiles.by_image(scores)] == [2] * 260


def test_together_is_the_mean_on_one_scale() -> None:
    rng = np.random.default_rng(0)
    tiles = tiles_of({PHOTOS: rng.normal(size=(400, 2)) * [1, 100], FAKE: rng.normal(2, size=(60, 2))})
    one, large = (lambda _, asked, at=at: asked.seen["seen"][:, at] for at in (0, 1))
    both = experts.together(one, large, photographs=tiles)(frozenset(), tiles)
    each = [experts.levelled(expert, frozenset(), tiles, tiles) for expert in (one, large)]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2)
    assert [np.median(own[tiles.of(PHOTOS)]) for own in each] == pytest.approx([MEDIAN, MEDIAN], abs=0.05)


def test_changes_are_those_that_their_names_say() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    for name, shape in (("jpeg-75", (300, 200, 3)), ("three quarters", (225, 150, 3)), ("half", (192, 128, 3))):
        assert study.change(name)(pixels).shape == shape
    np.testing.assert_array_equal(study.change("jpeg-75")(pixels), perturbed(pixels[None], "jpeg-75")[0])


def test_worst_shares_are_of_groups_of_one_class() -> None:
    groups = [("a", False), ("b", False), ("a", False), ("c", True)]
    assert cards.worst_of(groups, np.array([0.1, 0.15, 0.3, 0.02])) == "20 % of the photographs and 2 % of the fakes"


def image(rng: np.random.Generator, strength: float) -> bytes:
    stream = io.BytesIO()
    levels = rng.normal(128, strength, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(levels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def write_data(path: Path, rng: np.random.Generator) -> None:
    """Write three sources of fakes and three of photographs; the noise of fakes is stronger."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["path", "label", "generator", "source"])
    writer.writeheader()
    with tarfile.open(path, "w") as archive:

        def put(name: str, payload: bytes) -> None:
            about = tarfile.TarInfo(name)
            about.size = len(payload)
            archive.addfile(about, io.BytesIO(payload))

        for source, label in [(name, "fake") for name in "abc"] + [(name, "real") for name in "def"]:
            for at in range(30):
                where = f"{source}/{label}/{source}_{at}.png"
                writer.writerow({"path": where, "label": label, "generator": "g" if label == "fake" else "", "source": source})
                put(where, image(rng, 40 if label == "fake" else 30))
        put("manifest.csv", text.getvalue().encode())


def write_forge(folder: Path, rng: np.random.Generator) -> None:
    """Write what a forge might make of these photographs."""
    folder.mkdir()
    lines = [(label, f"photos/{name}/real/{name}_0.png") for label in ("real", "fake") for name in "def" for _ in range(3)]
    with (folder / "manifest.csv").open("w", encoding="utf-8") as stream:
        stream.write("path,label,group\n")
        for at, (label, group) in enumerate(lines):
            stream.write(f"{at}.png,{label},{group}\n")
            (folder / f"{at}.png").write_bytes(image(rng, 40 if label == "fake" else 30))


def test_a_study_from_end_to_end_makes_a_section_for_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    write_data(tmp_path / "d.tar", rng)
    write_forge(tmp_path / "forged", rng)
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(study, "CHANGES", {"jpeg-75": (1.0, "jpeg-75")})
    monkeypatch.chdir(tmp_path)
    options = ["--data", "d.tar", "--out", "out", "--forge", "forged", "--traces", str(bundled.ASSETS / "general")]
    monkeypatch.setattr(sys, "argv", ["tile_model.py", *options])
    study.main()
    written = json.loads((tmp_path / "tile_model.json").read_text())
    mean_auc = means_of(tmp_path / "tile_model.csv")
    assert mean_auc[study.LINEAR] == 1.0, "one is stronger than the other everywhere"
    assert mean_auc[study.SHIPPED] == written["mean_auc"][f"with the other sources: {study.SHIPPED}"]["value"]
    assert mean_auc[study.SHIPPED] > 0.99, "by the finest traces, which know nothing of noise, single photographs may look fake"
    assert mean_auc["forge alone: block energies of reconstructions"] == 1.0
    assert {study.CHOSEN, "CIFAKE and the forge alone: CIFAKE's generator, or traces"} < set(mean_auc)
    section = ship.with_tiles({"name": "general"}, tmp_path / "out", tmp_path)["tiles"]
    assert section == written["card"]
    assert (tmp_path / TILES_MODEL).is_file()
    assert not (tmp_path / MODEL).exists()
    assert TileRule.from_card(section) == TileRule(128, 64, "mean", TILES_MODEL)
    assert section["unsure"]["low"] <= section["threshold"] <= section["unsure"]["high"]
    says_what_the_study_says(tmp_path)


def means_of(table: Path) -> dict[str, float]:
    with table.open(encoding="utf-8") as stream:
        return {row["model"]: float(row["mean_auc"]) for row in csv.DictReader(stream)}


def says_what_the_study_says(folder: Path) -> None:
    """Fail where the exported network's logits are not those of the answer that was measured, learned from all sources."""
    store = load_data(folder / "d.tar")
    pixels = np.stack([store.image(at) for at in range(len(store))])
    traces = experts.of_traces(experts.traces_of(bundled.ASSETS / "general"))
    tiles = experts.looked_at(pixels, frozen_features.sources_of(store, folder / "d.tar"), study.VIEWS | {experts.TRACES: traces})
    expected = study.answers_of(tiles)[study.SHIPPED](frozenset(), tiles)
    session = onnxruntime.InferenceSession(str(folder / TILES_MODEL), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logit"], {"images": normalised(pixels, experts.SPEC)})
    np.testing.assert_allclose(logits, expected, atol=5e-3)


def test_a_forge_of_other_photographs_is_refused() -> None:
    forge = SimpleNamespace(group=np.array(["photos/1.jpg"]), is_fake=np.array([False]))
    with pytest.raises(SystemExit, match="do not name their sources"):
        study.behind(forge, Sources(np.array(["d"]), np.array([False])))


def test_a_detector_without_traces_is_refused() -> None:
    with pytest.raises(SystemExit, match="of the preset general"):
        experts.traces_of("cifake")


def test_a_pair_that_leaves_no_photographs_sets_no_scale() -> None:
    tiles = tiles_of({PHOTOS: np.zeros((60, 1)), FAKE: np.ones((60, 1))})
    with pytest.raises(SystemExit, match="more sources"):
        experts.level_of(tiles.seen["seen"][:, 0], frozenset([PHOTOS]), tiles)
