#!/bin/bash
# A tiny MoEUT trains on the cpu and in the simulator (and on a GPU where MIXC_GPU=cuda says so): the losses agree to 1e-4 of their size at
# every step, and every device gives the same bits twice, down to the last byte of the checkpoint, the simulator also with its warps and blocks in
# another order. Two steps; MIXC_FULL=1: fifty.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
steps=2
[ "${MIXC_FULL:-0}" = 1 ] && steps=50
devices="cpu sim ${MIXC_GPU:-}"
export MIXC_CACHE_DIR=$work/cache
mkdir -m 700 "$MIXC_CACHE_DIR"
for i in $(seq 60); do echo "to be or not to be, that is question number $i"; done > "$work/text.txt"
bad=0

train() {   # DEVICE RUN: losses to $work/DEVICE.RUN, checkpoints to $work/out.DEVICE.RUN
    local seed=0
    [ "$2" = 2 ] && seed=7
    MIXC_SIM_SEED=$seed "$mixc" train "$tests/../models/moeut.mix" D=8 F=3 K=4 E=5 k=2 T=5 train.batch=3 --device "$1" --data "$work/text.txt" \
        --steps $steps --out "$work/out.$1.$2" --progress json 2> "$work/err" |
        grep -oE '"(loss|grad_norm)": [0-9.e+-]+' | grep -oE '[0-9.e+-]+$' > "$work/$1.$2"
    [ "$(wc -l < "$work/$1.$2")" -ge $((2 * steps)) ] || { echo "$1: no losses"; cat "$work/err"; bad=1; }
}

if ! "$mixc" profile "$tests/cli/tiny.mix" --device sim --steps 1 > /dev/null 2> "$work/err"; then
    grep -q 'libnvrtc' "$work/err" && { cat "$work/err"; exit 77; }
fi
for device in $devices; do
    train $device 1
    train $device 2
    cmp "$work/$device.1" "$work/$device.2" || { echo "$device: other losses the second time"; bad=1; }
    for file in "$work/out.$device.1"/*.safetensors; do
        [ -f "$file" ] || { echo "$device: no checkpoint"; bad=1; break; }
        cmp "$file" "$work/out.$device.2/${file##*/}" || { echo "$device: another checkpoint the second time"; bad=1; }
    done
    paste "$work/cpu.1" "$work/$device.1" | awk -v d=$device '{ e = $1 - $2; if (e < 0) e = -e; e /= $1; if (NF != 2 || e > worst) worst = e }
        END { printf "%s: %d numbers, at most %.2g from those of the cpu\n", d, NR, worst; exit !(worst <= 1e-4) }' || bad=1
done
exit $bad
