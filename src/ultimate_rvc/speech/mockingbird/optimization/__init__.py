"""What can be switched on for a MockingBird model: each trades something for speed or size."""
