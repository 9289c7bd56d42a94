#!/usr/bin/env bash
# Tests and measures on a machine with a GPU that has no Rust: what was built elsewhere runs there, all in one go.
#
#   benches/on_gpu.sh pack BIN        where cargo is: puts the binary and the tests that use a GPU into the folder BIN
#   benches/on_gpu.sh run BIN OUT     where the GPU is, in a copy of this repository with BIN: writes results into OUT
#
# `run` needs a Vulkan loader and driver; with Python, torch and zennit there, the other toolkits are timed too. PEERS=no and
# TESTS=no leave out the parts of these names. A part that fails does not keep the others from running; the exit status tells.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

TESTS_WANTED="gpu_kernels device_limits golden conservation float16 real_networks"
NETWORKS="vgg16 resnet50 mobilenet-v2 densenet121 efficientnet-b0 squeezenet"

pack() {
    local bin=$1
    mkdir -p "$bin"
    cargo build --locked --release || exit
    cp "$(cargo build --locked --release --message-format=json 2>/dev/null | executables | awk '$1 == "relprop" { print $2 }')" "$bin/relprop"
    local wanted=()
    for test in $TESTS_WANTED; do wanted+=(--test "$test"); done
    cargo test --locked --release --no-run --lib "${wanted[@]}" || exit
    cargo test --locked --release --no-run --lib "${wanted[@]}" --message-format=json 2>/dev/null | executables |
        while read -r name path; do
            case " $TESTS_WANTED relprop " in *" $name "*) cp "$path" "$bin/test-$name" ;; esac
        done
    strip "$bin"/*
    # Tests look for their data below the folder that they were built in.
    pwd >"$bin/root"
    ls -l "$bin"
}

# Names and paths of the executables that cargo reports.
executables() {
    python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        print(message["target"]["name"], message["executable"])'
}

run() {
    local bin out failed=0
    bin=$(realpath "$1")
    mkdir -p "$2"
    out=$(realpath "$2")
    local root
    root=$(cat "$bin/root")
    if [ ! -e "$root" ]; then
        mkdir -p "$(dirname "$root")" && ln -s "$PWD" "$root" || failed=1
    fi
    "$bin/relprop" devices | tee "$out/devices.txt"
    if [ "${TESTS:-yes}" = yes ]; then
        for test in "$bin"/test-*; do
            echo "== $(basename "$test")"
            # Of the others only what names the GPU runs on it.
            local filter=gpu
            case "$test" in *gpu_kernels | *device_limits | *float16) filter= ;; esac
            (cd "$root" && "$test" $filter) >"$out/$(basename "$test").txt" 2>&1 || failed=1
            grep '^test result' "$out/$(basename "$test").txt" || failed=1
        done
    fi
    for network in ${ON_NETWORKS:-$NETWORKS}; do
        for batch in ${ON_BATCHES:-1 32}; do
            local to="$out/$network.$batch.json"
            "$bin/relprop" bench "$network" --backend gpu --batch "$batch" --json >"$to" || failed=1
            python3 - "$to" <<'PYTHON' || failed=1
import json, sys
r = json.load(open(sys.argv[1]))
print(f"{r['model']}, batch {r['batch']}, {r['adapter']}: forward {r['forward_ms']:.2f} ms, explanation {r['explain_ms']:.2f} ms "
      f"(x {r['ratio']:.2f}), {r['images_per_s']:.1f} images/s, {r['gflops']:.0f} GFLOP/s, {100 * r['peak_fraction']:.0f} % of peak")
PYTHON
        done
    done
    if [ "${PEERS:-yes}" = yes ]; then
        python3 benches/peers/compare.py --device cuda --relprop "$bin/relprop" --networks vgg16 resnet50 mobilenet-v2 \
            --batches 1 32 --no-captum --out "$out/peers.md" || failed=1
    fi
    return $failed
}

case "${1:-}" in
    pack) pack "${2:?the folder for what is built}" ;;
    run) run "${2:?the folder that pack made}" "${3:?the folder for results}" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
