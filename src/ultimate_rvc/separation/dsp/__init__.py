"""Separation by signal processing: no model, no download, deterministic."""
