"""The work ``convert`` on a Ray cluster, one file a task.

Whoever starts it plans, hands out and counts. It may be killed and started again at any time: what is done is noted
beside the results. Sources and results lie on a disk that all machines reach under the same paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ultimate_rvc.choices import Device
from ultimate_rvc.cluster import worker
from ultimate_rvc.cluster.connecting import connected
from ultimate_rvc.cluster.records import Records
from ultimate_rvc.cluster.shipping import ShippedVoice, ship
from ultimate_rvc.cluster.tasks import ClusterSettings, TaskRunner
from ultimate_rvc.errors import ClusterError, SettingError, first_line
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from ultimate_rvc.switches import resolve_config
from ultimate_rvc.voices.library import VoiceRef, find_voice
from ultimate_rvc.work.convert import Task, facts_of, failed, plan, refuse_nothing
from ultimate_rvc.work.requests import ConvertRequest
from ultimate_rvc.work.result import WorkResult
from ultimate_rvc.work.workbench import Workbench


def convert_on_cluster(
    request: ConvertRequest,
    bench: Workbench,
    settings: ClusterSettings,
    pipelines: Callable[[], worker.Pipelines] = WarmPipelines,
) -> WorkResult:
    """Convert files on a cluster, each once; what an earlier run made of the same content is left as it is.

    The result is that of ``convert``; its facts also have ``kept``, the results that were there, and ``machines``,
    how many files each of them converted.

    Parameters
    ----------
    pipelines : callable
        Gives what opens voices; called once in each worker process.

    Raises
    ------
    ClusterError
        The cluster cannot be used, or its machines do not fit together.
    UltimateRVCError
        As ``convert``.
    """
    folder = _output_folder(request)
    sources = tuple(source.expanduser().absolute() for source in request.sources)  # workers run elsewhere
    request = replace(request, sources=sources, output=folder)
    voice, records = find_voice(request.voice), Records(folder)
    bench.warn(*voice.warnings)
    with records.only_run() as run:
        with bench.step("plan"):
            tasks = plan(request, voice, records.known())
        with bench.step("connect"), connected(settings.address) as ray:
            runner = TaskRunner(ray, settings)
            runner.say_if_none_fits(bench.progress)
            order = _order(request, voice, records, run, pipelines)
            # Model files are compared with those of the machine that answers first.
            order = replace(order, identity=runner.run(worker.identify, order))
            with bench.step("convert"):
                answers = list(_answers(runner, ray.put(order), tasks, bench))
    return _result(voice, answers, bench)


def _output_folder(request: ConvertRequest) -> Path:
    if request.output is None:
        raise SettingError("output is missing: a folder that all machines reach under this path.", "output")
    folder = request.output.expanduser().absolute()
    if folder.is_file() or (folder.suffix and not folder.is_dir()):
        raise SettingError(f"output {folder} looks like a file; name a folder.", "output")
    return folder


def _order(
    request: ConvertRequest,
    voice: VoiceRef,
    records: Records,
    run: str,
    pipelines: Callable[[], worker.Pipelines],
) -> worker.Order:
    index = request.index_path or voice.index_path
    return worker.Order(
        request=replace(request, optimization=_chosen_switches(request)),
        voice=ShippedVoice(ship(voice.model_path), None if index is None else ship(index)),
        folder=records.folder,
        run=run,
        pipelines=pipelines,
    )


def _chosen_switches(request: ConvertRequest) -> dict[str, object]:
    """What a person decided here, by option, variable or settings file; the rest is up to each machine."""
    given = {name: value for name, value in request.optimization.items() if value not in (None, Device.AUTO)}
    return {switch.name: switch.value for switch in resolve_config(given).switches if switch.is_chosen}


def _answers(
    runner: TaskRunner, order: object, tasks: Sequence[Task], bench: Workbench
) -> Iterator[worker.Answer]:
    given = runner.run_all(
        worker.convert_file, tasks, lambda task: (order, task.source, task.target), bench.progress
    )
    for number, (task, answer) in enumerate(given, 1):
        bench.progress.report("convert", number / len(tasks), f"{number}/{len(tasks)} {task.source.name}")
        if isinstance(answer, worker.Answer):
            bench.warn(*answer.warnings)
            yield answer
        else:
            error = ClusterError(
                f"{task.source.name}: every worker died that tried it ({first_line(answer)})"
            )
            yield worker.Answer(failed(task, error, bench), "nowhere")


def _result(voice: VoiceRef, answers: Sequence[worker.Answer], bench: Workbench) -> WorkResult:
    outcomes = [answer.outcome for answer in answers]
    refuse_nothing(outcomes)
    made = [answer for answer in answers if answer.outcome.file and not answer.is_kept]
    facts = dict(made[0].facts) if made else {}
    device, precision = facts.pop("device", None), facts.pop("precision", None)
    return bench.result(
        (outcome.file for outcome in outcomes if outcome.file),
        device=device,
        precision=precision,
        facts={
            "voice": voice.name,
            **facts,
            **facts_of([answer.outcome for answer in answers if not answer.is_kept]),
            "kept": [
                str(answer.outcome.file.path) for answer in answers if answer.is_kept and answer.outcome.file
            ],
            "machines": dict(Counter(answer.machine for answer in made)),
        },
    )
