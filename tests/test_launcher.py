"""The launcher, run in a copy of the checkout with stand-ins for the tools it calls."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPT = CHECKOUT / "urvc-macos.sh"
# What the launcher may use of the system; everything else (python, uv, nvidia-smi) is a stand-in or absent.
SYSTEM_TOOLS = (
    *("bash", "basename", "cat", "chmod", "cksum", "cp", "dirname", "find", "git", "head", "ln", "mkdir"),
    *("mv", "ps", "readlink", "rm", "rmdir", "sed", "sleep", "tail"),
)
COMMANDS = ("install", "run", "cli", "benchmark", "test", "update", "doctor")

FAKE_PYTHON = """#!/bin/bash
# Python 3.12: makes environments whose programs tell what they were given.
[ "$1" = -c ] && exit 0
if [ "$1" = -m ] && [ "$2" = venv ]; then
  mkdir -p "$3/bin"
  cp "$0" "$3/bin/python"
  for program in urvc urvc-web; do
    printf '#!/bin/bash\\necho "%s|$PWD|$PYTORCH_ENABLE_MPS_FALLBACK|$*"\\n' "$program" >"$3/bin/$program"
    chmod +x "$3/bin/$program"
  done
  exit
fi
echo "$*" >>"$CALLS"
if [ "$1" = -m ] && [ "$2" = pip ]; then
  sleep "${FAKE_PIP_SECONDS:-0}"
  exit "${FAKE_PIP_EXIT:-0}"
fi
echo "python|$PWD|$*"
"""

FAKE_UV = """#!/bin/bash
echo "uv $*" >>"$CALLS"
if [ "$1" = venv ]; then
  for venv; do :; done # the last argument
  exec python3.12 -m venv "$venv"
fi
"""


@dataclass
class Launcher:
    """A copy of the launcher in a checkout of its own, and the stand-ins on its PATH."""

    checkout: Path
    tools: Path
    elsewhere: Path
    environment: dict[str, str] = field(default_factory=dict)

    def add_tool(self, name: str, text: str) -> None:
        path = self.tools / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def pretend(self, system: str, machine: str) -> None:
        self.add_tool("uname", f'#!/bin/bash\n[ "$1" = -s ] && echo {system} || echo {machine}\n')

    def leave_free(self, kib: int) -> None:
        header = "Filesystem 1024-blocks Used Available Capacity Mounted on"
        line = f"/dev/a disk 264000000 99000000 {kib}  94% /a disk"
        self.add_tool("df", f"#!/bin/bash\necho '{header}'\necho '{line}'\n")

    def start(self, *arguments: str, script: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(script or self.checkout / "urvc-macos.sh"), *arguments],
            env={"PATH": str(self.tools), "CALLS": str(self.calls), **self.environment},
            cwd=self.elsewhere,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *arguments: str, script: Path | None = None) -> tuple[int, str, str]:
        process = self.start(*arguments, script=script)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    @property
    def calls(self) -> Path:
        return self.elsewhere / "calls"

    def installations(self) -> int:
        calls = self.calls.read_text() if self.calls.exists() else ""
        return len(re.findall(r"--requirement requirements.lock|pip sync", calls))

    @property
    def stamp(self) -> Path:
        return self.checkout / ".venv" / ".urvc-installed"


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    checkout, tools, elsewhere = tmp_path / "a check out's folder", tmp_path / "tools", tmp_path / "elsewhere"
    for folder in (checkout, tools, elsewhere):
        folder.mkdir()
    shutil.copy(SCRIPT, checkout)
    (checkout / "requirements.lock").write_text("nothing==1\n")
    (checkout / "pyproject.toml").write_text("[project]\n")
    for tool in SYSTEM_TOOLS:
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    launcher = Launcher(checkout, tools, elsewhere)
    launcher.add_tool("python3.12", FAKE_PYTHON)
    launcher.pretend("Linux", "x86_64")
    launcher.leave_free(99_000_000)
    return launcher


# --- help and unknown commands ------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_help_lists_every_command_and_installs_nothing(
    launcher: Launcher, arguments: tuple[str, ...]
) -> None:
    code, out, _ = launcher.run(*arguments)
    assert code == 0
    assert all(re.search(rf"^  {command}\b", out, re.MULTILINE) for command in COMMANDS)
    assert not (launcher.checkout / ".venv").exists()


def test_an_unknown_command_prints_help_and_exits_2(launcher: Launcher) -> None:
    code, out, err = launcher.run("instal")
    assert (code, out) == (2, "")
    assert "Unknown command: instal" in err
    assert "Usage:" in err
    assert not (launcher.checkout / ".venv").exists()


# --- what it says of the machine ----------------------------------------------------------------


def said_of_the_machine(launcher: Launcher) -> list[str]:
    launcher.run("install")  # the second launch says nothing but what it found
    code, out, err = launcher.run("cli")
    assert code == 0, err
    assert "urvc|" in out
    return err.splitlines()


def test_apple_silicon_is_named(launcher: Launcher) -> None:
    launcher.pretend("Darwin", "arm64")
    launcher.add_tool("sw_vers", "#!/bin/bash\necho 14.5\n")
    assert said_of_the_machine(launcher) == [
        "Detected: Apple Silicon (M1/M2/M3/M4)",
        "MPS (Metal) GPU acceleration: ENABLED",
    ]


def test_an_intel_mac_is_named(launcher: Launcher) -> None:
    launcher.pretend("Darwin", "x86_64")
    launcher.add_tool("sysctl", "#!/bin/bash\nexit 1\n")
    assert said_of_the_machine(launcher) == ["Detected: Intel Mac", "Running in CPU mode"]


def test_a_shell_under_rosetta_is_left_for_the_native_one(launcher: Launcher) -> None:
    launcher.pretend("Darwin", "x86_64")
    launcher.add_tool("sysctl", "#!/bin/bash\necho 1\n")
    launcher.add_tool("sw_vers", "#!/bin/bash\necho 15.1\n")
    native = '#!/bin/bash\n[ "$1" = -s ] && echo Darwin || echo arm64\n'
    launcher.add_tool(
        "arch",
        f"#!/bin/bash\ncat >{launcher.tools}/uname <<'X'\n{native}X\n"
        + '[ "$1" = -arm64 ] && shift && exec "$@"\n',
    )
    code, out, err = launcher.run("cli", "a b")
    assert code == 0
    assert out.endswith("|a b\n")
    assert err.startswith("Detected: Apple Silicon")


def test_an_nvidia_gpu_is_named(launcher: Launcher) -> None:
    launcher.add_tool("nvidia-smi", "#!/bin/bash\necho 'NVIDIA GeForce RTX 4090'\n")
    assert said_of_the_machine(launcher)[0] == "Detected: NVIDIA GPU (NVIDIA GeForce RTX 4090)"


def test_a_driver_that_fails_counts_as_no_gpu(launcher: Launcher) -> None:
    launcher.add_tool("nvidia-smi", "#!/bin/bash\necho 'has failed because'\nexit 9\n")
    lines = said_of_the_machine(launcher)
    assert "NVIDIA" not in lines[0]
    assert lines[1] == "Running in CPU mode"


def test_an_old_macos_is_refused_in_one_sentence(launcher: Launcher) -> None:
    launcher.pretend("Darwin", "arm64")
    launcher.add_tool("sw_vers", "#!/bin/bash\necho 12.7.1\n")
    code, _, err = launcher.run("install")
    assert code == 1
    assert err.splitlines()[-1].startswith("Error: macOS 12.7.1 is too old")


# --- installing ---------------------------------------------------------------------------------


def test_nothing_is_done_when_nothing_changed(launcher: Launcher) -> None:
    assert launcher.run("install")[0] == 0
    for command in ("install", "cli", "doctor", "run"):
        assert launcher.run(command)[0] == 0
    assert launcher.installations() == 1


def processor_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_launch_without_work_is_quick(launcher: Launcher) -> None:
    launcher.run("install")
    durations = []
    for _ in range(5):
        start = processor_seconds_of_children()  # not the clock: a busy machine must not fail it
        launcher.run("cli")
        durations.append(processor_seconds_of_children() - start)
    assert min(durations) < 0.2


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_installed_into_the_same_environment(
    launcher: Launcher, name: str
) -> None:
    launcher.run("install")
    mark = launcher.checkout / ".venv" / "mark"
    mark.touch()
    with (launcher.checkout / name).open("a") as file:
        file.write("more==2\n")
    assert launcher.run("cli")[0] == 0
    assert launcher.installations() == 2
    assert mark.exists()


@pytest.mark.parametrize("leftover", ["empty folder", "no stamp", "no python", "killed while installing"])
def test_a_half_made_environment_is_made_anew(launcher: Launcher, leftover: str) -> None:
    venv = launcher.checkout / ".venv"
    if leftover == "empty folder":
        venv.mkdir()
    else:
        launcher.run("install")
    if leftover == "no stamp":
        launcher.stamp.unlink()
    if leftover == "no python":
        (venv / "bin" / "python").unlink()
    if leftover == "killed while installing":
        kill_while_installing(launcher)
    venv.joinpath("mark").touch()
    code, out, err = launcher.run("cli", "x")
    assert code == 0, err
    assert out.endswith("|x\n")
    assert not venv.joinpath("mark").exists()
    assert launcher.stamp.exists()
    assert not launcher.checkout.joinpath(".venv.lock").is_symlink()


def kill_while_installing(launcher: Launcher) -> None:
    (launcher.checkout / "requirements.lock").write_text("other==2\n")
    before = launcher.installations()
    launcher.environment["FAKE_PIP_SECONDS"] = "20"
    process = launcher.start("cli")
    wait_until(lambda: launcher.installations() > before)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    launcher.environment.pop("FAKE_PIP_SECONDS")
    assert launcher.checkout.joinpath(".venv.lock").is_symlink()  # the dead owner left its lock behind


def wait_until(is_so: object, seconds: float = 15.0) -> None:
    assert callable(is_so)
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("system", "free_kib", "needed"),
    [
        ("Linux", 7_900_000, 8),
        ("Linux", 8_100_000, None),
        ("Darwin", 2_900_000, 3),
        ("Darwin", 3_100_000, None),
    ],
)
def test_a_disk_too_full_is_refused_before_anything_is_installed(
    launcher: Launcher, system: str, free_kib: int, needed: int | None
) -> None:
    launcher.pretend(system, "x86_64")
    launcher.leave_free(free_kib)
    code, _, err = launcher.run("install")
    assert code == (0 if needed is None else 1)
    if needed is not None:
        expected = f"needs about {needed} GB, but the disk of {launcher.checkout} has {needed - 1} GB free"
        assert expected in err
    assert launcher.installations() == (needed is None)


def test_a_failed_installation_is_told_and_tried_again(launcher: Launcher) -> None:
    launcher.environment["FAKE_PIP_EXIT"] = "1"
    code, out, err = launcher.run("cli")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("Error: The installation did not finish")
    launcher.environment.clear()
    assert launcher.run("cli")[0] == 0


def test_two_launches_at_once_install_once(launcher: Launcher) -> None:
    launcher.environment["FAKE_PIP_SECONDS"] = "1"
    processes = [launcher.start("cli", str(number)) for number in range(3)]
    results = [process.communicate(timeout=40) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], results
    assert launcher.installations() == 1
    assert sum("Another launch" in err for _, err in results) == 2
    assert not list(launcher.checkout.glob(".venv.lock*"))


def test_an_interrupted_launch_releases_its_lock(launcher: Launcher) -> None:
    launcher.environment["FAKE_PIP_SECONDS"] = "20"
    process = launcher.start("cli")
    wait_until(lambda: launcher.installations() == 1)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode not in (0, None)
    assert not launcher.checkout.joinpath(".venv.lock").is_symlink()
    assert not launcher.stamp.exists()


def test_a_moved_checkout_is_installed_anew(launcher: Launcher) -> None:
    launcher.run("install")
    launcher.checkout = launcher.checkout.rename(launcher.checkout.with_name("moved"))
    assert launcher.run("cli")[0] == 0
    assert launcher.installations() == 2


def test_uv_is_used_when_it_is_there(launcher: Launcher) -> None:
    launcher.add_tool("uv", FAKE_UV)
    assert launcher.run("cli")[0] == 0
    calls = launcher.calls.read_text().splitlines()
    assert calls[0].startswith("uv venv ")
    assert "uv pip sync" in calls[1]
    assert "--no-deps --no-build-isolation --editable ." in calls[2]
    assert not any("-m pip" in call for call in calls)


def test_no_python_at_all_is_told_in_one_sentence(launcher: Launcher) -> None:
    (launcher.tools / "python3.12").unlink()
    code, _, err = launcher.run("install")
    assert code == 1
    assert err.splitlines()[-1].startswith("Error: No Python 3.11, 3.12 or 3.13 found")


def test_a_python_that_does_not_run_is_passed_over(launcher: Launcher) -> None:
    launcher.add_tool("python3.12", "#!/bin/bash\necho 'version not set' >&2\nexit 127\n")
    launcher.add_tool("python3.11", FAKE_PYTHON)
    assert launcher.run("cli")[0] == 0


def test_urvc_python_names_the_python_and_a_wrong_one_is_refused(launcher: Launcher) -> None:
    launcher.add_tool("mine", FAKE_PYTHON)
    (launcher.tools / "python3.12").unlink()
    launcher.environment["URVC_PYTHON"] = "mine"
    assert launcher.run("install")[0] == 0
    launcher.environment["URVC_PYTHON"] = "absent"
    code, _, err = launcher.run("install")
    assert code == 1
    assert "URVC_PYTHON=absent is no Python" in err


def test_an_intel_mac_is_not_given_python_3_13(launcher: Launcher) -> None:
    launcher.pretend("Darwin", "x86_64")
    launcher.add_tool("sysctl", "#!/bin/bash\nexit 1\n")
    asks_for_newest = '#!/bin/bash\ncase $2 in *"(3, 13)"*) exit 0 ;; *) exit 1 ;; esac\n'
    launcher.add_tool("python3.13", asks_for_newest)
    (launcher.tools / "python3.12").unlink()
    code, _, err = launcher.run("install")
    assert code == 1
    assert "No Python 3.11 or 3.12 found" in err


# --- running ------------------------------------------------------------------------------------


def test_cli_keeps_the_callers_folder_and_words_and_leaves_standard_output_to_the_command(
    launcher: Launcher,
) -> None:
    code, out, err = launcher.run("cli", "generate", "a song.mp3", "--json", "*")
    assert code == 0
    assert out == f"urvc|{launcher.elsewhere}|1|generate a song.mp3 --json *\n"
    assert "Detected" in err


def test_it_works_through_symlinks(launcher: Launcher) -> None:
    first, second = launcher.elsewhere / "first", launcher.elsewhere / "urvc here"
    first.symlink_to(Path(os.path.relpath(launcher.checkout / "urvc-macos.sh", launcher.elsewhere)))
    second.symlink_to("first")
    code, out, _ = launcher.run("cli", "x", script=second)
    assert code == 0
    assert out.startswith(f"urvc|{launcher.elsewhere}|")
    assert (launcher.checkout / ".venv").is_dir()


def test_the_mps_fallback_is_left_as_the_user_set_it(launcher: Launcher) -> None:
    launcher.environment["PYTORCH_ENABLE_MPS_FALLBACK"] = "0"
    assert "|0|" in launcher.run("cli")[1]


def test_doctor_and_run_start_their_programs(launcher: Launcher) -> None:
    assert launcher.run("doctor", "--json")[1].endswith("|doctor --json\n")
    assert launcher.run("run", "--listen")[1].startswith("urvc-web|")


def test_tests_come_last_and_take_the_arguments(launcher: Launcher) -> None:
    code, out, _ = launcher.run("test", "-k", "two words")
    lines = [line for line in out.splitlines() if line.startswith("python|")]
    assert code == 0
    assert [line.split("|")[2].split()[1] for line in lines] == ["ruff", "ruff", "mypy", "pytest"]
    assert lines[-1] == f"python|{launcher.checkout}|-m pytest -k two words"


def add_benchmarks(launcher: Launcher) -> None:
    folder = launcher.checkout / "benchmarks"
    folder.mkdir()
    for name in ("configurations", "speed"):
        (folder / f"{name}.py").write_text('if __name__ == "__main__":\n    main()\n')
    (folder / "part.py").write_text("def part() -> None: ...\n")


def test_the_benchmark_without_a_name_measures_the_configurations(launcher: Launcher) -> None:
    add_benchmarks(launcher)
    code, out, _ = launcher.run("benchmark")
    assert (code, out.endswith("/benchmarks/configurations.py\n")) == (0, True)
    _, out, _ = launcher.run("benchmark", "--configs", "a,b", "--json", "my file.json")
    assert out.startswith(f"python|{launcher.elsewhere}|")  # relative names mean the caller's folder
    assert out.endswith("/benchmarks/configurations.py --configs a,b --json my file.json\n")


def test_all_runs_every_way_to_compute(launcher: Launcher) -> None:
    add_benchmarks(launcher)
    (launcher.checkout / "benchmarks" / "everything.py").write_text("if __name__ == '__main__':\n    pass\n")
    code, out, _ = launcher.run("benchmark", "--all", "--out", "here")
    assert (code, out.endswith("/benchmarks/everything.py --out here\n")) == (0, True)


def test_benchmarks_are_listed_and_found_by_name(launcher: Launcher) -> None:
    add_benchmarks(launcher)
    assert launcher.run("benchmark", "--list")[1] == "Benchmarks:\n  configurations\n  speed\n"
    assert launcher.run("benchmark", "speed", "--quick")[1].endswith("benchmarks/speed.py --quick\n")
    for absent in ("sped", "part"):
        code, out, err = launcher.run("benchmark", absent)
        assert (code, out) == (2, "")
        assert f"There is no benchmark '{absent}'" in err
        assert "  speed\n" in err


def test_every_benchmark_of_the_checkout_is_listed(launcher: Launcher) -> None:
    shutil.copytree(CHECKOUT / "benchmarks", launcher.checkout / "benchmarks")
    listed = launcher.run("benchmark", "--list")[1].split()[1:]
    assert {"configurations", "conversion", "memory", "retrieval", "separation", "vocoder"} <= set(listed)
    assert "performance_log" not in listed


# --- updating -----------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_update_fetches_the_new_version_and_runs_its_launcher(launcher: Launcher, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    shutil.copytree(launcher.checkout, origin)
    git(origin, "init", "-q")
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", "one")
    shutil.rmtree(launcher.checkout)
    git(tmp_path, "clone", "-q", str(origin), str(launcher.checkout))
    launcher.run("install")
    (origin / "requirements.lock").write_text("newer==2\n")
    text = (origin / "urvc-macos.sh").read_text()
    (origin / "urvc-macos.sh").write_text(text.replace('say "Ready:', 'say "The new script. Ready:'))
    git(origin, "commit", "-qam", "two")
    code, _, err = launcher.run("update")
    assert code == 0, err
    assert "The new script." in err
    assert (launcher.checkout / "requirements.lock").read_text() == "newer==2\n"
    assert launcher.installations() == 2
    shutil.rmtree(origin)
    code, _, err = launcher.run("update")
    assert code == 1
    assert err.splitlines()[-1].startswith("Error: The new version could not be fetched")


def test_update_outside_a_git_checkout_is_told(launcher: Launcher) -> None:
    launcher.environment["GIT_CEILING_DIRECTORIES"] = str(launcher.checkout.parent)
    code, _, err = launcher.run("update")
    assert code == 1
    assert "is no git checkout" in err


# --- the script itself --------------------------------------------------------------------------

NEWER_THAN_BASH_3_2 = {
    "associative arrays, namerefs, global declarations": r"\b(declare|local|typeset)\s+-[a-zA-Z]*[Ang]",
    "mapfile": r"\b(mapfile|readarray|coproc)\b",
    "case conversion and transformation": r"\$\{\w+(\[[^]]*\])?(\^|,|@[A-Za-z]\})",
    "negative substring length": r"\$\{\w+:[^}]*:\s*-\d",
    "append both streams": r"&>>|\|&",
    "case fall-through": r";;?&",
    "test for set variables": r"\[\[?\s+-[vR]\s",
    "time format of printf": r"printf[^\n]*%\([^)]*\)T",
    "expansion of a possibly empty array": r"\$\{\w+\[[@*]\]\}",
}


@pytest.mark.parametrize("construct", NEWER_THAN_BASH_3_2)
def test_the_script_uses_nothing_newer_than_bash_3_2(construct: str) -> None:
    assert not re.findall(NEWER_THAN_BASH_3_2[construct], SCRIPT.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "declare -A x",
        "local -n y=x",
        "mapfile -t a",
        "${name,,}",
        "${name^}",
        "${a@Q}",
        "cmd &>>f",
        "x) y ;;&",
        "[[ -v x ]]",
    ],
)
def test_the_check_for_newer_constructs_can_fail(line: str) -> None:
    assert any(re.search(pattern, line) for pattern in NEWER_THAN_BASH_3_2.values())


def test_shellcheck_finds_nothing() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    scripts = [str(SCRIPT), str(CHECKOUT / ".ci" / "run")]
    found = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
