"""In which numbers a step computes."""

import torch


def mixed_precision(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where the device is faster in it; its range needs no scaling of the loss."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_fast_bfloat16(device))


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies matrices of bfloat16; other processors only emulate that."""
    if device.type == "cuda":
        return True
    # torch before 2.10 cannot say.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
