"""MockingBird: speech in the voice of a recording, from a user's own checkpoints.

Three networks: the speaker encoder hears who speaks in a recording, the synthesizer makes mel spectrograms of text
in that voice, and the vocoder makes sound of them. Importing the package loads none.
"""
