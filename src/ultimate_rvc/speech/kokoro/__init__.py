"""The engine Kokoro (Kokoro-82M, Apache-2.0): one network, and a small file of styles for each voice.

``files`` finds both and knows their content; ``engine`` reads.
"""
