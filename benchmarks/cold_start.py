"""Time a cold ``fauxto check`` of one image and ``import fauxto``: ``python benchmarks/cold_start.py --detector RUN``.

Whole processes. Bars: under 1 s, under 0.2 s, and neither imports torch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from record import summary, timed, write_result

IMPORT = "import time; t = time.perf_counter(); import fauxto; print(time.perf_counter() - t)"
MODULES = "import sys; from fauxto.cli import main\ntry: main()\nexcept SystemExit: pass\nprint('torch' in sys.modules)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(image)
        words = ["check", str(image), "--detector", str(arguments.detector)]
        fauxto = Path(sysconfig.get_path("scripts")) / "fauxto"

        def check() -> None:
            done = subprocess.run([str(fauxto), *words], capture_output=True, check=False)
            assert done.returncode in (0, 10), done.stderr

        check()
        seconds = timed(check, n_runs=arguments.runs)
        imports = [float(_output([sys.executable, "-c", IMPORT])) for _ in range(arguments.runs)]
        loads_torch = _output([sys.executable, "-c", MODULES, *words]).split()[-1] == "True"
    model_bytes = sum(path.stat().st_size for path in arguments.detector.rglob("model.onnx"))
    result = {"check_one_image": {"bar_s": 1.0} | summary(seconds), "import_fauxto": {"bar_s": 0.2} | summary(imports)}
    write_result("cold_start", result | {"imports_torch": loads_torch, "model_bytes": model_bytes})


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
