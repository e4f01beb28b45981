"""What a device is called."""

import torch

from prunescale.devices import device_name


def test_names_are_those_of_the_runs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert device_name(torch.device("cuda:1")) == "NVIDIA H200"
    assert device_name(torch.device("cuda"), 2) == "2 x NVIDIA H200"
    assert device_name(torch.device("cpu"), 3) == "3 x CPU, 2 threads"
