"""The vocoder compiled for the processor it runs on; ``RVC_FAST_VOCODER=0`` removes all of it.

docs/fast-vocoder.md says what each file does and how to debug compiled code.
"""
