"""Padded batches are encoded without a word between host and device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ultimate_rvc.rvc.content import ContentEncoder
from ultimate_rvc.rvc.content.files import starter_file
from ultimate_rvc.rvc.content.frames import frame_count
from ultimate_rvc.rvc.content.hubert import HubertEncoder
from ultimate_rvc.rvc.content.starter import StarterEncoder

SMALL_HUBERT = Path(__file__).resolve().parents[2] / "data" / "content" / "small_hubert"


class HostTensors(TorchDispatchMode):
    """Names the operations that read or make a tensor on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, Tensor)]
        if any(tensor.device.type == "cpu" for tensor in tensors):
            self.found.append(str(function))
        return output


@pytest.mark.parametrize(
    "load",
    [
        lambda: HubertEncoder("contentvec", SMALL_HUBERT, "meta"),
        lambda: StarterEncoder(starter_file(), "meta"),
    ],
    ids=["hubert", "starter"],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_padded_batch_is_encoded_on_the_device_alone(
    load: Callable[[], ContentEncoder], version: str
) -> None:
    """On the device that holds no numbers, asking for one is an error."""
    encoder = load()
    lengths = [200_000, 80_000, 32_080]
    batch = torch.empty(3, lengths[0], device="meta")
    encoder.encode(batch, version, lengths)  # what is kept from the first time goes to the device now
    with HostTensors() as host:
        features = encoder.encode(batch, version, lengths)
    assert features.shape == (3, frame_count(lengths[0]), encoder.feature_dim(version))
    assert host.found == []
