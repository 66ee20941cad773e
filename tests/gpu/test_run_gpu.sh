#!/bin/bash
# run.sh goes on where it stopped, does again what failed, says what it runs on, and writes its table: once in the simulator with all phases but
# one marked as done, once with programs that stand for those of a machine with a GPU. And what pack.sh packs runs from another place.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
build=$(dirname "$mixc")
[ -x "$build/tests/test_sim" ] && [ -x "$build/tests/test_zoo_gpu" ] || { echo "no built tree at $build"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
export MIXC_GPU_STATE=$work/state MIXC_LIBCUDA=/nowhere/libcuda.so MIXC_CACHE_DIR=$work/cache
mkdir -m 700 "$MIXC_CACHE_DIR"
bad=0
complain() { echo "FAIL: $*"; bad=1; }
models=$(grep -v '^#' "$tests/gpu/zoo.txt" | grep -oE '[a-z0-9_]+\.mix' | sort -u)
mkdir "$work/state"
for name in start tune products gpt ours_Attend ours_Experts ours_Softmax peers steps ${models//[[:space:]]/ zoo_} zoo_albert.mix; do
    echo "| $name | done |" > "$work/state/$name.txt"
    echo 0 > "$work/state/$name.code"
done

# No time: nothing is run, and it says how to go on.
MIXC_GPU_SECONDS=1 bash "$tests/gpu/run.sh" -o "$work/table.md" "$build" > "$work/out" 2>&1
[ $? = 75 ] || complain "a run that was cut off has another exit code"
grep -q "no time left for conformance and what follows: run it again to go on" "$work/out" || complain "it does not say how to go on"
[ -f "$work/state/conformance.code" ] && complain "it ran what there was no time for"

bash "$tests/gpu/run.sh" -o "$work/table.md" "$build" > "$work/out" 2>&1 || complain "exit code $?"
grep -q "the same cases run in the simulator at small sizes" "$work/out" || complain "it does not say that there is no GPU"
grep -q "^conformance: exit code 0" "$work/out" || complain "the conformance kernels did not run"
grep -q "^done before: steps" "$work/out" || complain "it does again what was done"
grep -q "^# no GPU: the simulator" "$work/table.md" || complain "the table does not name the device"
grep -q "^| products | done |" "$work/table.md" || complain "the table lacks what was done before"
bash "$tests/gpu/run.sh" -o "$work/table.md" "$build" | grep -q "^done before: conformance" || complain "a second run does it again"
[ $bad = 0 ] || cat "$work/out"

# A machine with a GPU, all of whose programs are scripts. The products fail the first time.
stub=$work/stub
mkdir -p "$stub/tests"
cat > "$stub/mixc" <<'EOF'
#!/bin/bash
[ "$1" = doctor ] && printf 'pass  gpu driver  libcuda.so.1\npass  nvrtc       libnvrtc.so.13\npass  gpu         NVIDIA H100, sm_90a\npass  devices     cuda (default), cpu\n'
echo "mixc $*"
EOF
for program in test_zoo_gpu test_conform_gpu test_sim; do printf '#!/bin/bash\necho "%s $*"\n' $program > "$stub/tests/$program"; done
printf '#!/bin/bash\n[ -f %s/again ] || { touch %s/again; exit 1; }\necho good\n' "$work" "$work" > "$stub/tests/test_products_gpu"
chmod +x "$stub/mixc" "$stub"/tests/*
export MIXC_GPU_STATE=$work/gpu
mkdir "$work/gpu"
printf '| steps |\n' > "$work/gpu/steps.txt"; echo 0 > "$work/gpu/steps.code"
cp "$work/gpu/steps.txt" "$work/gpu/peers.txt"; echo 77 > "$work/gpu/peers.code"
bash "$tests/gpu/run.sh" -o "$work/table.md" "$stub" > "$work/out" 2>&1
[ $? = 1 ] || complain "a phase that fails does not fail the run"
grep -q "^on NVIDIA H100, sm_90a$" "$work/out" || complain "it does not find the GPU among what doctor says"
grep -q "^mixc tune .*--device cuda" "$work/gpu/tune.txt" && grep -q "^## gpt_bf16_tuned" "$work/table.md" || complain "nothing is tuned"
grep -q "^test_conform_gpu" "$work/gpu/conformance.txt" || complain "another program than the one for GPUs ran"
grep -q "^test_zoo_gpu --device cuda moeut.mix" "$work/gpu/zoo_moeut.mix.txt" || complain "the zoo does not run on the GPU"
bash "$tests/gpu/run.sh" -o "$work/table.md" "$stub" > "$work/out2" 2>&1 || complain "the second run: exit code $?"
grep -q "^products: exit code 0" "$work/out2" || complain "what failed is not done again"
grep -q "^done before: zoo_moeut.mix" "$work/out2" || complain "what went well is done again"
grep -q "^# NVIDIA H100, sm_90a" "$work/table.md" || complain "the table does not name the GPU"
sed -i 's/H100/H200/' "$stub/mixc"
bash "$tests/gpu/run.sh" -o "$work/table.md" "$stub" > "$work/out3" 2>&1
grep -q "beginning anew" "$work/out3" || complain "results of another GPU are kept"
[ $bad = 0 ] || cat "$work/out" "$work/out2"

# A GPU that is there and cannot be used, and one on which the smallest model fails: nothing else is tried.
mkdir "$work/bin"
printf '#!/bin/bash\necho "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)"\n' > "$work/bin/nvidia-smi"
chmod +x "$work/bin/nvidia-smi"
PATH=$work/bin:$PATH MIXC_GPU_STATE=$work/unusable bash "$tests/gpu/run.sh" -o "$work/table.md" "$build" > "$work/out4" 2>&1
[ $? = 3 ] || complain "a GPU that cannot be used is no error"
grep -q "there is GPU 0: NVIDIA H100 80GB HBM3, and it cannot be used" "$work/out4" || complain "it does not say which GPU cannot be used"
grep -q "libcuda" "$work/out4" || complain "it does not say why"
sed -i 's/^\[/[ "$1" = profile ] \&\& exit 5\n[/' "$stub/mixc"
MIXC_GPU_STATE=$work/broken bash "$tests/gpu/run.sh" -o "$work/table.md" "$stub" > "$work/out5" 2>&1
[ $? = 1 ] || complain "a smallest model that fails is no error"
grep -q "the smallest model does not run on NVIDIA H200, sm_90a" "$work/out5" || complain "it does not say that the smallest model fails"
grep -q "^conformance" "$work/out5" && complain "it goes on after the smallest model"
[ $bad = 0 ] || cat "$work/out4" "$work/out5"

# From an archive, in another folder.
bash "$tests/gpu/pack.sh" -o "$work/pack.tar.gz" "$build" > "$work/out" 2>&1 && tar -C "$work" -xzf "$work/pack.tar.gz" || complain "pack.sh: $(cat "$work/out")"
export MIXC_GPU_STATE=$work/packed
mkdir "$work/packed"
cp "$work"/state/*.txt "$work"/state/*.code "$work/packed/"
rm -f "$work/packed/conformance.code" "$work/packed/zoo_whole.mix.code"
bash "$work/mixc-gpu/tests/gpu/run.sh" > "$work/out" 2>&1 || complain "the archive: exit code $?"
grep -q "^conformance: exit code 0" "$work/out" || complain "the archive's conformance kernels did not run"
case $(cat "$work/packed/zoo_whole.mix.code") in
0) grep -q "^whole.mix" "$work/packed/zoo_whole.mix.txt" || complain "the archive's zoo is empty";;
77) ;;
*) complain "the archive's zoo fails";;
esac
[ $bad = 0 ] || cat "$work/out"
exit $bad
