"""The words a user chooses from; the command line, the page and the docs all list these."""

from __future__ import annotations

from enum import StrEnum


class Device(StrEnum):
    AUTO = "auto"
    MPS = "mps"
    CUDA = "cuda"
    CPU = "cpu"


class Backend(StrEnum):
    """What runs the networks of a conversion."""

    AUTO = "auto"  # the fastest that is exact, by what was measured on this machine; else torch
    TORCH = "torch"
    COMPILE = "compile"
    TORCHSCRIPT = "torchscript"
    ONNX = "onnx"
    OPENVINO = "openvino"
    COREML = "coreml"
    MLX = "mlx"
    TENSORRT = "tensorrt"


class F0Method(StrEnum):
    AUTO = "auto"
    RMVPE = "rmvpe"
    FCPE = "fcpe"
    CREPE = "crepe"
    CREPE_TINY = "crepe-tiny"
    HARVEST = "harvest"
    DIO = "dio"


class EmbedderModel(StrEnum):
    STARTER = "starter"
    CONTENTVEC = "contentvec"
    SPIN = "spin"
    SPIN_V2 = "spin-v2"
    CHINESE_HUBERT_BASE = "chinese-hubert-base"
    JAPANESE_HUBERT_BASE = "japanese-hubert-base"
    KOREAN_HUBERT_BASE = "korean-hubert-base"
    CUSTOM = "custom"


class Vocoder(StrEnum):
    HIFI_GAN = "HiFi-GAN"  # with the harmonic source (NSF) when the voice has f0, plain otherwise
    MRF_HIFI_GAN = "MRF HiFi-GAN"
    REFINE_GAN = "RefineGAN"


class VoicePrecision(StrEnum):
    """How the weights of a voice are written."""

    FLOAT16 = "float16"  # as every RVC tool writes and reads them
    INT8 = "int8"  # half of that; only this program reads it


class VoiceVersion(StrEnum):
    V1 = "v1"
    V2 = "v2"


class AudioFormat(StrEnum):
    MP3 = "mp3"
    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    M4A = "m4a"
    AAC = "aac"
    OPUS = "opus"


class SpeechEngineName(StrEnum):
    AUTO = "auto"  # hibari, else the system's own voices
    HIBARI = "hibari"
    SYSTEM = "system"
    LLASA = "llasa"
    MOCKINGBIRD = "mockingbird"
    KOKORO = "kokoro"
    EDGE = "edge"


class TextFormat(StrEnum):
    AUTO = "auto"  # by the file's suffix, or by how the text begins
    PLAIN = "plain"
    MARKDOWN = "markdown"
    SUBTITLES = "subtitles"  # .srt or .vtt: each is said at its time
    SSML = "ssml"
    EPUB = "epub"


class SubtitleFormat(StrEnum):
    SRT = "srt"
    VTT = "vtt"


class Quality(StrEnum):
    AUTO = "auto"  # the best that this machine does in reasonable time
    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


class StepSwitch(StrEnum):
    AUTO = "auto"  # done when a model for it is at hand
    ON = "on"
    OFF = "off"


class SampleFormat(StrEnum):
    """How wav and flac store a sample; ``float`` is for wav only and may exceed full scale."""

    PCM16 = "pcm16"
    PCM24 = "pcm24"
    FLOAT = "float"
