"""Which engine is taken, and that torch answers as onnxruntime does."""

import onnxruntime
import pytest

from cataloger.errors import UsageError
from cataloger.inference import backend as engines
from cataloger.inference.backend import Engine, choose_engine
from cataloger.inference.onnx import CPU_PROVIDER, CUDA_PROVIDER
from cataloger.model.bundle import default_bundle_path, read_bundle

CPU, ORT_GPU, TORCH_GPU = Engine("onnxruntime", "cpu"), Engine("onnxruntime", "cuda"), Engine("torch", "cuda")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """What a machine looks like that has a GPU, an onnxruntime and a torch that can use it, or not."""

    def make(*, gpu, provider, torch):
        (tmp_path / "nvidia").touch() if gpu else (tmp_path / "nvidia").unlink(missing_ok=True)
        providers = [CUDA_PROVIDER, CPU_PROVIDER] if provider else [CPU_PROVIDER]
        monkeypatch.setattr(engines, "NVIDIA", tmp_path / "nvidia")
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
        monkeypatch.setattr(engines, "_torch_problem", lambda: None if torch else "torch is not installed")

    return make


@pytest.mark.parametrize(
    ("device", "gpu", "provider", "torch", "expected"),
    [
        ("auto", False, False, True, CPU),
        ("auto", True, False, False, CPU),
        ("auto", True, False, True, TORCH_GPU),
        ("auto", True, True, True, ORT_GPU),
        ("cpu", True, True, True, CPU),
        ("cuda", True, False, True, TORCH_GPU),
        ("cuda", True, True, False, ORT_GPU),
    ],
)
def test_what_is_there_is_used(machine, device, gpu, provider, torch, expected):
    machine(gpu=gpu, provider=provider, torch=torch)
    assert choose_engine(device) == expected


def test_a_gpu_that_was_asked_for_and_is_not_there_is_an_error_that_says_what_to_do(machine):
    machine(gpu=False, provider=False, torch=False)
    with pytest.raises(UsageError, match=r"torch is not installed\. Install torch .* or use --device cpu"):
        choose_engine("cuda")


def test_torch_without_a_gpu_says_so():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="torch finds no usable GPU"):
        choose_engine("cuda")


def test_precision_on_a_gpu():
    bundle = read_bundle(default_bundle_path())
    assert TORCH_GPU.bundle(bundle, "auto").precision == "fp16"
    assert TORCH_GPU.bundle(bundle, "fp32").precision == "fp32"
    assert ORT_GPU.bundle(bundle, "auto").precision == "fp32"
    with pytest.raises(UsageError, match="int8 is for CPUs"):
        TORCH_GPU.bundle(bundle, "int8")
