"""Look at a data set: ``python examples/data.py DATA SHEET.png``; DATA is a folder, an archive or a manifest.csv."""

from __future__ import annotations

import sys
from pathlib import Path

from fauxto.data.info import contact_sheet, describe
from fauxto.data.store import load_data


def main(data: str, sheet: str) -> None:
    store = load_data(data)  # decoded once, mapped into memory after that
    found = describe(store)
    for split, counts in found.counts.items():
        print(f"{split:<6} {counts['real']:>7,} real {counts['fake']:>7,} fake")
    print(f"{found.duplicates.n_test_images_in_train:,} test images have pixels that also stand in train")
    print("contact sheet:", contact_sheet(store, Path(sheet)))


if __name__ == "__main__":
    main(*sys.argv[1:])
