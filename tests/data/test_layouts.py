from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxto.data.layouts import is_image, records_from_manifest, records_from_names, safe_name
from fauxto.errors import DataError
from fauxto.vocabulary import Label


def read(*names: str) -> list[tuple[str, str, str]]:
    """Return (label, generator, split) of each name, in the order of the names."""
    found = {r.path: (r.label.name, r.generator, r.split) for r in records_from_names(names, where="here")}
    return [found[name] for name in names]


def test_cifake():
    assert read("train/REAL/0001 (2).jpg", "train/FAKE/1.jpg", "test/REAL/2.jpg", "test/FAKE/3.jpg") == [
        ("REAL", "", "train"),
        ("FAKE", "", "train"),
        ("REAL", "", "test"),
        ("FAKE", "", "test"),
    ]


@pytest.mark.parametrize(("real", "fake"), [("real", "fake"), ("0_real", "1_fake"), ("nature", "ai"), ("Real", "FAKE")])
def test_every_pair_of_class_folders(real, fake):
    assert read(f"{real}/a.png", f"{fake}/b.png") == [("REAL", "", ""), ("FAKE", "", "")]


def test_cnndetection_has_categories_between_generator_and_class():
    assert read("progan/cat/0_real/1.png", "progan/cat/1_fake/2.png", "biggan/1_fake/3.png") == [
        ("REAL", "", ""),
        ("FAKE", "progan", ""),
        ("FAKE", "biggan", ""),
    ]


def test_the_folder_at_an_archives_top_is_no_generator():
    names = ["CNN/progan/cat/0_real/1.png", "CNN/progan/cat/1_fake/2.png", "CNN/biggan/1_fake/3.png"]
    assert [generator for _, generator, _ in read(*names)] == ["", "progan", "biggan"]


def test_genimage():
    names = ["Midjourney/imagenet_mj/train/ai/1.png", "Midjourney/imagenet_mj/val/nature/2.png", "ADM/val/ai/3.PNG"]
    assert read(*names) == [("FAKE", "Midjourney", "train"), ("REAL", "", "val"), ("FAKE", "ADM", "val")]


def test_one_generators_own_archive_keeps_its_name():
    assert read("biggan/0_real/1.png", "biggan/1_fake/2.png")[1] == ("FAKE", "biggan", "")


def test_generators_below_the_class_folder():
    assert read("fake/stylegan/1.png", "fake/ddpm/2.png", "real/3.png") == [
        ("FAKE", "stylegan", ""),
        ("FAKE", "ddpm", ""),
        ("REAL", "", ""),
    ]


def test_a_folder_per_generator_beside_real():
    assert read("train/real/1.png", "train/dalle/2.png", "test/flux/3.png") == [
        ("REAL", "", "train"),
        ("FAKE", "dalle", "train"),
        ("FAKE", "flux", "test"),
    ]


def test_what_is_no_image_or_hidden_is_passed_over():
    found = records_from_names(["REAL/a.txt", "__MACOSX/REAL/._1.jpg", ".git/REAL/1.jpg", "REAL/1.jpg"], where="here")
    assert [record.path for record in found] == ["REAL/1.jpg"]
    assert not is_image("REAL/1.jpg.zip")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "holds no image"),
        (["REAL/readme.md"], "holds no image"),
        (["1.jpg"], "no folder above '1.jpg'"),
        (["cats/1.jpg", "dogs/2.jpg"], "no folder above 'cats/1.jpg'"),
        (["REAL/1.jpg", "FAKE/2.jpg", "misc/3.jpg"], "no folder above 'misc/3.jpg'"),
        # Beside nothing but real ones, a stray image at the top must not be taken for a fake.
        (["REAL/1.jpg", "preview.png"], "no folder above 'preview.png'"),
    ],
)
def test_a_folder_that_does_not_say_is_refused(names, said):
    with pytest.raises(DataError, match=said):
        records_from_names(names, where="here")


def test_manifest_by_hand():
    text = "path,label,generator,group,split,note\na/1.png,fake,gan,g1,train,x\n./b.png,0,camera,,Validation,\n"
    fake, real = records_from_manifest(text, where="here")
    assert (fake.path, fake.label, fake.generator, fake.group, fake.split) == ("a/1.png", Label.FAKE, "gan", "g1", "train")
    assert (real.path, real.label, real.generator, real.group, real.split) == ("b.png", Label.REAL, "", "", "val")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs the columns path and label.*nothing"),
        ("path;label\na.png;fake\n", "needs the columns path and label.*'path;label'"),
        ("path,label\n", "lists no image"),
        ("path,label\na.png,maybe\n", "line 2 .* label 'maybe'; expected real or fake"),
        ("path,label\na.png\n", "line 2 .* label None"),
        ("path,label\n../a.png,fake\n", "line 2 .* path '../a.png'"),
        ("path,label\n/etc/passwd,fake\n", "line 2 .* path '/etc/passwd'"),
        ("path,label\n,fake\n", "line 2 .* path ''"),
        ("path,label,split\na.png,fake,train\nb.png,real,holdout\n", "line 3 .* split 'holdout'"),
        (f"path,label\n{'a' * 200_000},fake\n", "not CSV after line 1"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_line(text, said):
    with pytest.raises(DataError, match=said):
        records_from_manifest(text, where="here")


@pytest.mark.parametrize(
    "name",
    ["/a", "../a", "a/../../b", "..\\a", "C:\\a", "c:a", ".\\c:a", "./c:a", "\\\\server\\share", "a\0b", "//a", "a/..", "\\etc"],
)
def test_names_that_lead_outside(name):
    assert safe_name(name) is None


@given(st.text(alphabet="ab./\\:\0 ", max_size=12))
def test_a_safe_name_stays_inside(name):
    plain = safe_name(name)
    if plain is not None:
        assert not plain.startswith(("/", "\\"))
        assert ".." not in plain.split("/")
        assert safe_name(plain) == plain
