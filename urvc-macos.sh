#!/bin/bash
# The one entry point on macOS and Linux: installs what is needed, then runs it.
# Written for bash 3.2, which is what macOS ships.
set -u
set -o pipefail
unset CDPATH

# The checkout, whatever the current folder is and through however many symlinks we were called.
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do
  link=$(readlink "$script")
  case $link in
    /*) script=$link ;;
    *) script=$(dirname "$script")/$link ;;
  esac
done
checkout=$(cd -P "$(dirname "$script")" && pwd) || exit 1
readonly checkout
readonly venv=$checkout/.venv
readonly python=$venv/bin/python
readonly stamp=$venv/.urvc-installed        # there only while the environment is whole
readonly lock=$checkout/.venv.lock          # a symlink that names the process that installs
readonly default_benchmark=configurations
readonly gigabytes_on_linux=8 gigabytes_on_macos=3 # torch for Linux brings the CUDA libraries
readonly oldest_macos_on_apple_silicon=14   # MLX has no wheels for older ones
readonly python_names_intel_mac="python3.12 python3.11" # torch 2.2.2 has no wheels for 3.13
readonly python_names="python3.12 python3.13 python3.11"

usage() {
  cat <<'END'
Usage: ./urvc-macos.sh COMMAND [ARGUMENTS]

  install             make or repair the environment in .venv
  run [ARGS]          start the web page
  cli [ARGS]          the command line, e.g. cli generate song-cover SONG VOICE (cli --help for more)
  benchmark [ARGS]    measure this machine: time, memory and accuracy of the configuration in force
                      (benchmark NAME for another benchmark, benchmark --list for their names,
                      benchmark --all for every way to compute and a whole cover)
  test [ARGS]         lint, check types, run the tests; arguments go to pytest
  update              fetch the newest version and install what it needs
  doctor [--json]     versions, device, memory, models, and what is missing
  help                this text

Every command installs what is missing first. URVC_PYTHON names the Python to use (3.11 to 3.13).
END
}

# Standard output belongs to the command that is run (`cli ... --json` is piped); we talk on stderr.
say() { printf '%s\n' "$*" >&2; }

fail() {
  say "Error: $*"
  exit 1
}

# --- what this machine is -------------------------------------------------------------------------

is_apple_silicon() {
  [ "$(uname -s)" = Darwin ] || return 1
  # A shell running under Rosetta sees an Intel machine; the kernel knows better.
  [ "$(uname -m)" = arm64 ] || [ "$(sysctl -n hw.optional.arm64 2>/dev/null)" = 1 ]
}

is_intel_mac() { [ "$(uname -s)" = Darwin ] && ! is_apple_silicon; }

leave_rosetta() {
  if is_apple_silicon && [ "$(uname -m)" != arm64 ]; then
    exec arch -arm64 /bin/bash "$checkout/urvc-macos.sh" "$@"
  fi
}

say_hardware() {
  local gpu=""
  if is_apple_silicon; then
    say "Detected: Apple Silicon (M1/M2/M3/M4)"
    say "MPS (Metal) GPU acceleration: ENABLED"
    return
  fi
  if is_intel_mac; then
    say "Detected: Intel Mac"
    say "Running in CPU mode"
    return
  fi
  if command -v nvidia-smi >/dev/null 2>&1; then
    # A driver that does not answer prints its complaint on standard output.
    gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null) || gpu=""
    gpu=$(printf '%s\n' "$gpu" | head -n 1)
  fi
  if [ -n "$gpu" ]; then
    say "Detected: NVIDIA GPU ($gpu)"
    say "CUDA GPU acceleration: ENABLED"
    return
  fi
  say "Detected: $(processor_name)"
  say "Running in CPU mode"
}

processor_name() {
  local name=""
  if [ -r /proc/cpuinfo ]; then
    name=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
  fi
  printf '%s\n' "${name:-$(uname -m) CPU}"
}

# --- the environment ------------------------------------------------------------------------------

# What the environment must match: the lock, the project and where the checkout lies (its path is
# written into .venv/bin), and the Python that was asked for.
wanted_stamp() {
  (cd "$checkout" && cksum requirements.lock pyproject.toml) || fail "requirements.lock or pyproject.toml is missing in $checkout."
  printf '%s\n' "checkout $checkout" "python ${URVC_PYTHON:-any}"
}

is_installed() {
  [ -x "$python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_stamp)" ]
}

is_movable_to_new_lock() { # a whole environment of this very checkout and Python: only packages differ
  [ -x "$python" ] && [ -f "$stamp" ] && [ "$(tail -n 2 "$stamp")" = "$(wanted_stamp | tail -n 2)" ]
}

ensure_installed() {
  is_installed && return
  require_supported_system
  take_lock
  trap release_lock EXIT
  trap 'exit 130' INT TERM HUP
  is_installed || install_environment >&2 # another launch may have done it while we waited
  release_lock
  trap - EXIT INT TERM HUP
}

require_supported_system() {
  local version
  is_apple_silicon || return 0
  version=$(sw_vers -productVersion 2>/dev/null)
  if [ -n "$version" ] && [ "${version%%.*}" -lt "$oldest_macos_on_apple_silicon" ]; then
    fail "macOS $version is too old: on Apple Silicon macOS $oldest_macos_on_apple_silicon or later is needed."
  fi
}

install_environment() {
  if is_movable_to_new_lock; then
    say "Installing what the new requirements.lock needs ..."
    rm -f "$stamp"
  else
    if [ -e "$venv" ]; then
      say "The environment in .venv is unfinished or of another checkout or Python: making it anew ..."
    else
      say "Making the environment in .venv; the first time this downloads a few GB ..."
    fi
    rm -rf "$venv" || fail "$venv cannot be removed: close what uses it and try again."
    require_disk_space
    make_venv
  fi
  install_packages || fail "The installation did not finish (see above): check the network and the free disk space, then run it again."
  # What would be compiled in the first cover is compiled now; if that fails, the cover does it.
  "$python" -m ultimate_rvc.audio.compile_ahead >/dev/null 2>&1 || true
  { wanted_stamp >"$stamp.new" && mv "$stamp.new" "$stamp"; } || fail "$stamp cannot be written."
  say "Installed."
}

# A disk that fills up is told of in pages of what pip was doing then.
require_disk_space() {
  local needed free
  needed=$gigabytes_on_linux
  [ "$(uname -s)" = Darwin ] && needed=$gigabytes_on_macos
  free=$(df -Pk "$checkout" 2>/dev/null | tail -n 1 | sed -n 's/.* \([0-9][0-9]*\)  *[0-9][0-9]*% .*/\1/p')
  [ -z "$free" ] && return # not told: let it be tried
  if [ "$((free / 1000000))" -lt "$needed" ]; then
    fail "The installation needs about $needed GB, but the disk of $checkout has $((free / 1000000)) GB free: make room and try again."
  fi
}

make_venv() {
  local base
  base=$(find_python)
  if [ -z "$base" ] && [ -n "${URVC_PYTHON:-}" ]; then
    fail "URVC_PYTHON=$URVC_PYTHON is no Python $(supported_versions)."
  fi
  if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --python "${base:-3.12}" "$venv" || fail "uv could not make $venv with Python ${base:-3.12}."
  elif [ -n "$base" ]; then
    "$base" -m venv "$venv" || fail "$base could not make $venv (on Debian and Ubuntu: apt install python3-venv)."
  else
    fail "No Python $(supported_versions) found: install one from python.org or with your package manager, or install uv."
  fi
}

supported_versions() {
  if is_intel_mac; then echo "3.11 or 3.12"; else echo "3.11, 3.12 or 3.13"; fi
}

# Prints the first Python that runs and is of a supported version (a name on PATH may be a dead shim).
find_python() {
  local name names
  names=$python_names
  is_intel_mac && names=$python_names_intel_mac
  if [ -n "${URVC_PYTHON:-}" ]; then
    is_supported_python "$URVC_PYTHON" && printf '%s\n' "$URVC_PYTHON"
    return
  fi
  for name in $names python3 python; do
    if is_supported_python "$name"; then
      command -v "$name"
      return
    fi
  done
}

is_supported_python() {
  local newest=13
  is_intel_mac && newest=12
  command -v "$1" >/dev/null 2>&1 &&
    "$1" -c "import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $newest))" >/dev/null 2>&1
}

# The lock names every package, so nothing is resolved; hatchling comes from the lock as well, so
# that the project itself needs no second download to be built.
install_packages() ( # a subshell: the caller's folder is kept for the command to come
  quiet=--quiet
  [ -t 2 ] && quiet=--no-input # someone watches: show the downloads
  cd "$checkout" || exit 1
  if command -v uv >/dev/null 2>&1; then
    uv pip sync --python "$python" --no-build requirements.lock &&
      uv pip install --quiet --python "$python" --no-deps --no-build-isolation --editable .
    exit
  fi
  export PIP_DISABLE_PIP_VERSION_CHECK=1
  "$python" -m pip install $quiet --no-deps --only-binary :all: --requirement requirements.lock &&
    "$python" -m pip install --quiet --no-deps --no-build-isolation --editable .
)

# --- one installation at a time -------------------------------------------------------------------

take_lock() {
  local told=""
  # Making a symlink is atomic and says who holds it in the same step.
  until ln -s "process-$$" "$lock" 2>/dev/null; do
    [ -L "$lock" ] || [ -w "$checkout" ] || fail "$checkout cannot be written to."
    if is_lock_abandoned; then
      break_lock
      continue
    fi
    [ -n "$told" ] || say "Another launch (process $(lock_owner)) is installing; waiting for it." \
      "If there is none, remove $lock."
    told=yes
    sleep 1
  done
}

lock_owner() { readlink "$lock" 2>/dev/null | sed 's/^process-//'; }

is_lock_abandoned() {
  local owner
  owner=$(lock_owner)
  [ -n "$owner" ] || return 1
  # kill -0 also fails for a process of another user, which ps sees.
  ! kill -0 "$owner" 2>/dev/null && ! ps -p "$owner" >/dev/null 2>&1
}

# Only one waiter may remove a dead one's lock, or it could remove the lock of the next owner.
break_lock() {
  mkdir "$lock.breaking" 2>/dev/null || { sleep 1; break_stuck_breaker; return; }
  is_lock_abandoned && rm -f "$lock"
  rmdir "$lock.breaking"
}

# A breaker works for milliseconds; one that is still there after a minute was killed.
break_stuck_breaker() {
  [ -n "$(find "$lock.breaking" -prune -mmin +1 2>/dev/null)" ] && rmdir "$lock.breaking" 2>/dev/null
  return 0
}

release_lock() { [ "$(lock_owner)" = "$$" ] && rm -f "$lock"; return 0; }

# --- commands -------------------------------------------------------------------------------------

run_benchmark() {
  local name=$default_benchmark
  case ${1:-} in
    --list)
      list_benchmarks
      return
      ;;
    --all)
      name=everything
      shift
      ;;
    "" | -*) ;; # options are for the default one
    *)
      name=$1
      shift
      ;;
  esac
  if ! is_benchmark "$checkout/benchmarks/$name.py"; then
    say "There is no benchmark '$name'."
    list_benchmarks >&2
    exit 2
  fi
  exec "$python" "$checkout/benchmarks/$name.py" "$@"
}

# The other files in the folder are what benchmarks are made of.
is_benchmark() { [ -f "$1" ] && [ -n "$(sed -n '/^if __name__ == /p' "$1")" ]; }

list_benchmarks() {
  local file
  echo "Benchmarks:"
  for file in "$checkout"/benchmarks/*.py; do
    is_benchmark "$file" && echo "  $(basename "$file" .py)"
  done
  return 0
}

run_tests() {
  cd "$checkout" || exit 1
  "$python" -m ruff check --no-cache . || fail "ruff found mistakes (see above)."
  "$python" -m ruff format --no-cache --check . || fail "ruff would format the files above: run .venv/bin/ruff format ."
  "$python" -m mypy || fail "mypy found type errors (see above)."
  if command -v shellcheck >/dev/null 2>&1; then
    shellcheck urvc-macos.sh .ci/run || fail "shellcheck found mistakes (see above)."
  fi
  # All tests side by side, but in few processes: each holds networks of its own. Some tests by themselves start sooner
  # in one. A lost process ends them: pytest-xdist would start another and, with files kept together, may then wait for
  # ever.
  if [ "$#" = 0 ]; then
    set -- -n "$(test_processes)" --dist loadfile --max-worker-restart 0
  fi
  exec "$python" -m pytest "$@" # last, so that its summary closes the output
}

test_processes() {
  cores="$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)"
  [ "$cores" -gt 4 ] && cores=4
  echo "$cores"
}

update() {
  command -v git >/dev/null 2>&1 || fail "git is not installed, and update needs it."
  git -C "$checkout" rev-parse --git-dir >/dev/null 2>&1 ||
    fail "$checkout is no git checkout: download the new version by hand, or clone the repository."
  git -C "$checkout" pull --ff-only ||
    fail "The new version could not be fetched (see above): check the network, and commit or undo your own changes."
  exec "$BASH" "$checkout/urvc-macos.sh" install # the fetched script, not this one
}

main() {
  local command=${1:-help}
  case $command in
    help | -h | --help)
      usage
      exit 0
      ;;
    install | run | cli | benchmark | test | update | doctor) ;;
    *)
      say "Unknown command: $command"
      usage >&2
      exit 2
      ;;
  esac
  leave_rosetta "$@"
  shift
  say_hardware
  export PYTORCH_ENABLE_MPS_FALLBACK=${PYTORCH_ENABLE_MPS_FALLBACK:-1}
  [ "$command" = update ] && update
  ensure_installed
  case $command in
    install) say "Ready: ./urvc-macos.sh help lists what it can do." ;;
    run) exec "$venv/bin/urvc-web" "$@" ;;
    cli) exec "$venv/bin/urvc" "$@" ;;
    doctor) exec "$venv/bin/urvc" doctor "$@" ;;
    benchmark) run_benchmark "$@" ;;
    test) run_tests "$@" ;;
  esac
}

# The whole file is read before anything runs, so an update may replace it meanwhile.
main "$@"
exit
