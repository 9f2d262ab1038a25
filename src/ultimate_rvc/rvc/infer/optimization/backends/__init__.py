"""Other ways than torch's own to run the networks of a conversion, behind one switch (``backend``).

================  =======================================
torch_compile     the vocoder through ``torch.compile``
torchscript       TorchScript
onnx_runtime      ONNX Runtime
tensorrt          ONNX Runtime's provider for TensorRT
openvino_runtime  OpenVINO
core_ml           Core ML
mlx_runtime       MLX
================  =======================================

A backend sees parts (``part``, ``parts``): tensors in, tensors out. What it makes of one is kept by content
(``exports``); where it cannot, torch does (``opening``).
"""
