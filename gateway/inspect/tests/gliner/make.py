"""Makes the smallest graph that takes what a GLiNER takes and gives what it gives: model.onnx and tokenizer.json.

It knows two names and a place by their tokens. Its classes are, in this order, a city and a person. Needs `onnx`.
"""

import json
import pathlib

from onnx import TensorProto, checker, helper, save

WIDTH = 3
FOLDER = pathlib.Path(__file__).parent
WORDS = ["[UNK]", "[CLS]", "[SEP]", "<<ENT>>", "<<SEP>>", "city", "person", "thandiwe", "okonkwo", "leith"]


def number(name, value, kind=TensorProto.INT64):
    return helper.make_tensor(name, kind, [], [value])


def numbers(name, values):
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def node(what, given, gives, **how):
    return helper.make_node(what, given.split(), gives.split(), **how)


FLOAT = TensorProto.FLOAT
nodes = [
    # The first token of each word, by the number that it carries.
    node("Squeeze", "text_lengths", "words"),
    node("Add", "words one", "end"),
    node("Range", "one end one", "counted"),
    node("Unsqueeze", "counted axis1", "column"),
    node("Equal", "column words_mask", "begins"),
    node("Cast", "begins", "chosen", to=FLOAT),
    node("Cast", "input_ids", "ids", to=FLOAT),
    node("Transpose", "ids", "ids_column", perm=[1, 0]),
    node("MatMul", "chosen ids_column", "first_ids"),
    # What each word is.
    node("Greater", "first_ids before_place", "is_place"),
    node("Greater", "first_ids before_names", "is_named"),
    node("Cast", "is_place", "place", to=FLOAT),
    node("Cast", "is_named", "named", to=FLOAT),
    node("Sub", "named place", "person"),
    node("Concat", "place person", "classes", axis=1),
    # A span is what its first and last word are; a longer one is surer.
    node("Gather", "span_idx zero", "first", axis=2),
    node("Gather", "span_idx one", "last", axis=2),
    node("Gather", "classes first", "of_first", axis=0),
    node("Gather", "classes last", "of_last", axis=0),
    node("Mul", "of_first of_last", "both"),
    node("Cast", "span_mask", "valid", to=FLOAT),
    node("Unsqueeze", "valid axis2", "valid_column"),
    node("Mul", "both valid_column", "kept"),
    node("Sub", "last first", "longer"),
    node("Cast", "longer", "longer_by", to=FLOAT),
    node("Unsqueeze", "longer_by axis2", "longer_column"),
    node("Add", "longer_column most", "strength"),
    node("Mul", "kept strength", "odds"),
    node("Sub", "odds least", "shifted"),
    node("Reshape", "shifted shape", "logits"),
]
held = [
    number("zero", 0),
    number("one", 1),
    number("before_names", 6.5, FLOAT),
    number("before_place", 8.5, FLOAT),
    number("most", 12.0, FLOAT),
    number("least", 10.0, FLOAT),
    numbers("axis1", [1]),
    numbers("axis2", [2]),
    numbers("shape", [1, -1, WIDTH, 2]),
]


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, shape)


INT, BOOL = TensorProto.INT64, TensorProto.BOOL
given = [
    value("input_ids", INT, 1, "tokens"),
    value("attention_mask", INT, 1, "tokens"),
    value("words_mask", INT, 1, "tokens"),
    value("text_lengths", INT, 1, 1),
    value("span_idx", INT, 1, "spans", 2),
    value("span_mask", BOOL, 1, "spans"),
]
gives = [value("logits", FLOAT, 1, "words", WIDTH, 2)]
graph = helper.make_graph(nodes, "gliner", given, gives, held)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
checker.check_model(model)
save(model, FOLDER / "model.onnx")

tokenizer = {
    "version": "1.0",
    "added_tokens": [
        {
            "id": WORDS.index(word),
            "content": word,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for word in WORDS[:5]
    ],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {
        "type": "WordLevel",
        "vocab": {word: at for at, word in enumerate(WORDS)},
        "unk_token": "[UNK]",
    },
}
(FOLDER / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1) + "\n")
