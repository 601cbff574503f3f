"""names_int8.py FROM TO: turns a token classifier's 4-bit weights into 8-bit integers.

ONNX Runtime's MatMulNBits keeps weights as [N, K / block, block / 2] bytes, the low four bits first, less a
zero point (8 where none is given), times a scale a block. They become plain matrices, which the runtime's own
dynamic quantisation then makes 8-bit integers, a scale a column.
"""

import pathlib
import sys
import tempfile

import numpy
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic


def halves(packed, shape):
    return numpy.stack([packed & 15, packed >> 4], -1).reshape(shape).astype(numpy.float32)


def plain(graph):
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "MatMulNBits":
            continue
        size = {attribute.name: attribute.i for attribute in node.attribute}
        columns, rows, block = size["N"], size["K"], size["block_size"]
        assert size["bits"] == 4 and rows % block == 0, "only whole blocks of four bits are known"
        weights = halves(numpy_helper.to_array(held[node.input[1]]), (columns, rows // block, block))
        zero = numpy.float32(8)
        if len(node.input) > 3 and node.input[3]:
            zero = halves(numpy_helper.to_array(held[node.input[3]]).reshape(columns, -1), (columns, -1))
            zero = zero[:, : rows // block, None]
        scales = numpy_helper.to_array(held[node.input[2]]).reshape(columns, rows // block, 1)
        matrix = ((weights - zero) * scales).reshape(columns, rows).T
        name = node.input[1] + "_plain"
        graph.initializer.append(numpy_helper.from_array(numpy.ascontiguousarray(matrix, numpy.float32), name))
        left = node.input[0]
        node.op_type, node.domain = "MatMul", ""
        del node.attribute[:]
        del node.input[:]
        node.input.extend([left, name])
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


source, target = sys.argv[1:]
model = onnx.load(source)
plain(model.graph)
with tempfile.TemporaryDirectory() as folder:
    between = pathlib.Path(folder) / "plain.onnx"
    onnx.save(model, between)
    quantize_dynamic(
        between, target, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul"]
    )
