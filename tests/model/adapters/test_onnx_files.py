from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from medsaliency.model.adapters.onnx_files import files_beside
from medsaliency.types import MedsaliencyError


def outside(location: str, name: str = "weight") -> TensorProto:
    """A tensor that says it is kept in another file."""
    tensor = helper.make_tensor(name, TensorProto.FLOAT, [4], np.zeros(4, np.float32).tobytes(), raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph(*tensors: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "graph", [], [], initializer=list(tensors))


def in_the_graph(location: str) -> onnx.ModelProto:
    return helper.make_model(graph(outside(location)))


def in_a_constant(location: str) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["x"], value=outside(location))
    return helper.make_model(graph(nodes=(node,)))


def in_a_branch(location: str) -> onnx.ModelProto:
    node = helper.make_node("If", ["c"], ["x"], then_branch=graph(outside(location)), else_branch=graph())
    return helper.make_model(graph(nodes=(node,)))


def in_a_sparse_tensor(location: str) -> onnx.ModelProto:
    sparse = helper.make_sparse_tensor(outside(location), outside(location, "indices"), [8])
    return helper.make_model(helper.make_graph([], "graph", [], [], sparse_initializer=[sparse]))


def in_a_function(location: str) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["x"], value=outside(location))
    function = helper.make_function("own", "f", [], ["x"], [node], [helper.make_opsetid("", 17)])
    return helper.make_model(graph(), functions=[function])


PLACES = pytest.mark.parametrize(
    "make",
    [in_the_graph, in_a_constant, in_a_branch, in_a_sparse_tensor, in_a_function],
    ids=lambda make: make.__name__,
)


@PLACES
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin", "missing.bin", "folder/../../x"])
def test_weights_outside_the_folder_are_refused_wherever_they_are_named(
    make: object, location: str, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    content = make(location).SerializeToString()  # type: ignore[operator]
    with pytest.raises(MedsaliencyError, match=r"expected its weights in the file or in files of its folder, it names"):
        files_beside(folder / "model.onnx", content)


@PLACES
def test_weights_in_the_folder_are_not(make: object, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    found = files_beside(tmp_path / "model.onnx", make("weights.bin").SerializeToString())  # type: ignore[operator]
    assert found == [tmp_path / "weights.bin"]


@pytest.mark.parametrize("content", [b"\xff", b"\x3a\xff\x01", b"\x3b", b"\x80" * 11, b"\x3a\x02\x2a\x05"])
def test_what_is_no_protocol_buffer_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match=r"model.onnx: cannot be read as ONNX"):
        files_beside(tmp_path / "model.onnx", content)


def test_fields_of_more_than_32_bits_are_refused(tmp_path: Path) -> None:
    content = in_the_graph("../secret.bin").SerializeToString()
    tag = bytes([7 << 3 | 2])  # that of the graph
    start = content.index(tag)
    overlong = bytes([tag[0] | 128, 128, 128, 128, 16])  # the same number with the 33rd bit set
    hidden = content[:start] + overlong + content[start + 1 :]
    with pytest.raises(MedsaliencyError, match="a field of a number beyond 32 bits"):
        files_beside(tmp_path / "model.onnx", hidden)


def test_graphs_within_graphs_without_end_are_refused(tmp_path: Path) -> None:
    content = b""
    for field in (*(6, 5, 1) * 40, 7):  # a graph in an attribute of a node of a graph, and so on, in a model
        size = bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7])
        content = bytes([field << 3 | 2]) + size + content
    with pytest.raises(MedsaliencyError, match="graphs within graphs without end"):
        files_beside(tmp_path / "model.onnx", content)
