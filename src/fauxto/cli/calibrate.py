"""``fauxto calibrate``: a detector for your own images, from a few of them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.common import DetectorArgument, SkipBroken, opened, refuse_inside
from fauxto.cli.terminal import counting_bar, printable
from fauxto.errors import UsageError

if TYPE_CHECKING:
    from fauxto.detector import Detector
    from fauxto.metrics import Interval
    from fauxto.recalibration import Recalibration, Sample


def calibrate(
    detector: DetectorArgument,
    out: Annotated[Path, typer.Option("--out", help="New folder for the calibrated detector.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="A few of your own images; with --unlabelled, a plain folder.")
    ] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Nobody knows which are fake: estimate how many are.")] = False,
    prevalence: Annotated[float | None, typer.Option("--prevalence", help="Your share of fakes, between 0 and 1.")] = None,
    skip_broken: SkipBroken = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write a detector whose probabilities fit your own images; the network stays as it is.

    With labels, a temperature and a bias are fitted, held towards the calibration that is there already. Without, the share of
    fakes is estimated, which assumes that nothing else differs. Measure the result on other images than these.

    Examples:
      fauxto calibrate cifake --data my-sample --out detectors/mine
      fauxto calibrate cifake --data inbox --unlabelled --out detectors/inbox
      fauxto calibrate cifake --prevalence 0.01 --out detectors/rare
    """
    from fauxto.detector import Detector
    from fauxto.recalibration import recalibrate, write_detector

    loaded = Detector.load(detector)
    if out.exists():
        raise UsageError(f"{out} already exists: choose another --out")
    if unlabelled and data is None:
        raise UsageError("--unlabelled needs images: give a folder (--data)")
    sample = None if data is None else _sample(loaded, data, out, unlabelled=unlabelled, skip_broken=skip_broken)
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    made = recalibrate(loaded, sample, prevalence=prevalence, date=date)
    write_detector(loaded, made.card, out)
    if as_json:
        print(json.dumps(_about(made, out), indent=2))
        return
    for line in _lines(made):
        print(printable(line))
    for warning in made.warnings:
        typer.secho(printable(warning), err=True, fg=typer.colors.YELLOW)
    print(printable(f"detector written to {out}"))


def _sample(detector: Detector, data: Path, out: Path, *, unlabelled: bool, skip_broken: bool) -> Sample:
    from fauxto.recalibration.sampling import labelled_sample, unlabelled_sample

    if unlabelled:
        if data.is_dir():  # else what reads it says what is wrong
            refuse_inside(data, out)
        with counting_bar("asking the detector") as progress:
            return unlabelled_sample(detector, data, skip_broken=skip_broken, progress=progress)
    store = opened(data, out=out, skip_broken=skip_broken)
    with counting_bar("asking the detector") as progress:
        return labelled_sample(detector, store, data=data.name, progress=progress)


def _about(made: Recalibration, out: Path) -> dict[str, object]:
    calibration = {key: value for key, value in made.rules["calibration"].items() if key != "sample"}
    sample = made.rules["calibration"].get("sample", {})
    alarms = made.false_alarm_rate
    return {
        "detector": str(out),
        "calibration": calibration,
        "left_out": sample.get("left_out", {}),
        "threshold": made.rules["threshold"],
        "unsure": made.rules.get("unsure"),
        "share_of_fakes": _plain(made.share),
        "false_alarm_rate_on_the_sample": _plain(alarms) if alarms else None,
        "warnings": list(made.warnings),
    }


def _lines(made: Recalibration) -> list[str]:
    about = made.rules["calibration"]
    lines = [
        f"{about['method']}, fitted on {about['fitted_on']}: temperature {about['temperature']:.4g}, bias {about['bias']:+.4g}"
    ]
    ends = "" if made.share.low is None else f" ({_ends(made.share)})"
    lines.append(f"p_fake stands for {100 * about['prevalence']:.4g} % fakes{ends}")
    if made.false_alarm_rate is not None:
        rate = made.false_alarm_rate
        lines.append(f"false alarms on this sample: {100 * (rate.value or 0.0):.2f} % ({_ends(rate)}); it chose, and so flatters")
    band = made.rules.get("unsure")
    if band:
        lines.append(f"unsure from p_fake {band['low']:.4g} to {min(band['high'], 1.0):.4g}")
    points = {name: at for name, at in made.rules.get("operating_points", {}).items() if isinstance(at, dict)}
    for name, point in points.items():
        lines.append(f"{name}: p_fake >= {point['threshold']:.4g}")
    if points:
        lines.append(f"points measured on {made.rules['operating_points']['measured_on']}")
    return lines


def _ends(interval: Interval) -> str:
    return f"95 % interval {100 * (interval.low or 0.0):.2f} to {100 * (interval.high or 0.0):.2f} %"


def _plain(interval: Interval) -> dict[str, float | None]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
