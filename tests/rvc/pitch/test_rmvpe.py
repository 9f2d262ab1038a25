"""RMVPE's network against another implementation, with seeded random weights at full size.

The trained weights are a download of 181 MB, so what is tested is that any weights give what they give
elsewhere, and that pieces agree with the whole; how well the trained ones hear is not ours to test. See
scripts/oracles/rmvpe_reference.py for where the expected values come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ultimate_rvc.paths import models_dir
from ultimate_rvc.rvc.pitch.chunked import pieces
from ultimate_rvc.rvc.pitch.rmvpe import Rmvpe, load_rmvpe
from ultimate_rvc.rvc.pitch.rmvpe_network import RMVPENetwork

REFERENCE = Path(__file__).parents[2] / "data" / "pitch" / "rmvpe.npz"
SEED = 20


def empty_network() -> RMVPENetwork:
    with torch.device("meta"):
        return RMVPENetwork()


def seeded_state() -> dict[str, torch.Tensor]:
    """As in scripts/oracles/rmvpe_reference.py."""
    shapes = {name: tuple(tensor.shape) for name, tensor in empty_network().state_dict().items()}
    numbers = np.random.RandomState(SEED)
    state = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.int64)
            continue
        values = numbers.random_sample(shape).astype(np.float32)
        if name.endswith("running_var") or (name.endswith(".weight") and len(shape) == 1):
            values = 0.5 + values
        else:
            values = (2 * values - 1) * (3 / max(1, int(np.prod(shape[1:])))) ** 0.5
        if name == "fc.1.weight":
            values *= 12
        state[name] = torch.from_numpy(np.asarray(values, np.float32))
    return state


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return seeded_state()


@pytest.fixture(scope="module")
def rmvpe(state: dict[str, torch.Tensor]) -> Rmvpe:
    return Rmvpe(state)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def waveform_16k(reference: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(reference["samples"].astype(np.float32) / 32767)


def test_names_and_shapes_are_those_of_the_official_file(
    state: dict[str, torch.Tensor], reference: dict[str, np.ndarray]
) -> None:
    ours = [f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(state.items())]
    assert ours == reference["names"].tolist()


def test_salience_equals_the_other_implementations(
    rmvpe: Rmvpe, waveform_16k: torch.Tensor, reference: dict[str, np.ndarray]
) -> None:
    salience = rmvpe.salience(waveform_16k).numpy()
    assert reference["salience"].std() > 0.1  # a network that says the same everywhere would prove nothing
    error = np.abs(salience - reference["salience"])
    # Rounding, which random weights enlarge: against float64 the reference itself is off by 4.3e-4 at most.
    assert error.max() <= 1.5e-3
    assert np.sqrt(np.square(error).mean()) <= 1e-4


def test_folding_the_batch_norms_changes_nothing_but_rounding(state: dict[str, torch.Tensor]) -> None:
    """In float64, where rounding is nothing even after all layers."""
    network = empty_network()
    network.load_state_dict(state, assign=True)
    network.eval().double()
    log_mel = torch.randn(1, 128, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(log_mel)
        network.fold_batch_norms()
        folded = network(log_mel)
    left = [name for name, part in network.named_modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert left == ["unet.encoder.bn"]
    assert expected.std() > 0.1
    torch.testing.assert_close(folded, expected, rtol=0, atol=1e-10)


def test_f0_equals_the_other_implementations(
    rmvpe: Rmvpe, waveform_16k: torch.Tensor, reference: dict[str, np.ndarray]
) -> None:
    expected_hz = np.where(reference["f0_hz"] > 0, reference["f0_hz"].clip(50, 1100), 0)
    np.testing.assert_allclose(rmvpe.f0_hz(waveform_16k).numpy(), expected_hz, rtol=1e-4)


def test_the_official_form_of_file_is_found_and_read(
    state: dict[str, torch.Tensor], waveform_16k: torch.Tensor, rmvpe: Rmvpe
) -> None:
    models_dir().mkdir(parents=True)
    torch.save(state, models_dir() / "rmvpe.pt")
    read = load_rmvpe("cpu")
    torch.testing.assert_close(read.salience(waveform_16k[:5000]), rmvpe.salience(waveform_16k[:5000]))


WAITING_FOR_THE_DEVICE = {"item", "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal"}


class WaitingOperations(TorchDispatchMode):
    """Collects the operations for which a host must wait for its GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.found: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            tensor is not None and tensor.dtype is torch.bool for tensor in _tensors(args[1:])
        )
        if name in WAITING_FOR_THE_DEVICE or by_mask:
            self.found.add(name)
        return func(*args, **(kwargs or {}))


def _tensors(arguments: Iterable[Any]) -> Iterator[torch.Tensor]:
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from _tensors(argument)


def test_nothing_makes_the_host_wait_for_the_device(rmvpe: Rmvpe) -> None:
    with WaitingOperations() as seen:
        rmvpe.f0_hz(0.1 * torch.randn(5200))
    assert seen.count > 100
    assert seen.found == set()


def test_the_watch_sees_what_waits() -> None:
    numbers = torch.arange(3.0)
    with WaitingOperations() as seen:
        numbers.max().item()
        numbers[numbers > 1]
    assert {"_local_scalar_dense", "index"} <= seen.found


@pytest.mark.parametrize("samples", [1, 160, 1023, 5200])
def test_every_length_gives_its_frames(rmvpe: Rmvpe, samples: int) -> None:
    f0_hz = rmvpe.f0_hz(0.1 * torch.randn(samples))
    assert f0_hz.shape == (samples // 160 + 1,)
    assert bool(((f0_hz == 0) | ((f0_hz >= 50) & (f0_hz <= 1100))).all())


def test_a_piece_agrees_with_the_whole_where_the_network_forgets(
    state: dict[str, torch.Tensor], waveform_16k: torch.Tensor
) -> None:
    """Random weights see and remember without limit; these have faint deep layers and a GRU that forgets.

    Then 0.96 s of context are enough, if the piece starts where the U-Net's halvings fall in the whole. One
    that starts 16 frames later is another matter, which shows that the comparison sees something.
    """
    rmvpe = Rmvpe({name: _forgetful(name, tensor) for name, tensor in state.items()})
    voice = torch.cat([waveform_16k, waveform_16k.flip(0)] * 2) * torch.linspace(1, 0.2, 4 * 15280)
    whole = rmvpe.salience(voice)
    piece = list(pieces(len(voice), 0.64, 0.96))[2]
    expected = whole[128:192]
    assert piece.samples.start == 32 * 160
    assert (rmvpe.salience(voice[piece.samples])[piece.keep] - expected).abs().max() < 0.01
    off_grid = slice(piece.samples.start + 16 * 160, piece.samples.stop)
    assert (rmvpe.salience(voice[off_grid])[80:144] - expected).abs().max() > 0.1


DEEP_LAYERS = re.compile(
    r"(intermediate|encoder\.layers\.[34]|decoder\.layers\.[01]\.conv2).*\.conv\.[03]\.weight"
)


def _forgetful(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if DEEP_LAYERS.search(name):
        return 0.1 * tensor
    if ".gru." in name:  # rows 256 to 511 say how much of the past is kept: nearly nothing
        tensor = tensor.clone()
        tensor[256:512] = -3 if "bias_ih" in name else 0
        return tensor
    return 0.25 * tensor if name == "fc.1.weight" else tensor
