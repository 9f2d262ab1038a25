"""Run `urvc` and write down when its parts began and ended; startup.py starts it in processes of its own.

    python benchmarks/startup_watch.py MARKS.json [urvc's arguments]

Nothing is imported here that Python has not loaded already, or that would be felt.
"""

from __future__ import annotations

import importlib.util
import sys
import time

INTERPRETER_UP = time.monotonic()
WATCHED = {
    "ultimate_rvc.rvc.voice_file.read": ("load_voice_model",),
    "ultimate_rvc.rvc.content": ("load_content_encoder",),
    "ultimate_rvc.rvc.pitch": ("load_pitch_methods", "extract_f0"),
    "ultimate_rvc.rvc.infer.opening": ("open_retriever",),
}


class Watch:
    """Puts a stopwatch around the functions of :data:`WATCHED` as soon as their module is there."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float, float]] = []
        self._waiting = dict(WATCHED)

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name not in self._waiting:
            return None
        functions = self._waiting.pop(name)  # first, since the search below asks this finder again
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            run(module)
            for function in functions:
                setattr(module, function, self._timed(function, getattr(module, function)))

        spec.loader.exec_module = exec_module
        return spec

    def _timed(self, name, function):  # type: ignore[no-untyped-def]
        def timed(*arguments, **options):  # type: ignore[no-untyped-def]
            began = time.monotonic()
            try:
                return function(*arguments, **options)
            finally:
                self.spans.append((name, began, time.monotonic()))

        return timed


def main() -> None:
    marks, *arguments = sys.argv[1:]
    watch = Watch()
    sys.meta_path.insert(0, watch)
    try:
        from ultimate_rvc.cli.main import run

        run(arguments)
    finally:
        import json

        with open(marks, "w", encoding="utf-8") as file:  # noqa: PTH123 (pathlib need not be loaded)
            json.dump({"interpreter_up": INTERPRETER_UP, "spans": watch.spans}, file)


if __name__ == "__main__":
    main()
