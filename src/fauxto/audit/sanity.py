"""Labels and parts at a glance: balance, sizes, colour modes, broken files, and a class that another program saved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fauxto.audit.facts import CATEGORIES, WORDS, Facts, named
from fauxto.audit.findings import Finding
from fauxto.audit.samples import MIN_PER_CLASS
from fauxto.data.store import Store
from fauxto.errors import missing_extra

FEW_PER_CLASS = 1000
MAX_RATIO = 3.0  # of the classes' sizes
MIN_DIFFERENCE = 0.02  # of the classes' shares of a format, table or kind of metadata
FALSE_ALARM = 1e-6


def sanity_findings(store: Store, facts: Facts) -> Iterator[Finding]:
    """Say what is odd; nothing where nothing is."""
    yield from _classes(store)
    yield from _parts(store)
    yield from _encoders(store, facts)
    yield from _sizes(store)
    if store.broken:
        shown = "; ".join(f"{path}: {reason}" for path, reason in store.broken[:5])
        more = " ...; audit.json names all" if len(store.broken) > 5 else ""
        yield Finding(
            "unreadable", "warning", f"{len(store.broken):,} file{'s' * (len(store.broken) != 1)} cannot be read",
            f"{len(store.broken):,} files are left out ({shown}{more}).",
            "Get them again, or remove them from the data.", {"n_files": len(store.broken)},
        )  # fmt: skip


def _classes(store: Store) -> Iterator[Finding]:
    n_fake = int(store.is_fake.sum())
    n_real = len(store) - n_fake
    numbers = {"n_real": n_real, "n_fake": n_fake}
    if not n_real or not n_fake:
        only = "fake" if n_fake else "real"
        yield Finding(
            "one-class", "warning", f"all images are {only}", f"All {len(store):,} images are {only}: nothing can be told apart.",
            "Add the other class.", numbers,
        )  # fmt: skip
        return
    if min(n_real, n_fake) < FEW_PER_CLASS:
        too_few = min(n_real, n_fake) < MIN_PER_CLASS
        meaning = "shortcuts cannot be measured" if too_few else "intervals are wide"
        yield Finding(
            "few-images", "warning" if too_few else "note", f"only {min(n_real, n_fake):,} images of one class",
            f"There are {n_real:,} real and {n_fake:,} fake images; with so few, {meaning}.", "Add images.", numbers,
        )  # fmt: skip
    if max(n_real, n_fake) > MAX_RATIO * min(n_real, n_fake):
        yield Finding(
            "unbalanced", "warning", f"{max(n_real, n_fake) / min(n_real, n_fake):.1f} times as many images of one class",
            f"There are {n_real:,} real and {n_fake:,} fake images: always giving the more frequent answer is right for "
            f"{100 * max(n_real, n_fake) / len(store):.1f} % of them.",
            "Read balanced accuracy or AUC instead of accuracy, or balance the classes.", numbers,
        )  # fmt: skip


def _parts(store: Store) -> Iterator[Finding]:
    parts, counts = np.unique(store.split, return_counts=True)
    numbers = {str(part) or "none": int(n) for part, n in zip(parts, counts, strict=True)}
    if parts.tolist() == [""]:
        yield Finding(
            "no-parts", "note", "the data have no train and test part of their own",
            "Whoever uses the data draws a test part; two such numbers do not compare unless they draw the same.",
            "Use --split notebook, which draws by pixels and group, or name the parts in a manifest (column split).", numbers,
        )  # fmt: skip
        return
    if "" in parts:
        yield Finding(
            "no-parts", "warning", f"{numbers['none']:,} images belong to no part", "Others belong to train, val or test.",
            "Name the part of every image.", numbers,
        )  # fmt: skip
    yield from _shares_of_parts(store, [part for part in parts.tolist() if part], numbers)
    if "test" not in parts or "train" not in parts:
        missing = "test" if "test" not in parts else "train"
        yield Finding(
            "no-parts", "note", f"there is no {missing} part",
            f"The data's own parts are {', '.join(filter(None, parts.tolist()))}.",
            "Use --split notebook for training, or name the parts in a manifest.", numbers,
        )  # fmt: skip


def _shares_of_parts(store: Store, parts: list[str], numbers: dict[str, int]) -> Iterator[Finding]:
    shares = {part: float(store.is_fake[store.split == part].mean()) for part in parts}
    for part, share in shares.items():
        if share in (0.0, 1.0) and 0 < store.is_fake.mean() < 1:
            yield Finding(
                "one-class", "warning", f"the {part} part holds only {'fake' if share else 'real'} images",
                "No AUC can be given on it, and nothing learnt from it.", "Give both classes to every part.", numbers,
            )  # fmt: skip
    if len(shares) > 1 and max(shares.values()) - min(shares.values()) > 0.2:
        told = ", ".join(f"{part} {100 * share:.0f} %" for part, share in shares.items())
        yield Finding(
            "unbalanced", "warning", "the parts differ in their share of fakes", f"Shares of fake images: {told}.",
            "Read accuracy with care: thresholds and calibration depend on the share.", shares,
        )  # fmt: skip


def _encoders(store: Store, facts: Facts) -> Iterator[Finding]:
    """Compare how often each format, table and kind of metadata occurs in the two classes."""
    if store.is_fake.all() or not store.is_fake.any():
        return
    for name in CATEGORIES:
        words = getattr(facts, name)
        told = list(_shares(words, store.is_fake))
        if not told:
            continue
        told.sort(key=lambda row: -abs(row[1] - row[2]))
        rows = "; ".join(
            f"{named(facts, name, word)} in {100 * real:.1f} % of the real and {100 * fake:.1f} % of the fake images"
            for word, real, fake in told[:4]
        )
        yield Finding(
            f"encoder-{name}", "shortcut", f"real and fake images differ in {WORDS[name]}",
            f"The classes were not saved by the same program: {rows}.",
            "Save all images again by one program with one setting (same format, quality and subsampling, no metadata); what the "
            "earlier saves left in the pixels stays, so take both classes from originals if there are any.",
            {str(word): {"real": real, "fake": fake} for word, real, fake in told[:20]},
        )  # fmt: skip


def _shares(words: np.ndarray, is_fake: np.ndarray) -> Iterator[tuple[str, float, float]]:
    """Yield word, share of the real and share of the fake images, where they differ and it is no chance (Fisher, Bonferroni)."""
    try:
        from scipy.stats import fisher_exact
    except ImportError as error:
        raise missing_extra("train", "scipy") from error
    names, number = np.unique(words, return_inverse=True)
    n_fake = int(is_fake.sum())
    n_real = len(is_fake) - n_fake
    real, fake = (np.bincount(number[chosen], minlength=len(names)) for chosen in (~is_fake, is_fake))
    for at in np.flatnonzero(np.abs(real / n_real - fake / n_fake) >= MIN_DIFFERENCE).tolist():
        n_with, n_of_fake = int(real[at]), int(fake[at])
        if fisher_exact([[n_with, n_real - n_with], [n_of_fake, n_fake - n_of_fake]])[1] < FALSE_ALARM / len(names):
            yield str(names[at]), n_with / n_real, n_of_fake / n_fake


def _sizes(store: Store) -> Iterator[Finding]:
    sizes = np.stack([store.width, store.height], axis=1)
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    if len(kinds) > 1:
        common = kinds[counts.argmax()].tolist()
        least, most = sizes.min(axis=0), sizes.max(axis=0)
        yield Finding(
            "sizes", "note", f"images of {len(kinds):,} sizes",
            f"From {least[0]} x {least[1]} to {most[0]} x {most[1]} pixels; the most frequent, {common[0]} x {common[1]}, "
            f"is that of {100 * counts.max() / len(store):.1f} %. Whether the size tells real from fake stands in the "
            "table of shortcuts.",
            "Where a detector resizes, compare only images of one size.", {"n_sizes": len(kinds)},
        )  # fmt: skip
