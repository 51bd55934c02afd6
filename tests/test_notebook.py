"""The notebook is committed bare, and runs from top to bottom on the embedded data."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[1] / "examples" / "fauxto.ipynb"
TIMEOUT_S = 600  # for one cell, on a machine that is busy with other work


@pytest.fixture(scope="module")
def notebook() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_valid_and_without_outputs(notebook: NotebookNode) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.slow
def test_it_runs_on_the_embedded_data(notebook: NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAUXTO_DATA", raising=False)
    for name, folder in {
        "FAUXTO_WORK": "work",
        "FAUXTO_CACHE": "cache",
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "jupyter",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    done = executed(notebook, tmp_path)
    said = "\n".join(texts_of(done))
    assert "720 images (simulated data:" in said
    assert "accuracy" in said
    assert said.count("Prediction(p_fake=") == 2
    pictures = [output for output in outputs_of(done) if "image/png" in output.get("data", {})]
    assert len(pictures) >= 4  # contact sheet, curves, ROC, at least one group of maps
    assert (tmp_path / "work" / "report" / "report.html").stat().st_size > 10_000
    assert "simulated" in (tmp_path / "work" / "report" / "report.html").read_text(encoding="utf-8")


def executed(notebook: NotebookNode, folder: Path) -> NotebookNode:
    client = NotebookClient(
        nbformat.from_dict(notebook), timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


def outputs_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def texts_of(notebook: NotebookNode) -> list[str]:
    return [str(output.get("text", "")) for output in outputs_of(notebook)]
