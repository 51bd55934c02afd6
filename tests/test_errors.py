"""errors: the tree that the module's docstring draws is the tree that the classes make."""

from __future__ import annotations

import re

import pytest

from fauxto import errors
from fauxto.errors import FauxtoError, missing_extra

LINE = re.compile(r"^[│├└─ ]*(?P<name>\w+Error)\s+(?P<exit_code>\d)\s+(?P<http_status>\d{3})\b", re.MULTILINE)
CLASSES = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, FauxtoError)}


def drawn() -> dict[str, tuple[int, int]]:
    return {m["name"]: (int(m["exit_code"]), int(m["http_status"])) for m in LINE.finditer(errors.__doc__ or "")}


def test_the_drawing_names_every_class_with_its_codes():
    assert drawn() == {name: (kind.exit_code, kind.http_status) for name, kind in CLASSES.items()}


def test_the_drawing_shows_who_descends_from_whom():
    lines = (errors.__doc__ or "").splitlines()
    parents: list[str] = []
    for line in lines:
        match = LINE.match(line)
        if match:
            depth = line.index(match["name"]) // 4
            parents[depth:] = [match["name"]]
            if depth:
                assert CLASSES[match["name"]].__bases__ == (CLASSES[parents[depth - 1]],)


def test_exit_codes_leave_0_to_success_and_1_to_the_unexpected():
    codes = {name: kind.exit_code for name, kind in CLASSES.items() if name != "FauxtoError"}
    assert min(codes.values()) >= 2
    assert max(codes.values()) < 126, "a shell keeps 126 and above for itself"


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_each_error_carries_its_sentence(kind):
    assert str(kind("expected a, got b: do c")) == "expected a, got b: do c"
    assert kind.__doc__
    assert kind.__doc__.endswith(".")


def test_missing_extra_says_what_to_install():
    error = missing_extra("train", "torch")
    assert isinstance(error, errors.MissingExtraError)
    assert "torch" in str(error)
    assert "pip install 'fauxto[train]'" in str(error)
