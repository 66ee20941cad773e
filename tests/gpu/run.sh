#!/bin/bash
# Everything that only a GPU can show, in ten minutes, and one table of it.
#
#     tests/gpu/run.sh [-o TABLE.md] [BUILD]      BUILD: a built tree (default build/, built when it is not there)
#
# Conformance kernels of the simulator on the GPU; a training step of every model against the evaluator; a training run of fifty steps, twice,
# on cpu and GPU; dense products beside cuBLASLt; a GPT, and the peers of gpu_torch.py. What is done is kept in gpu-run/ (MIXC_GPU_STATE), so
# that a run which was cut off goes on where it stopped: remove the folder to begin anew. MIXC_GPU_SECONDS: when to stop (default 560).
# Where no GPU is it says so, and the same cases run in the simulator at small sizes.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
table=""
[ "${1:-}" = -o ] && { table=$2; shift 2; }
build=${1:-$root/build}
state=${MIXC_GPU_STATE:-$PWD/gpu-run}
limit=${MIXC_GPU_SECONDS:-560}
mkdir -p "$state" || exit 6
table=${table:-$state/table.md}
bad=0

left() { echo $((limit - SECONDS)); }

# phase NAME COMMAND..: runs it once; its output is kept in NAME.txt, and NAME.code once it came to its end.
phase() {
    local name=$1; shift
    if [ -f "$state/$name.code" ]; then
        echo "done before: $name"
    elif [ "$(left)" -lt 20 ]; then
        [ $bad = 75 ] || echo "no time left for $name and what follows: run it again to go on"
        bad=75
        return
    else
        local begin=$SECONDS
        timeout "$(left)" "$@" > "$state/$name.txt" 2> "$state/$name.err" < /dev/null
        local code=$?
        if [ $code = 124 ]; then
            echo "cut off: $name after $((SECONDS - begin)) s; run it again to go on"
            bad=75
            return
        fi
        echo $code > "$state/$name.code"
        echo "$name: exit code $code, $((SECONDS - begin)) s"
    fi
    case $(cat "$state/$name.code") in 0|77) ;; *) [ $bad = 0 ] && bad=1; tail -n 5 "$state/$name.txt" "$state/$name.err";; esac
}

if [ ! -x "$build/mixc" ] || [ ! -x "$build/tests/test_zoo_gpu" ]; then
    echo "building in $build"
    cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release > "$state/build.txt" 2>&1 &&
        ninja -C "$build" mixc test_zoo_gpu test_conform_gpu test_products_gpu test_sim >> "$state/build.txt" 2>&1 ||
        { tail "$state/build.txt"; exit 1; }
fi
export MIXC=$build/mixc MIXC_TESTS=$root/tests
device=$("$MIXC" doctor | sed -n 's/^pass  gpu  *//p')
if [ -n "$device" ]; then
    on=cuda
    export MIXC_GPU=cuda MIXC_FULL=1
    echo "on $device"
else
    on=sim
    device="no GPU: the simulator, at small sizes"
    echo "there is no GPU here:"
    "$MIXC" doctor | grep -A1 -E '(gpu driver|gpu) '
    echo "the same cases run in the simulator at small sizes"
fi

phase conformance "$build/tests/$([ $on = cuda ] && echo test_conform_gpu || echo test_sim)"
phase products "$build/tests/test_products_gpu"
if [ $on = cuda ]; then
    gpt="D=384 H=6 L=6 T=256 V=65 B=64"
    phase gpt "$MIXC" profile "$root/models/gpt.mix" --device cuda --steps 10 $gpt
    phase gpt_bf16 "$MIXC" profile "$root/models/gpt.mix" --device cuda --dtype bf16 --steps 10 $gpt
else
    phase gpt "$MIXC" profile "$root/models/gpt.mix" --device sim D=24 H=2 L=1 T=9 V=11 B=2
fi
phase peers python3 "$here/gpu_torch.py"
phase steps bash "$here/test_steps_gpu.sh"
for model in $(grep -v '^#' "$here/zoo.txt" | grep -oE '[a-z0-9_]+\.mix' | sort -u); do
    phase "zoo_$model" "$build/tests/test_zoo_gpu" --device $on "$model"
done

{
    echo "# $device"
    echo
    echo "\`tests/gpu/run.sh\`, commit $(git -C "$root" rev-parse --short HEAD 2> /dev/null || echo unknown)"
    for name in conformance products gpt gpt_bf16 peers steps; do
        [ -f "$state/$name.txt" ] || continue
        printf '\n## %s (exit code %s)\n\n' "$name" "$(cat "$state/$name.code" 2> /dev/null || echo none)"
        if grep -q '^|' "$state/$name.txt"; then cat "$state/$name.txt"; else sed 's/^/    /' "$state/$name.txt"; fi
    done
    printf '\n## a training step of every model against the evaluator\n\n'
    cat "$state"/zoo_*.txt 2> /dev/null | grep -v ' complaints$' | sort -u | sed 's/^/    /'
} > "$table"
echo "table: $table"
exit $bad
