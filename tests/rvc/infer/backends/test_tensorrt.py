"""TensorRT: what its provider is told; to run it needs an NVIDIA GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_synthesizer import small_config, small_synthesizer
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.optimization.backends.parts import synthesizer_parts
from ultimate_rvc.rvc.infer.optimization.backends.tensorrt import TensorRT, engine_options


def test_one_engine_serves_the_lengths_of_a_vocoder() -> None:
    vocoder = synthesizer_parts(small_synthesizer(config=small_config((4, 2, 2))), (200, 1024))[2]
    options = engine_options(vocoder, Path("engines"), half=True, device=1)
    assert options["trt_profile_min_shapes"] == "latent:1x6x200,source:1x1x3200,speaker:1x5x1"
    assert options["trt_profile_opt_shapes"] == options["trt_profile_max_shapes"]
    assert options["trt_profile_max_shapes"] == "latent:1x6x1024,source:1x1x16384,speaker:1x5x1"
    assert (options["trt_fp16_enable"], options["device_id"]) == (True, 1)
    assert options["trt_engine_cache_path"] == "engines"


def test_a_text_encoder_takes_any_length() -> None:
    text = synthesizer_parts(small_synthesizer(), (200, 1024))[0]
    options = engine_options(text, Path("engines"), half=False, device=None)
    assert options["trt_profile_min_shapes"] == f"features:1x{text.fewest}x12,pitch:1x{text.fewest}"
    assert options["trt_profile_max_shapes"] == f"features:1x{text.most}x12,pitch:1x{text.most}"


def test_without_tensorrt_the_way_out_is_told() -> None:
    import onnxruntime

    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has TensorRT")
    with pytest.raises(SettingError, match="backend is tensorrt, but this ONNX Runtime has no TensorRT"):
        TensorRT().version()
