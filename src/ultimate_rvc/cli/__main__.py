"""``python -m ultimate_rvc.cli`` is ``urvc``."""

from ultimate_rvc.cli.main import run

run()
