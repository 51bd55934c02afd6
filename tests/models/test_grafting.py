"""grafting: a head in one graph with an extractor of any opset, precision and kind of output; what cannot be used is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fauxto.errors import ConfigError
from fauxto.models.grafting import FREE_SIZE, answers, read_extractor

from .extractors import SIDE, extractor, quantised

LINEAR = ((np.array([[1.0, -2.0, 3.0]], np.float32), np.array([0.5], np.float32)),)
DEEP = (
    (np.array([[1.0, 0, 0], [0, -1.0, 0]], np.float32), np.array([0, 1], np.float32)),
    (np.array([[2.0, 3.0]], np.float32), np.array([-1], np.float32)),
)


def images(n: int = 5, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 3, side, side)).astype(np.float32)


def asked(payload: bytes, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["images"]
    logit, evidence = session.run(["logit", "evidence"], {"images": batch})
    return logit, evidence


# ---------------------------------------------------------------- heads


def test_a_head_by_hand():
    assert answers(LINEAR, np.array([[1.0, 2.0, 3.0]])).tolist() == [6.5]
    # hidden (1, 0): -1 * 2 + 1 is below 0; then 2 * 1 + 3 * 0 - 1.
    assert answers(DEEP, np.array([[1.0, 2.0, 3.0]])).tolist() == [1.0]


@pytest.mark.parametrize("layers", [LINEAR, DEEP])
@pytest.mark.parametrize("opset", [7, 9, 12, 13, 17, 21])
def test_the_grafted_model_gives_the_heads_answers(opset, layers):
    made = read_extractor(extractor(opset=opset).SerializeToString())
    batch = images()
    means = batch.mean(axis=(2, 3))
    np.testing.assert_allclose(made.features(batch), means, atol=1e-6)
    logit, evidence = asked(made.with_head(layers), batch)
    np.testing.assert_allclose(logit, answers(layers, means), atol=1e-6)
    assert logit.shape == (5,)
    assert evidence.shape == (5, 1, 1)
    np.testing.assert_array_equal(evidence.ravel(), logit)


@pytest.mark.parametrize("name", ["images", "logit", "evidence", "fauxto/features"])
def test_names_of_ours_in_the_file_are_no_clash(name):
    made = read_extractor(extractor(name=name).SerializeToString())
    logit, _ = asked(made.with_head(LINEAR), images())
    np.testing.assert_allclose(logit, answers(LINEAR, images().mean(axis=(2, 3))), atol=1e-6)


def test_half_precision_comes_in_and_out_as_single():
    made = read_extractor(extractor(kind=TensorProto.FLOAT16).SerializeToString())
    assert made.features(images()).dtype == np.float32
    logit, _ = asked(made.with_head(LINEAR), images())
    np.testing.assert_allclose(logit, answers(LINEAR, images().mean(axis=(2, 3))), atol=1e-2)


# ---------------------------------------------------------------- tokens


def test_the_first_token_is_taken():
    made = read_extractor(extractor(tokens=5).SerializeToString(), pool="cls")
    np.testing.assert_allclose(made.features(images()), images().mean(axis=(2, 3)), atol=1e-6)
    assert made.grid == 0


@pytest.mark.parametrize(
    ("tokens", "times", "side"), [(5, 3.5, 2), (4, 2.5, 2), (10, 6.0, 3), (7, 4.0, 1), (1, 1.0, 1), (2, 2.0, 1)]
)
def test_the_mean_of_the_patches_leaves_out_a_first_token_that_is_none(tokens, times, side):
    """Token t is t + 1 times the means: of 5 the last four are a square of 2x2, (2 + 3 + 4 + 5) / 4; 7 are no square at all."""
    made = read_extractor(extractor(tokens=tokens).SerializeToString(), pool="mean")
    means = images().mean(axis=(2, 3))
    np.testing.assert_allclose(made.features(images()), times * means, rtol=1e-5, atol=1e-6)
    logit, evidence = asked(made.with_head(LINEAR), images())
    assert evidence.shape == (5, side, side)
    np.testing.assert_allclose(evidence.mean(axis=(1, 2)), logit, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logit, answers(LINEAR, times * means), rtol=1e-5, atol=1e-6)
    if tokens == 5:  # row by row: the second patch of the first row is token 2, three times the means
        np.testing.assert_allclose(evidence[:, 0, 1], answers(LINEAR, 3 * means), rtol=1e-5, atol=1e-6)


def test_a_deep_head_on_patches_answers_for_their_mean():
    made = read_extractor(extractor(tokens=4).SerializeToString(), pool="mean")
    logit, evidence = asked(made.with_head(DEEP), images())
    assert evidence.shape == (5, 1, 1)
    np.testing.assert_allclose(logit, answers(DEEP, 2.5 * images().mean(axis=(2, 3))), rtol=1e-5, atol=1e-6)


def test_an_output_is_taken_by_its_name():
    payload = extractor(tokens=5).SerializeToString()
    np.testing.assert_allclose(
        read_extractor(payload, output="features").features(images()), images().mean(axis=(2, 3)), atol=1e-6
    )
    with pytest.raises(ConfigError, match="no output 'logits': take one of tokens, features"):
        read_extractor(payload, output="logits")


# ---------------------------------------------------------------- one at a time


def test_an_image_does_not_depend_on_its_neighbours_in_a_quantised_model():
    made = read_extractor(quantised().SerializeToString())
    assert made.at_once == 1
    loud = images()
    loud[1] *= 100
    np.testing.assert_array_equal(made.features(loud)[0], made.features(loud[:1])[0])


def test_a_file_for_one_image_is_asked_one_by_one():
    made = read_extractor(extractor(n=1).SerializeToString())
    assert made.at_once == 1
    np.testing.assert_allclose(made.features(images()), images().mean(axis=(2, 3)), atol=1e-6)


def test_any_number_of_images_together_otherwise():
    assert read_extractor(extractor().SerializeToString()).at_once == 0


# ---------------------------------------------------------------- sizes


def test_the_size_is_the_inputs_own_or_the_one_that_is_asked_for():
    assert read_extractor(extractor().SerializeToString()).size == SIDE
    free = extractor(side="side").SerializeToString()
    assert read_extractor(free).size == FREE_SIZE
    assert read_extractor(free, input_size=16).size == 16
    with pytest.raises(ConfigError, match="the model sees 8x8 pixels: leave input_size out"):
        read_extractor(extractor().SerializeToString(), input_size=16)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("payload", [b"", b"no model", b"\x00" * 100, extractor().SerializeToString()[:-20]])
def test_what_is_no_model_is_refused(payload):
    with pytest.raises(ConfigError):
        read_extractor(payload)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (extractor(channels=1), "expected images of shape"),
        (extractor(n=2), "expected images of shape"),
        (extractor(side=10**6), "4096x4096 are the most"),
        (extractor(kind=TensorProto.DOUBLE), "images as floats"),
        (extractor(opset=6), "opset 6"),
    ],
)
def test_a_model_of_another_kind_is_refused(model, said):
    with pytest.raises(ConfigError, match=said):
        read_extractor(model.SerializeToString())


def test_a_map_as_output_is_refused_with_its_shape():
    model = extractor()
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None))
    with pytest.raises(ConfigError, match=r"the output has shape \(1, 3, 1, 1\)"):
        read_extractor(model.SerializeToString())


def outside(values: np.ndarray) -> TensorProto:
    """A tensor that says that its numbers lie in a file far away."""
    tensor = numpy_helper.from_array(values, "times")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    return tensor


@pytest.mark.parametrize("place", ["initializer", "constant", "branch", "function"])
def test_weights_in_other_files_are_refused_wherever_the_model_hides_them(place):
    model = extractor()
    values = outside(np.ones(3, np.float32))
    if place == "initializer":
        model.graph.initializer.append(values)
    else:
        constant = helper.make_node("Constant", [], ["far"], value=values)
        if place in ("branch", "function"):
            body = helper.make_graph([constant], "body", [], [helper.make_tensor_value_info("far", TensorProto.FLOAT, [3])])
            model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
            constant = helper.make_node("If", ["always"], ["far"], then_branch=body, else_branch=body)
        if place == "function":
            opsets = list(model.opset_import)
            model.functions.append(helper.make_function("mine", "hidden", ["always"], ["far"], [constant], opsets))
            model.opset_import.append(helper.make_opsetid("mine", 1))
            constant = helper.make_node("hidden", ["always"], ["far"], domain="mine")
        model.graph.node.append(constant)
    with pytest.raises(ConfigError, match="keeps weights in other files"):
        read_extractor(model.SerializeToString())


def test_operators_that_are_not_onnx_are_refused():
    model = extractor()
    model.graph.node.append(helper.make_node("PyOp", ["features"], ["more"], domain="somebody.else"))
    model.graph.output[0].name = "more"
    model.opset_import.append(helper.make_opsetid("somebody.else", 1))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        read_extractor(model.SerializeToString())


def test_the_models_own_bytes_are_not_touched():
    payload = extractor().SerializeToString()
    made = read_extractor(payload)
    before = made.graph.SerializeToString()
    first, second = made.with_head(LINEAR), made.with_head(LINEAR)
    assert first == second
    assert made.graph.SerializeToString() == before
    onnx.checker.check_model(onnx.ModelProto.FromString(first), full_check=True)
