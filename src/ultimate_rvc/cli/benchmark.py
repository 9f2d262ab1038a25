"""``urvc benchmark``: how long a cover takes on this machine, at each quality."""

from __future__ import annotations

from typing import Annotated

import typer

from ultimate_rvc.choices import Quality
from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import megabytes, show_json, show_line, show_table

app = typer.Typer(add_completion=False)


@app.command()
def benchmark(
    minutes: Annotated[float, typer.Option(help="Length of the song.", min=0.1, max=600.0)] = 3.0,
    as_json: options.AsJson = False,
) -> None:
    """Measure this machine anew, and say how long a cover takes at each quality and what it needs.

    Example: urvc benchmark --minutes 4
    """
    from ultimate_rvc import machine
    from ultimate_rvc.covers.forecast import duration, forecast
    from ultimate_rvc.covers.settings import StemSettings
    from ultimate_rvc.device import resolve_device
    from ultimate_rvc.separation.choose import missing_bytes
    from ultimate_rvc.separation.qualities import PLANS

    machine.forget()
    measured = machine.this_machine(resolve_device())
    looked_ahead = forecast(60 * minutes, Quality.AUTO, StemSettings(), measured)
    missing = {quality: missing_bytes(plan.models.values()) for quality, plan in PLANS.items()}
    if as_json:
        show_json(
            {
                "device": measured.device,
                "slowness": measured.slowness,
                "auto": looked_ahead.quality,
                "seconds": looked_ahead.seconds,
                "missing_bytes": missing,
            }
        )
        return
    rows = [
        [
            f"{quality} (auto)" if quality is looked_ahead.quality else quality,
            duration(seconds),
            ", ".join(PLANS[quality].models.values()),
            megabytes(missing[quality]) if missing[quality] else "-",
        ]
        for quality, seconds in looked_ahead.seconds.items()
    ]
    show_line(f"A song of {minutes:g} minutes on {measured.device}:")
    show_table(["quality", "a cover takes", "models", "to download"], rows)
