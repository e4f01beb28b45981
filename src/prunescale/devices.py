"""What a device is called in runs and measurements."""

import torch


def device_name(device: torch.device, n: int = 1) -> str:
    """Of a device, or of so many that share a model: "NVIDIA H200", "2 x NVIDIA H200", "CPU, 2 threads"."""
    one = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{n} x {one}" if n > 1 else one
