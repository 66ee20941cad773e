#!/bin/bash
# Everything that only a GPU can show, in ten minutes, and one table of it.
#
#     tests/gpu/run.sh [-o TABLE.md] [BUILD]      BUILD: a built tree (default build/, built when it is not there)
#
# First what could spoil all the rest: programs that start, a GPU that can be used, the smallest model on it. Then
# conformance kernels of the simulator on the GPU; a training step, an evaluation and a generation of every model against the evaluator; a
# training run of fifty steps, twice, on cpu and GPU; dense products beside cuBLASLt; a GPT, as it is and tuned; the peers of gpu_torch.py. What went well is kept
# in gpu-run/ (MIXC_GPU_STATE), so that a run which was cut off goes on where it stopped, and what failed is done again. Another commit or another
# GPU begins anew. MIXC_GPU_SECONDS: when to stop (default 560). MIXC_GPU_JOBS: models at a time (default: as many as processors, at most 8).
# Where no GPU is it says so, and the same cases run in the simulator at small sizes. A GPU that is there and cannot be used is an error
# (exit code 3), which says why; MIXC_GPU_SIM=1 takes the simulator all the same.
#
# Nothing is downloaded. To build on the machine it takes what ./bootstrap installs; pack.sh makes an archive on another one that needs neither
# that nor a compiler here (but then fifty steps on the cpu are left out).
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
table=""
if [ "${1:-}" = -o ]; then
    [ $# -ge 2 ] || { echo "run.sh: -o takes the name of a file" >&2; exit 2; }
    table=$2; shift 2
fi
build=${1:-$root/build}
state=${MIXC_GPU_STATE:-$PWD/gpu-run}
limit=${MIXC_GPU_SECONDS:-560}
jobs=${MIXC_GPU_JOBS:-$(nproc 2> /dev/null || echo 2)}
[ "$jobs" -le 8 ] || jobs=8
if ! mkdir -p "$state" 2> /dev/null || ! [ -w "$state" ]; then
    echo "run.sh: cannot write to '$state'; name another folder in MIXC_GPU_STATE" >&2
    exit 6
fi
table=${table:-$state/table.md}

left() { echo $((limit - SECONDS)); }

# phase NAME COMMAND..: runs it once; its output is kept in NAME.txt, and NAME.code once it came to its end. Several may run at a time, so what
# was cut off is a file too.
phase() {
    local name=$1; shift
    case $(cat "$state/$name.code" 2> /dev/null) in
    0|77) echo "done before: $name"; return;;
    esac
    rm -f "$state/$name.code"
    if [ "$(left)" -lt 20 ]; then
        [ -f "$state/cut" ] || echo "no time left for $name and what follows: run it again to go on"
        : > "$state/cut"
        return
    fi
    local begin=$SECONDS
    timeout -k 10 "$(left)" "$@" > "$state/$name.txt" 2> "$state/$name.err" < /dev/null
    local code=$?
    if [ $code = 124 ] || [ $code = 137 ]; then
        echo "cut off: $name after $((SECONDS - begin)) s; run it again to go on"
        : > "$state/cut"
        return
    fi
    echo $code > "$state/$name.code"
    echo "$name: exit code $code, $((SECONDS - begin)) s"
    case $code in 0|77) ;; *) tail -n 5 "$state/$name.txt" "$state/$name.err"; : > "$state/bad";; esac
}

# The toolkit may lie where the loader does not look: beside the system's, or in Python's packages.
add_libraries() {
    local folder
    for folder in /usr/local/cuda/lib64 /usr/local/cuda-*/lib64 /usr/local/cuda*/targets/*/lib "$build/lib" \
        $(python3 -c 'import glob, site, sys
for p in site.getsitepackages() + [site.getusersitepackages()]: print(*glob.glob(p + "/nvidia/*/lib"))' 2> /dev/null); do
        [ -d "$folder" ] && LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    done
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}
}

tests_needed="test_zoo_gpu test_conform_gpu test_products_gpu test_sim"
build_tree() {
    local tool missing=""
    for tool in cc cmake ninja flex bison pkg-config; do command -v $tool > /dev/null || missing="$missing $tool"; done
    if [ -n "$missing" ]; then
        echo "run.sh: '$build' is not built, and this machine lacks$missing. ./bootstrap installs them; where that cannot be," >&2
        echo "        run tests/gpu/pack.sh on a machine that has them, and carry the archive here" >&2
        exit 3
    fi
    echo "building in $build"
    # shellcheck disable=SC2086
    cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release > "$state/build.txt" 2>&1 &&
        ninja -C "$build" mixc $tests_needed >> "$state/build.txt" 2>&1 || { tail "$state/build.txt"; exit 1; }
}

for program in mixc $(printf 'tests/%s ' $tests_needed); do
    [ -x "$build/$program" ] || { build_tree; break; }
done
add_libraries
export MIXC=$build/mixc MIXC_TESTS=$root/tests
if ! "$MIXC" --version > /dev/null 2> "$state/version.err"; then
    echo "run.sh: $MIXC does not start here: $(head -n 1 "$state/version.err")" >&2
    exit 3
fi
export MIXC_CACHE_DIR=$state/cache           # kernels and times of this run, nobody else's
mkdir -p -m 700 "$MIXC_CACHE_DIR"
doctor=$("$MIXC" doctor)
seen=$(nvidia-smi -L 2> /dev/null | sed -n '1s/ (UUID.*//p')
device=$(printf '%s\n' "$doctor" | sed -n 's/^pass  gpu   *\([^ ].*\)/\1/p')
commit=$(git -C "$root" rev-parse --short HEAD 2> /dev/null || cat "$root/COMMIT" 2> /dev/null || echo unknown)
if [ -n "$device" ]; then
    on=cuda
    export MIXC_GPU=cuda MIXC_FULL=1
    echo "on $device"
    printf '%s\n' "$doctor" | grep -E '^[a-z]+  (gpu driver|nvrtc|cublaslt) '
    python3 -c 'import torch; print("PyTorch", torch.__version__, "sees the GPU" if torch.cuda.is_available() else "sees no GPU")' 2> /dev/null ||
        echo "no PyTorch here: its columns will be empty"
    python3 -c 'import triton; print("Triton", triton.__version__)' 2> /dev/null || echo "no Triton here"
elif [ -n "$seen" ] && [ "${MIXC_GPU_SIM:-0}" != 1 ]; then
    echo "run.sh: there is $seen, and it cannot be used:" >&2
    printf '%s\n' "$doctor" | grep -A1 -E '(gpu driver|gpu|nvrtc) ' >&2
    echo "        MIXC_GPU_SIM=1 runs the same cases in the simulator" >&2
    exit 3
else
    on=sim
    device="no GPU: the simulator, at small sizes"
    echo "there is no GPU here:"
    printf '%s\n' "$doctor" | grep -A1 -E '(gpu driver|gpu|nvrtc) '
    echo "the same cases run in the simulator at small sizes"
fi
stamp="$commit, $device"
if [ -f "$state/stamp" ] && [ "$(cat "$state/stamp")" != "$stamp" ]; then
    echo "what is in $state is of $(cat "$state/stamp"): beginning anew"
    rm -f "$state"/*.code "$state"/*.txt "$state"/*.err
fi
echo "$stamp" > "$state/stamp"
rm -f "$state/cut" "$state/bad"

phase start "$MIXC" profile "$root/tests/cli/tiny.mix" --device $on --steps 2 B=4
case $(cat "$state/start.code" 2> /dev/null || echo 0) in
0) ;;
*)  echo "run.sh: the smallest model does not run on $device: nothing else is tried" >&2
    exit 1;;
esac
phase conformance "$build/tests/$([ $on = cuda ] && echo test_conform_gpu || echo test_sim)"
phase products "$build/tests/test_products_gpu"
if [ $on = cuda ]; then
    gpt="D=384 H=6 L=6 N=256 T=256 V=65 B=64"
    # shellcheck disable=SC2086
    phase gpt "$MIXC" profile "$root/models/gpt.mix" --device cuda --deterministic --steps 10 $gpt
    # shellcheck disable=SC2086
    phase gpt_bf16 "$MIXC" profile "$root/models/gpt.mix" --device cuda --dtype bf16 --deterministic --steps 10 $gpt
    for entry in Attend Experts Softmax; do
        phase "ours_$entry" "$MIXC" profile "$here/peers.mix" --entry $entry --mode eval --device cuda --dtype bf16 --steps 10
    done
else
    phase ours_Attend "$MIXC" profile "$here/peers.mix" --entry Attend --mode eval --device sim B=1 H=2 T=9 K=8
    phase ours_Experts "$MIXC" profile "$here/peers.mix" --entry Experts --mode eval --device sim N=9 D=8 E=3 F=5
    phase ours_Softmax "$MIXC" profile "$here/peers.mix" --entry Softmax --mode eval --device sim R=5 C=33
    phase gpt "$MIXC" profile "$root/models/gpt.mix" --device sim D=24 H=2 L=1 T=9 V=11 B=2
fi
phase peers python3 "$here/gpu_torch.py"
phase steps bash "$here/test_steps_gpu.sh"
# A search that is cut off keeps its times, and goes on; its table shows which products cuBLASLt got.
if [ $on = cuda ]; then
    # shellcheck disable=SC2086
    phase tune "$MIXC" tune "$root/models/gpt.mix" --device cuda --dtype bf16 --budget 60s -v $gpt
    # shellcheck disable=SC2086
    phase gpt_bf16_tuned "$MIXC" profile "$root/models/gpt.mix" --device cuda --dtype bf16 --steps 10 $gpt
else
    phase tune "$MIXC" tune "$root/models/gpt.mix" --device sim --candidates 2 --kernels 1 --budget 20s D=24 H=2 L=1 T=9 V=11 B=2
fi
running=0
for model in $(grep -v '^#' "$here/zoo.txt" | grep -oE '[a-z0-9_]+\.mix' | sort -u); do
    phase "zoo_$model" "$build/tests/test_zoo_gpu" --device $on "$model" &
    running=$((running + 1))
    [ $running -lt "$jobs" ] || { wait -n; running=$((running - 1)); }
done
wait

{
    echo "# $device"
    echo
    echo "\`tests/gpu/run.sh\`, commit $commit"
    command -v nvidia-smi > /dev/null && [ $on = cuda ] &&
        nvidia-smi --query-gpu=driver_version,clocks.max.sm,power.limit,memory.total --format=csv,noheader 2> /dev/null | head -n 1 |
        sed 's/^/\ndriver, largest clock, power limit, memory: /'
    for name in start conformance products gpt gpt_bf16 tune gpt_bf16_tuned ours_Attend ours_Experts ours_Softmax peers steps; do
        [ -f "$state/$name.txt" ] || continue
        printf '\n## %s (exit code %s)\n\n' "$name" "$(cat "$state/$name.code" 2> /dev/null || echo none)"
        if grep -q '^|' "$state/$name.txt"; then cat "$state/$name.txt"; else sed 's/^/    /' "$state/$name.txt"; fi
    done
    printf '\n## every model against the evaluator\n\n'
    cat "$state"/zoo_*.txt 2> /dev/null | grep -v ' complaints$' | sort -u | sed 's/^/    /'
} > "$table"
echo "table: $table"
[ ! -f "$state/cut" ] || exit 75
[ ! -f "$state/bad" ] || exit 1
