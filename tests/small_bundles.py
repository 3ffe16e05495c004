"""Bundles that anybody may have made: a network of a few nodes, with whatever is wrong written into it on purpose."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper

from cataloger.errors import BundleError
from cataloger.model.bundle import CARD, GOLDEN, MANIFEST, MODEL, WEIGHTS, Bundle, new_bundle, read_bundle, seal
from cataloger.options import NetworkConfig, PreprocessSpec

SIZE, LABELS = 16, ("Hat", "Shirt", "Sock")


def constant(name, *values, dtype=np.int64):
    """Return a tensor that lies in the file."""
    return numpy_helper.from_array(np.array(values, dtype), name)


def head(labels):
    """Return the one tensor that decides the scores, and that is among the weights."""
    return np.ones((1, labels), np.float32)


def model(nodes=(), tensors=(), *, size=SIZE, labels=3, last="mean"):
    """Return a model that gives for each label the mean of an image, of the value named `last`.

    nodes, tensors: more of them; `pixels` are the image as floats, N x size x size x 3.
    """
    own = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        *nodes,
        helper.make_node("Unsqueeze", [last, "one"], ["column"]),
        helper.make_node("MatMul", ["column", "head"], ["logits"]),
    ]
    kept = [constant("axes", 1, 2, 3), constant("one", 1), numpy_helper.from_array(head(labels), "head")]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", size, size, 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])
    graph = helper.make_graph(own, "small", [images], [logits], [*kept, *tensors])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def small_files(folder, *, labels, size, note=""):
    """Write the files of a bundle into a folder. note: a text in its weights, which decides their hash."""
    (folder / MODEL).write_bytes(model(size=size, labels=labels).SerializeToString())
    (folder / WEIGHTS).write_bytes(safetensors.numpy.save({"head": head(labels)}, metadata={"note": note}))
    (folder / CARD).write_text("# shop")
    images = np.zeros((2, size, size, 3), np.uint8)
    np.savez_compressed(folder / GOLDEN, images=images, logits=np.zeros((2, labels), np.float32))


def small_bundle(path, made=None, *, labels=LABELS, size=SIZE):
    """Write a bundle of a model and read it.

    made: what `model` returns, or bytes, which need not be one; they take the place of a model that can be sealed.
    """
    draft = Bundle(path, "shop", "3", labels, PreprocessSpec(size=size), NetworkConfig(classes=len(labels)))
    with new_bundle(path) as folder:
        small_files(folder, labels=len(labels), size=size)
        seal(replace(draft, path=folder))
    if made is not None:
        put(replace(draft, path=path), MODEL, made if isinstance(made, bytes) else made.SerializeToString())
    return read_bundle(path)


def digest(value):
    """Return the identity of a value, as bundles have it."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def stamped(values):
    """Return the values of a bundle.json with the identities that fit them, as far as anything fits them."""
    files, parts = values.get("files"), [values.get(name) for name in ("network", "preprocess", "labels")]
    if isinstance(files, dict):
        values["weights_id"] = digest([files.get(WEIGHTS), *parts])
    values["calibration_id"] = digest(values.get("calibration"))
    return values


def edit(bundle, change, *, stamp=False):
    """Change the values of a bundle.json in place. stamp: and its identities with them."""
    path = bundle.path / MANIFEST
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(stamped(values) if stamp else values))


def put(bundle, name, data):
    """Replace a file of a bundle, and its hash and identities."""
    (bundle.path / name).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    edit(bundle, lambda values: values["files"].update({name: sha256}), stamp=True)


def saved_elsewhere(made, location):
    """Move the tensors of a model into another file, as ONNX allows."""
    for tensor in made.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
    return made


def refused(call, *arguments):
    """Return the message of a refusal, which is one line without anything that a terminal acts upon."""
    with pytest.raises(BundleError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000
    return message
