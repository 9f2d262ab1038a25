"""The HTTP API: the engine's functions for programs elsewhere, in shapes that they know already."""
