"""LLASA: a Llama that writes the codes of the audio codec XCodec2 (https://arxiv.org/abs/2502.04128).

The weights are the user's: folders in the form of transformers, as published under CC-BY-NC-4.0. Nothing is
fetched, and nothing in a folder is executed.
"""
