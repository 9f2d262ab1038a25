"""Text to speech: engines that read text aloud, before a voice takes over.

Importing the package loads no engine; that happens when one is opened.
"""
