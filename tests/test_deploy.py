"""The container files as far as can be told without building them: they parse, and fit to each other and the code."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultimate_rvc.cluster.serving import ServingSettings
from ultimate_rvc.plain import from_plain
from ultimate_rvc.shared_cache import REDIS_SCHEMES

CHECKOUT = Path(__file__).resolve().parent.parent
DEPLOY = CHECKOUT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
PORT = 7865


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def instructions(word: str) -> list[str]:
    """The arguments of each instruction of the Dockerfile, its lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return [line.removeprefix(f"{word} ") for line in joined.splitlines() if line.startswith(f"{word} ")]


@pytest.fixture
def compose() -> Any:
    (content,) = documents("compose.yaml")
    return content


def copied() -> list[str]:
    """What the Dockerfile copies from the checkout."""
    return [source for line in instructions("COPY") if "--from=" not in line for source in line.split()[:-1]]


@pytest.mark.parametrize("path", sorted(path.name for path in DEPLOY.glob("*.y*ml")))
def test_yaml_parses(path: str) -> None:
    assert all(isinstance(document, dict) for document in documents(path))


@pytest.mark.parametrize("source", copied())
def test_what_the_image_copies_is_there_and_sent_to_the_builder(source: str) -> None:
    assert (CHECKOUT / source).exists()
    assert f"!{source}" in (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()


def test_the_image_has_no_root_and_one_port() -> None:
    assert instructions("USER") == ["urvc"]
    assert instructions("EXPOSE") == [str(PORT)]
    (command,) = (line for line in instructions("CMD") if "serve" in line)
    assert f'"--listen-port", "{PORT}"' in command
    (health,) = instructions("HEALTHCHECK")
    assert f"http://127.0.0.1:{PORT}/healthz" in health


def test_the_lock_has_the_lines_that_the_image_looks_for() -> None:
    lock = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8")
    assert re.search(r"^torch==", lock, re.MULTILINE)
    assert re.search(r"^nvidia-[a-z0-9-]+==", lock, re.MULTILINE)
    left_out = re.search(r"grep -vE '(.+?)'", DOCKERFILE)
    assert left_out is not None
    kept = [line for line in lock.splitlines() if not re.search(left_out[1], line)]
    assert not [line for line in kept if re.match(r"(torch|torchaudio|triton|nvidia-\S+|cuda-\S+)==", line)]
    assert [line for line in kept if line.startswith("numpy==")]


def test_services_name_each_other(compose: Any) -> None:
    server = compose["services"]["server"]
    cache = server["environment"]["URVC_CACHE"]
    assert cache.startswith(REDIS_SCHEMES)
    assert re.fullmatch(r"redis://(\w+):6379/0", cache)[1] in compose["services"]  # type: ignore[index]
    assert set(server["depends_on"]) <= set(compose["services"])
    assert server["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    build = server["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert set(build["args"]) <= {line.partition("=")[0] for line in instructions("ARG")}
    (cuda,) = documents("compose.cuda.yaml")
    assert set(cuda["services"]) <= set(compose["services"])
    volumes = {volume.partition(":")[2] for volume in server["volumes"]}
    assert volumes == set(instructions("VOLUME"))


def test_prometheus_asks_the_server_where_it_listens(compose: Any) -> None:
    (content,) = documents("prometheus.yml")
    (job,) = content["scrape_configs"]
    ((target,),) = (each["targets"] for each in job["static_configs"])
    assert target == f"server:{PORT}"
    assert job["metrics_path"] == "/metrics"
    secret = Path(job["authorization"]["credentials_file"])
    assert secret.parent == Path("/run/secrets")
    assert secret.name in compose["services"]["prometheus"]["secrets"]
    assert secret.name in compose["secrets"]
    mounted = compose["services"]["prometheus"]["volumes"][0].partition(":")[0]
    assert (DEPLOY / mounted).samefile(DEPLOY / "prometheus.yml")


def test_the_ray_service_serves_what_the_code_has() -> None:
    service, claim = documents("rayservice.yaml")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(import_module(module), name))
    options = application["args"]
    settings = from_plain(ServingSettings, {key: value for key, value in options.items() if key != "voice"})
    cluster = service["spec"]["rayClusterConfig"]
    (workers,) = cluster["workerGroupSpecs"]
    (worker,) = workers["template"]["spec"]["containers"]
    assert settings.cpus <= float(worker["resources"]["limits"]["cpu"])
    assert settings.most_replicas <= workers["maxReplicas"]
    assert cluster["authOptions"]["mode"] == "token"
    pods = [cluster["headGroupSpec"]["template"]["spec"], workers["template"]["spec"]]
    for pod in pods:
        assert pod["securityContext"]["runAsUser"] == int(re.search(r"--uid (\d+)", DOCKERFILE)[1])  # type: ignore[index]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert pod["containers"][0]["volumeMounts"][0]["mountPath"] in instructions("VOLUME")
