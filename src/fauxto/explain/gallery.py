"""Pictures of maps, one image or many sorted by right and wrong: ``fauxto explain DETECTOR --data DATA --out FOLDER``."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from fauxto.data.store import Store
from fauxto.errors import ImageError, UsageError
from fauxto.evaluation.sets import Stored, by_own_rules
from fauxto.explain.pictures import GREY, INK, PAPER, blended, colour_bar, font
from fauxto.runs import whole_folder, write_json, write_text

if TYPE_CHECKING:
    from fauxto.explain.cam import Explainer
    from fauxto.explain.explanation import Explanation

STRIP_SIDE, GAP = 160, 8
GROUPS = (("fake", "real"), ("real", "fake"), ("fake", "fake"), ("real", "real"))
HOW_TO_READ = """Each strip: the image in the network's size, then its overlays for target fake and target real on one scale (1 =
the strongest evidence in either): a dark overlay means little evidence, and two strips cannot be compared. A map shows which
places moved this network's answer; it does not prove that they were forged."""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>:root{{color-scheme:light dark}}h2{{margin:2.2rem 0 .6rem}}.quiet{{opacity:.72}}
body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem}}
.cases{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,480px),1fr));gap:1.2rem}}figure{{margin:0}}
figure img{{width:100%;max-width:496px}}figcaption{{font-size:.85rem;overflow-wrap:anywhere}}.bar{{vertical-align:middle}}</style>
<h1>{title}</h1><p><b>{caption}</b><br><span class="quiet">{counts}</span></p><p>{how}</p>
<p>0 <img class="bar" alt="colour bar" src="{bar}"> 1 <span class="quiet">share of the strip's strongest evidence</span></p>
{sections}</html>
"""


@dataclass(frozen=True)
class Group:
    """Images of one truth that got one answer.

    Attributes:
        truth: "fake" or "real".
        called: "fake" or "real", by the card's threshold.
        n_images: How many there are.
        cases: Position in the store and why it was picked: "most confident" or "drawn at random".
    """

    truth: str
    called: str
    n_images: int
    cases: tuple[tuple[int, str], ...]

    @property
    def title(self) -> str:
        """What a person reads above the pictures."""
        outcome = "right" if self.truth == self.called else "wrong"
        shown = f"{len(self.cases)} of {self.n_images:,}"
        return f"{self.truth.capitalize()} images called {self.called} ({outcome}): {shown}"


@dataclass(frozen=True)
class Explained:
    """What became of one path.

    Attributes:
        path: As the user named it.
        answer: The explanation, or why there is none.
        folder: Where the explanation lies; None if there is none.
    """

    path: str
    answer: Explanation | ImageError
    folder: Path | None


def explain_paths(
    explainer: Explainer, paths: Iterable[str | Path], folder: str | Path, *, target: str | None = None, layer: str | None = None
) -> list[Explained]:
    """Explain image files into ``folder/NAME/``; an unreadable one is reported and the next one follows.

    Raises:
        UsageError: The folder exists, or the target or layer cannot be taken.
        ImageError: None of the files can be read; nothing is left behind.
    """
    done: list[Explained] = []
    with whole_folder(Path(folder)) as inside:
        for path in paths:
            try:
                explanation = explainer.explain([path], target=target, layer=layer)[0]
            except ImageError as error:
                done.append(Explained(str(path), error, None))
                continue
            stem = Path(path).stem[:50]  # the file system's limit is 255 bytes, and a character may take four
            names = (f"{stem}-{number}" if number > 1 else stem for number in count(1))
            name = next(name for name in names if not (inside / name).exists())
            explanation.save(inside / name)
            done.append(Explained(str(path), explanation, Path(folder) / name))
        if not any(each.folder for each in done):
            reason = f"{done[0].path}: {done[0].answer}" if done else "none was named"
            raise ImageError(f"none of {len(done)} images can be explained, {reason}")
    return done


def write_gallery(
    explainer: Explainer,
    store: Store,
    positions: Sequence[int] | np.ndarray,
    folder: str | Path,
    *,
    n_each: int = 8,
    seed: int = 0,
    layer: str | None = None,
) -> Path:
    """Write ``gallery.html``, which needs no other file, one PNG per group and ``cases.json``; return the first's path.

    Args:
        explainer: The detector to look into.
        store: Decoded images.
        positions: Which of them to choose from, such as a split's test part.
        folder: A new folder.
        n_each: At most so many cases per group, half the most confident, half drawn at random.
        seed: Of the draw.
        layer: As for ``Explainer.explain``.

    Raises:
        UsageError: The folder exists, there is nothing to choose from, or the layer cannot be taken.
    """
    at, chosen = np.asarray(positions, np.int64), explainer.choose_layer(layer)
    if not len(at) or n_each < 1:
        raise UsageError(f"a gallery needs images and at least 1 case per group, got {len(at)} images and {n_each} cases")
    with whole_folder(Path(folder)) as inside:
        detector, images = explainer.detector, (store.image(position) for position in at)
        logits = explainer.logits(images) if detector.tiles is None else detector.logits(images)
        _, called_fake = by_own_rules(detector, Stored(store, at), logits)
        groups = pick_cases(at, store.is_fake[at], called_fake, logits, n_each=n_each, seed=seed)
        sections = [_write_group(inside, group, explainer, store, chosen) for group in groups]
        write_json(inside / "cases.json", {"detector": explainer.name, "seed": seed, "groups": [asdict(each) for each in groups]})
        write_text(inside / "gallery.html", _page(explainer, chosen, f"{len(at):,} images to choose from, seed {seed}", sections))
    return Path(folder) / "gallery.html"


def pick_cases(
    positions: np.ndarray, is_fake: np.ndarray, called_fake: np.ndarray, logits: np.ndarray, *, n_each: int, seed: int
) -> list[Group]:
    """Return the four groups, wrong ones first; of each half the most confident cases, the rest drawn at random."""
    groups = []
    confidence = np.where(called_fake, logits, -logits)
    n_sure = (n_each + 1) // 2
    for number, (truth, called) in enumerate(GROUPS):
        members = np.flatnonzero((is_fake == (truth == "fake")) & (called_fake == (called == "fake")))
        members = members[np.argsort(-confidence[members], kind="stable")]
        drawn = np.random.default_rng([seed, number]).permutation(members[n_sure:])[: n_each - n_sure]
        sure = [(int(positions[each]), "most confident") for each in members[:n_sure]]
        random = [(int(positions[each]), "drawn at random") for each in drawn]
        groups.append(Group(truth, called, len(members), (*sure, *random)))
    return groups


def strip(fake: Explanation, real: Explanation) -> Image.Image:
    """Return one image, its overlay for target fake and for target real, both on one scale, side by side on nothing."""
    strongest = max(fake.peak, real.peak) or 1.0
    page = Image.new("RGBA", (3 * STRIP_SIDE + 2 * GAP, STRIP_SIDE))
    page.paste(Image.fromarray(fake.image).resize((STRIP_SIDE, STRIP_SIDE), Image.Resampling.NEAREST), (0, 0))
    for column, each in enumerate((fake, real), start=1):
        share = each.map * np.float32(each.peak / strongest)
        panel = blended(each.image, share, height=STRIP_SIDE, width=STRIP_SIDE, note=each.note and "no evidence")
        page.paste(panel, (column * (STRIP_SIDE + GAP), 0))
    return page


def _write_group(folder: Path, group: Group, explainer: Explainer, store: Store, layer: str) -> str:
    """Write a group's PNG and return its part of the page."""
    images = [store.image(position) for position, _ in group.cases]
    pairs = list(zip(*(explainer.explain(images, target=target, layer=layer) for target in ("fake", "real")), strict=True))
    strips = [strip(fake, real) for fake, real in pairs]
    about = [
        f"p_fake {fake.p_fake:.3f}, truth {group.truth}, map {fake.map.shape[0]}x{fake.map.shape[1]}, {why}"
        for (fake, _), (_, why) in zip(pairs, group.cases, strict=True)
    ]
    if strips:
        _sheet(f"{group.title}, layer {layer}", strips, about).save(folder / f"{group.truth}-called-{group.called}.png")
    figures = [
        f'<figure><img alt="image, overlay for fake, overlay for real" src="{_data_uri(image)}"><figcaption><b>{escape(text)}</b>'
        f'<br><span class="quiet">{escape(store.records[position].path)}</span></figcaption></figure>'
        for image, text, (position, _) in zip(strips, about, group.cases, strict=True)
    ]
    return f'<h2>{escape(group.title)}</h2><div class="cases">{"".join(figures) or "There are none."}</div>'


def _sheet(title: str, strips: list[Image.Image], about: list[str]) -> Image.Image:
    """Return a group's strips in two columns, each with its numbers below."""
    width, height, top = strips[0].width + 24, strips[0].height + 34, 104
    n_columns = min(2, len(strips))
    page = Image.new("RGB", (max(2, n_columns) * width + 24, -(-len(strips) // n_columns) * height + top), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((24, 14), title, fill=INK, font=font(20))
    draw.text((24, 48), "0", fill=GREY, font=font(14))
    page.paste(colour_bar(160, 12), (38, 51))
    draw.text((206, 48), "1, share of the strongest evidence in the two overlays of a strip", fill=GREY, font=font(14))
    for number, (tile, text) in enumerate(zip(strips, about, strict=True)):
        x, y = 24 + number % n_columns * width, top + number // n_columns * height
        if y == top:
            for column, head in enumerate(("image", "target fake", "target real")):
                draw.text((x + column * (STRIP_SIDE + GAP), top - 22), head, fill=GREY, font=font(14))
        page.paste(tile, (x, y), tile)
        draw.text((x, y + tile.height + 5), text, fill=INK, font=font(14))
    return page


def _page(explainer: Explainer, layer: str, counts: str, sections: list[str]) -> str:
    size = "x".join(map(str, explainer.map_sizes[layer]))
    return PAGE.format(
        title=escape(f"Where {explainer.detector.card.get('name', 'a detector')} looks"),
        caption=escape(f"Grad-CAM, map {size}, layer {layer}, detector {explainer.name}"),
        counts=escape(counts), how=escape(HOW_TO_READ), bar=_data_uri(colour_bar(200, 14)), sections="\n".join(sections),
    )  # fmt: skip


def _data_uri(image: Image.Image) -> str:
    image.save(stream := io.BytesIO(), "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
