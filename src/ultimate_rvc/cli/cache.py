"""``urvc cache``: what is kept between covers and conversions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import megabytes, show_json, show_line, show_table
from ultimate_rvc.errors import SettingError

if TYPE_CHECKING:
    from ultimate_rvc.covers.cache import EntrySummary
    from ultimate_rvc.rvc.infer.optimization.backends.exports import ExportEntry
    from ultimate_rvc.rvc.infer.optimization.feature_files import FeatureFile

app = typer.Typer(no_args_is_help=True, help="List and clear the results kept between covers.")


@app.command("list")
def list_command(as_json: options.AsJson = False) -> None:
    """List what is kept, by step, with its size and age, and how much features and exported networks take."""
    from ultimate_rvc.covers.cache import StepCache
    from ultimate_rvc.paths import cache_dir, exports_dir, feature_cache_dir
    from ultimate_rvc.rvc.infer.optimization.backends import exports
    from ultimate_rvc.rvc.infer.optimization.feature_files import limit_bytes, list_feature_files

    cache = StepCache(cache_dir())
    entries = cache.list_entries()
    features = list_feature_files(feature_cache_dir())
    feature_bytes = sum(file.size_bytes for file in features)
    networks = exports.list_exports(exports_dir())
    network_bytes = sum(entry.size_bytes for entry in networks)
    if as_json:
        show_json(
            {
                "folder": str(cache.folder),
                "bytes": cache.total_size_bytes(),
                "entries": [
                    {**vars(entry), "files": [str(path) for path in entry.files]} for entry in entries
                ],
                "features": {
                    "folder": str(feature_cache_dir()),
                    "bytes": feature_bytes,
                    "limit_bytes": limit_bytes(),
                    "entries": len(features),
                },
                "exports": {
                    "folder": str(exports_dir()),
                    "bytes": network_bytes,
                    "limit_bytes": exports.limit_bytes(),
                    "entries": len(networks),
                },
            }
        )
        return
    if entries:
        show_table(["step", "key", "size", "made"], [_row(entry) for entry in entries])
    show_line(f"{len(entries)} results, {megabytes(cache.total_size_bytes())} in {cache.folder}")
    show_line(
        f"{len(features)} features of vocals, {megabytes(feature_bytes)} of at most "
        f"{megabytes(limit_bytes())} in {feature_cache_dir()}"
    )
    show_line(
        f"{len(networks)} exported networks, {megabytes(network_bytes)} of at most "
        f"{megabytes(exports.limit_bytes())} in {exports_dir()}"
    )


def _row(entry: EntrySummary) -> list[str]:
    return [
        entry.step if entry.complete else f"{entry.step} (damaged)",
        entry.key[:12],
        megabytes(entry.size_bytes),
        datetime.fromtimestamp(entry.modified_seconds).strftime("%Y-%m-%d %H:%M"),
    ]


@app.command()
def clear(
    step: Annotated[list[str], typer.Option(help="Only results of this step; may be repeated.")] = [],  # noqa: B006
    key: Annotated[list[str], typer.Option(help="Only the result with this key; may be repeated.")] = [],  # noqa: B006
    features: Annotated[
        bool, typer.Option("--features", help="Only the pitch curves and content features of vocals.")
    ] = False,
    exports: Annotated[
        bool, typer.Option("--exports", help="Only the networks that were exported for other runtimes.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Remove results; without options all of them, features and exported networks too. Finished covers stay."""
    from ultimate_rvc.covers.cache import StepCache
    from ultimate_rvc.paths import cache_dir, exports_dir, feature_cache_dir
    from ultimate_rvc.rvc.infer.optimization.backends.exports import clear_exports
    from ultimate_rvc.rvc.infer.optimization.feature_files import clear_feature_files

    if features and (step or key):
        raise SettingError("--features clears the features alone; leave out --step and --key.")
    if exports and (step or key):
        raise SettingError("--exports clears the exported networks alone; leave out --step and --key.")
    everything = not (step or key or features or exports)
    removed = StepCache(cache_dir()).clear(steps=step, keys=key) if everything or step or key else []
    removed_features = clear_feature_files(feature_cache_dir()) if everything or features else []
    removed_exports = clear_exports(exports_dir()) if everything or exports else []
    if as_json:
        more = {"features": _counted(removed_features), "exports": _counted(removed_exports)}
        show_json(_counted(removed) | more)
        return
    show_line(
        f"removed {len(removed)} results, {_size(removed)}; {len(removed_features)} features, "
        f"{_size(removed_features)}; {len(removed_exports)} exported networks, {_size(removed_exports)}"
    )


def _size(removed: Sequence[EntrySummary] | Sequence[FeatureFile] | Sequence[ExportEntry]) -> str:
    return megabytes(sum(item.size_bytes for item in removed))


def _counted(
    removed: Sequence[EntrySummary] | Sequence[FeatureFile] | Sequence[ExportEntry],
) -> dict[str, object]:
    return {"removed": len(removed), "bytes": sum(item.size_bytes for item in removed)}
