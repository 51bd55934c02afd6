"""Audit a data set before believing a number on it: ``python examples/audit.py DATA REPORT``."""

from __future__ import annotations

import sys
from pathlib import Path

from fauxto.audit import audit
from fauxto.audit.page import write_audit
from fauxto.data.sources import source_of
from fauxto.data.store import load_data


def main(data: str, out: str) -> None:
    store = load_data(data)
    report = audit(source_of(data, store.records), store, data=Path(data).name)
    for finding in report.findings:  # the worst first
        print(f"{finding.severity}: {finding.title}")
    print("report:", write_audit(report, Path(out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
