"""Models of others: one that never ends, takes all memory or kills its process costs an error of one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from patience import HANGS

from cataloger.errors import BundleError
from cataloger.inference import isolated, replay_golden
from cataloger.inference.isolated import IsolatedClassifier, open_classifier
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import default_bundle_path, read_bundle, sha256_of

IMAGES = Path(__file__).parents[2] / "examples" / "images"
DEFAULT = default_bundle_path()


def scalar(name, value, kind=TensorProto.INT64):
    return helper.make_tensor(name, kind, [], [value])


def hostile(bundle, nodes, result):
    """Put nodes behind a model's hidden layer, `plain`; `result` names a float that is added to it."""
    path = bundle / "model.onnx"
    model = onnx.load(path)
    graph = model.graph
    [at] = [at for at, node in enumerate(graph.node) if node.op_type == "Relu"]
    before, hidden, behind = graph.node[:at], graph.node[at], graph.node[at + 1 :]
    added = helper.make_node("Add", ["plain", result], [hidden.output[0]])
    hidden.output[0] = "plain"
    put_together = [*before, hidden, *nodes, added, *behind]
    del graph.node[:]
    graph.node.extend(put_together)
    onnx.save(model, path)
    seal_again(bundle)


def seal_again(path):
    """Record the hashes of a bundle's files anew, as its maker would."""
    manifest = json.loads((path / "bundle.json").read_text())
    files = manifest["files"]
    for name in list(files):
        if not (path / name).exists():
            del files[name]
        else:
            files[name] = sha256_of(path / name)
    (path / "bundle.json").write_text(json.dumps(manifest))


def looping(bundle):
    """A loop whose condition is always true: 2^62 rounds."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Identity", ["sum"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, []),
        ],
    )
    nodes = [
        helper.make_node("Constant", [], ["rounds"], value=scalar("rounds", 2**62)),
        helper.make_node("Constant", [], ["begin"], value=scalar("begin", 1, TensorProto.BOOL)),
        helper.make_node("ReduceMax", ["plain"], ["start"], keepdims=0),
        helper.make_node("Loop", ["rounds", "begin", "start"], ["looped"], body=body),
    ]
    hostile(bundle, nodes, "looped")


def endless(bundle):
    """Allowed operators that take an hour and more: matrices of 3,000 x 3,000, multiplied five thousand times."""
    sides = onnx.numpy_helper.from_array(np.array([3000, 3000], np.int64), "sides")
    nodes = [
        helper.make_node("Constant", [], ["sides"], value=sides),
        helper.make_node("ConstantOfShape", ["sides"], ["zeros"]),
        helper.make_node("ReduceMax", ["plain"], ["start"], keepdims=0),
        helper.make_node("Add", ["zeros", "start"], ["product_0"]),
        *(helper.make_node("MatMul", [f"product_{at}", "product_0"], [f"product_{at + 1}"]) for at in range(5000)),
        helper.make_node("ReduceMax", ["product_5000"], ["most"], keepdims=0),
    ]
    hostile(bundle, nodes, "most")


def gigantic(bundle):
    """A tensor of 20 GB, made from nothing."""
    side = onnx.numpy_helper.from_array(np.array([5_000_000_000], np.int64), "side")
    nodes = [
        helper.make_node("Constant", [], ["side"], value=side),
        helper.make_node("ConstantOfShape", ["side"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["most"], keepdims=0),
    ]
    hostile(bundle, nodes, "most")


def has_ended(process):
    """True for a process that has ended, also where nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def bundle(tmp_path):
    """A copy of the shipped bundle, in fp32, which is not known to be ours."""
    copy = tmp_path / "bundle"
    shutil.copytree(DEFAULT, copy, ignore=shutil.ignore_patterns("*.int8.onnx"))
    return copy


def read(path):
    return read_bundle(path, check=()).at("fp32")


def test_the_shipped_model_runs_here_and_others_do_not(bundle):
    assert type(open_classifier(read(DEFAULT))) is OnnxClassifier
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    here = OnnxClassifier(read(DEFAULT))
    with closing(open_classifier(read(bundle))) as there:
        assert type(there) is IsolatedClassifier
        assert there.device == here.device
        (ours, our_places), (theirs, their_places) = (each.scores_and_places(pixels) for each in (here, there))
        assert np.array_equal(ours.logits, theirs.logits)
        assert np.array_equal(ours.familiarity, theirs.familiarity)
        assert np.array_equal(our_places, their_places)
        with ThreadPoolExecutor(5) as threads:
            assert all(np.array_equal(each, ours.logits) for each in threads.map(there.logits, [pixels] * 20))


def test_a_loop_is_refused_before_the_model_is_loaded(bundle):
    looping(bundle)
    with pytest.raises(BundleError, match="contains a graph or a sparse tensor within a node"):
        open_classifier(read(bundle))


def test_a_model_that_never_ends_is_stopped(bundle, monkeypatch):
    endless(bundle)
    monkeypatch.setattr(isolated, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(isolated, "IMAGE_SECONDS", 0.0)
    with closing(open_classifier(read(bundle))) as classifier:
        child = classifier._end.peek()[2][0].pid
        with pytest.raises(BundleError, match="longer than 1 seconds"):
            classifier.logits(np.zeros((1, 224, 224, 3), np.uint8))
        assert has_ended(child)
        with pytest.raises(BundleError):
            classifier.logits(np.zeros((1, 224, 224, 3), np.uint8))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory that a process asks for")
def test_a_gigantic_tensor_is_an_error_of_one_line(bundle):
    gigantic(bundle)
    with pytest.raises(BundleError) as caught, closing(open_classifier(read(bundle))) as classifier:
        classifier.logits(np.zeros((1, 224, 224, 3), np.uint8))
    assert "model.onnx cannot be" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_model_that_cannot_be_loaded_is_an_error_of_one_line(bundle):
    (bundle / "model.onnx").write_bytes(b"\x08\x01" * 50)
    seal_again(bundle)
    with pytest.raises(BundleError, match="is no ONNX model") as caught:
        open_classifier(read(bundle))
    assert "\n" not in str(caught.value)


def test_a_process_that_is_killed_is_an_error(bundle):
    with closing(open_classifier(read(bundle))) as classifier:
        os.kill(classifier._end.peek()[2][0].pid, signal.SIGKILL)
        with pytest.raises(BundleError, match="ended the process"):
            classifier.logits(np.zeros((1, 224, 224, 3), np.uint8))


def test_a_classifier_outlives_the_thread_that_opened_it(bundle):
    opened = []
    thread = threading.Thread(target=lambda: opened.append(open_classifier(read(bundle))))
    thread.start()
    thread.join()
    time.sleep(0.2)
    with closing(opened[0]) as classifier:
        assert classifier.logits(np.zeros((1, 224, 224, 3), np.uint8)).shape == (1, len(classifier.labels))


@pytest.mark.parametrize("command", ["tag", "verify"])
def test_a_signal_ends_a_command_whose_model_never_ends(bundle, tmp_path, command):
    endless(bundle)
    arguments = {
        "tag": ["tag", str(IMAGES), "--db", f"sqlite:///{tmp_path}/c.db", "--model", str(bundle), "-q"],
        "verify": ["models", "verify", str(bundle)],
    }[command]
    process = subprocess.Popen([sys.executable, "-m", "cataloger", *arguments], stderr=subprocess.PIPE)
    try:
        child = await_child(process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=HANGS)
        assert process.returncode in (130, -signal.SIGTERM)
        until = time.monotonic() + HANGS
        while not has_ended(child):  # the system ends it after its parent
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()


def await_child(process):
    """Wait until the model's process has been at work for a while; return its id."""
    until = time.monotonic() + HANGS
    while time.monotonic() < until:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if b"classify_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                ticks = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[11]
                if int(ticks) > 150:  # more than a second of work: it is in the loop
                    return child
        time.sleep(0.02)
    raise AssertionError("the model's process did not begin")


def test_verify_of_a_bundle_in_a_process_of_its_own_says_the_same(bundle):
    seal_again(bundle)
    assert replay_golden(read_bundle(bundle).at("fp32")) == replay_golden(read_bundle(DEFAULT).at("fp32"))
