"""What a network in a bundle may not have, anywhere in the file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from posetools.errors import InputError
from posetools.runtime import session
from posetools.runtime.session import check_onnx
from tests.runtime import tiny


def _external() -> Any:
    tensor = numpy_helper.from_array(np.zeros(3, dtype=np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def _sparse(values: Any) -> Any:
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.arange(3), "indices"), [9])


def _loaded() -> Any:
    return onnx.load_from_string(tiny.pose_model())


def _in_initializer() -> Any:
    made = _loaded()
    made.graph.initializer.append(_external())
    return made


def _in_sparse_initializer() -> Any:
    made = _loaded()
    made.graph.sparse_initializer.append(_sparse(_external()))
    return made


def _in_attribute(name: str) -> Callable[[], Any]:
    def build() -> Any:
        made = _loaded()
        attribute = made.graph.node[0].attribute.add(name="value")
        inner = helper.make_graph([], "inner", [], [], [_external()])
        value = {"g": inner, "graphs": inner, "t": _external(), "tensors": _external()}.get(name, _sparse(_external()))
        field = getattr(attribute, name)
        field.CopyFrom(value) if hasattr(field, "CopyFrom") else field.append(value)
        return made

    return build


def _in_function() -> Any:
    made = _loaded()
    node = helper.make_node("Constant", [], ["y"], value=_external())
    made.functions.append(helper.make_function("own", "F", [], ["y"], [node], [helper.make_opsetid("", 17)]))
    return made


def _in_default_of_function() -> Any:
    made = _in_function()
    del made.functions[0].node[:]
    made.functions[0].attribute_proto.append(helper.make_attribute("value", _external()))
    return made


def _in_training() -> Any:
    made = _loaded()
    made.training_info.add().algorithm.initializer.append(_external())
    return made


def _only_location() -> Any:
    made = _in_initializer()
    made.graph.initializer[-1].ClearField("external_data")
    return made


def _only_entries() -> Any:
    made = _in_initializer()
    made.graph.initializer[-1].ClearField("data_location")
    return made


EXTERNAL = {
    "initializer": _in_initializer,
    "sparse initializer": _in_sparse_initializer,
    "function": _in_function,
    "default of a function": _in_default_of_function,
    "training": _in_training,
    "only the location": _only_location,
    "only the entries": _only_entries,
    **{
        f"attribute {name}": _in_attribute(name)
        for name in ("t", "g", "tensors", "graphs", "sparse_tensor", "sparse_tensors")
    },
}


@pytest.mark.parametrize("build", EXTERNAL.values(), ids=EXTERNAL.keys())
def test_no_tensor_may_be_in_another_file(build: Callable[[], Any]) -> None:
    with pytest.raises(InputError) as caught:
        check_onnx(build().SerializeToString(), "cars.zip", "pose.onnx")
    rule = "must have its values in the file, not in another one"
    assert str(caught.value) == f"cars.zip: pose.onnx: tensor 'weights' {rule}"


@pytest.mark.parametrize(
    ("operator", "domain"),
    [("EPContext", "com.microsoft"), ("Mul", "evil"), ("Scaler", "ai.onnx.ml"), ("Conv", "com.microsoft.nchwc")],
)
def test_operators_are_standard_ones(operator: str, domain: str) -> None:
    made = _loaded()
    made.graph.node.append(helper.make_node(operator, ["input"], ["unused"], domain=domain))
    with pytest.raises(InputError, match=rf"operator must be a standard one.*, got '{domain}\.{operator}'"):
        check_onnx(made.SerializeToString(), "cars.zip", "pose.onnx")


def test_operators_in_subgraphs_are_seen() -> None:
    made = _loaded()
    inner = helper.make_graph([helper.make_node("EPContext", [], ["y"], domain="com.microsoft")], "inner", [], [])
    made.graph.node.append(helper.make_node("If", ["input"], ["unused"], then_branch=inner, else_branch=inner))
    with pytest.raises(InputError, match=r"com\.microsoft\.EPContext"):
        check_onnx(made.SerializeToString(), "cars.zip", "pose.onnx")


def test_quantized_operators_of_onnxruntime_pass() -> None:
    made = _loaded()
    made.graph.node.append(helper.make_node("QLinearAdd", ["input"], ["unused"], domain="com.microsoft"))
    check_onnx(made.SerializeToString(), "cars.zip", "pose.onnx")


def test_the_other_format_of_onnxruntime_is_refused() -> None:
    with pytest.raises(InputError, match="must be an ONNX file, but has onnxruntime's own format"):
        check_onnx(b"\x1c\x00\x00\x00ORTM" + bytes(100), "cars.zip", "det.onnx")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x3a\xff\xff\xff\xff\x0f", "ends after its message"),
        (b"\x38\x01", "field 7 of ModelProto is not a message"),
        (b"\x3b", "wire type 3"),
        (b"\x80", "a number is cut off"),
        (b"\x80" * 11, "more than ten bytes"),
        (b"\x00\x01", "field 0"),
        (b"\xf8\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "field 2305843009213693951"),
    ],
)
def test_what_is_no_protobuf_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(InputError, match=f"must be a whole ONNX file: byte .*{why}"):
        check_onnx(content, "cars.zip", "det.onnx")


def test_every_truncation_is_refused_or_is_a_row_of_whole_fields() -> None:
    content, refused = tiny.pose_model(), 0
    for length in range(len(content)):
        try:
            check_onnx(content[:length], "cars.zip", "det.onnx")
        except InputError:
            refused += 1
    assert refused > 0.98 * len(content)


def test_a_file_of_nothing_but_fields_costs_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_FIELDS", 10_000)
    start = time.perf_counter()
    with pytest.raises(InputError, match="it has more than 10000 fields"):
        check_onnx(b"\x08\x01" * 5_000_000, "cars.zip", "det.onnx")
    assert time.perf_counter() - start < 1


def test_deep_nesting_is_walked_without_recursion() -> None:
    content = b""
    for _ in range(3000):  # graph -> node -> attribute -> graph ...
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            content = tag + _varint(len(content)) + content
    check_onnx(b"\x3a" + _varint(len(content)) + content, "cars.zip", "det.onnx")


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def test_the_numbers_of_fields_are_those_of_the_onnx_package() -> None:
    """The check follows every field that can have tensors or operators, by the onnx package's own description."""
    waiting, seen = ["ModelProto"], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        fields = getattr(onnx, name, None) or getattr(onnx.onnx_ml_pb2, name)
        messages = {f.number: f.message_type.name for f in fields.DESCRIPTOR.fields if f.message_type}
        children = {number: kind for number, kind in messages.items() if _can_hold(kind)}
        assert session.CHILDREN[name] == children, name
        waiting += children.values()
    assert seen == set(session.CHILDREN)
    node, tensor = onnx.NodeProto.DESCRIPTOR.fields_by_name, onnx.TensorProto.DESCRIPTOR.fields_by_name
    assert (node["op_type"].number, node["domain"].number) == (session.OP_TYPE, session.DOMAIN)
    assert tensor["name"].number == session.TENSOR_NAME
    assert tensor["external_data"].number == session.EXTERNAL_DATA
    assert tensor["data_location"].number == session.DATA_LOCATION


def _can_hold(kind: str, above: tuple[str, ...] = ()) -> bool:
    if kind in ("TensorProto", "NodeProto"):
        return True
    descriptor = onnx.onnx_ml_pb2.DESCRIPTOR.message_types_by_name.get(kind)
    inner = [f.message_type.name for f in descriptor.fields if f.message_type] if descriptor else []
    return any(_can_hold(name, (*above, kind)) for name in inner if name not in (*above, kind))
