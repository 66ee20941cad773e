# Models written a second time in PyTorch: outputs to 1e-5, gradients to 1e-4 (see harness.py); optimisers' steps (steps.py). The evaluator runs all of them, the
# CPU's kernels a few; MIXC_ALL_WAYS=1 runs every one in every way. Skipped without PyTorch.
python=$(for p in python3 /usr/bin/python3; do $p -c 'import torch, numpy' 2>/dev/null && echo $p && break; done)
[ -n "$python" ] || { echo "skipped: no PyTorch"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export MIXC_CACHE_DIR=$tmp/cache TMPDIR=$tmp OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
mkdir -m 700 "$MIXC_CACHE_DIR"
cd "$MIXC_TESTS/reference" || exit 1
if [ "${MIXC_ALL_WAYS:-0}" = 1 ]; then
    "$python" run.py --ways eval,cpu,cpu1,cpu5,sim
    failed=$?
    "$python" steps.py cpu,sim && exit $failed
    exit 1
fi
"$python" run.py --ways eval && "$python" run.py --ways cpu top2_first_the_confident experts_choose && "$python" steps.py cpu sgd_nesterov
