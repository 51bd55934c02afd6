"""fauxto.evaluation.scores: what a CSV may say of a detector, and the files that are refused, each by its first bad line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fauxto.errors import DataError
from fauxto.evaluation.scores import ScoresFile, read_scores


def written(folder: Path, text: str) -> Path:
    (folder / "s.csv").write_text(text, encoding="utf-8")
    return folder / "s.csv"


def test_scores_of_evaluate_can_be_read_and_a_third_column_is_the_threshold(tmp_path: Path) -> None:
    found = read_scores(
        written(tmp_path, "\ufeffpath,label,p_fake,threshold\na b.jpg,real,0.25,0.3\nc.jpg,fake,1,0.3\n"), name="x"
    )
    assert found == ScoresFile("x", {"a b.jpg": 0.25, "c.jpg": 1.0}, 0.3, {"a b.jpg": (False, 2), "c.jpg": (True, 3)})
    plain = read_scores(written(tmp_path, "path,p_fake\na,0\n"), name="x")
    assert (plain.threshold, plain.labels) == (0.5, {})


def test_labels_are_read_as_in_a_manifest(tmp_path: Path) -> None:
    text = 'path,p_fake,label\na,0, Real\nb,0,0\n"c\nd",0,FAKE\ne,0,1\n'
    found = read_scores(written(tmp_path, text), name="x").labels
    assert found == {"a": (False, 2), "b": (False, 3), "c\nd": (True, 5), "e": (True, 6)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column p_fake and path"),
        ("path,score\na,0.5\n", "no column p_fake"),
        ("path,p_fake\n", "holds no scores"),
        ("path,p_fake\na,0.5\na,0.6\n", "stands twice"),
        ("path,p_fake\n,0.5\n", "no path"),
        ("path,p_fake\na,nan\n", "line 2: expected a number from 0 to 1"),
        ("path,p_fake\na,3.5\n", "probabilities first"),
        ("path,p_fake\na,\n", "expected a number"),
        ("path,p_fake\na\n", "expected a number"),
        ("path,p_fake\na,=cmd()\n", "expected a number"),
        ("path,p_fake,threshold\na,0.5,0.4\nb,0.5,0.6\n", "several thresholds"),
        ("path,p_fake,threshold\na,0.5,7\n", "expected a number"),
        ("path,p_fake,threshold\na,0.5,\nb,0.5,0.4\n", "line 2: expected a number from 0 to 1, got '': the column threshold"),
        ("path,p_fake,threshold\na,0.5,0.4\nb,0.5\n", "line 3: expected a number from 0 to 1, got None"),
        ("path,p_fake,label\na,0.5,cat\n", "line 2: expected the label real or fake"),
        ("path,p_fake,label\na,0.5,fake\nb,0.5,\n", "line 3: expected the label real or fake"),
        ('path,p_fake\n"' + "x" * 200_000 + '",0.5\n', "as CSV"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_scores(written(tmp_path, text), name="x")


def test_files_that_are_no_text_or_not_there_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00path")
    for name in ("b.csv", "nowhere.csv", "."):
        with pytest.raises(DataError, match="cannot be read as CSV"):
            read_scores(tmp_path / name, name="x")
    monkeypatch.setattr("fauxto.evaluation.scores.MAX_CSV_BYTES", 10)
    with pytest.raises(DataError, match="far too many"):
        read_scores(written(tmp_path, "path,p_fake\na,0\n"), name="x")
