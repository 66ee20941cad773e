#!/bin/bash
# An archive with everything that run.sh takes, for a machine that cannot build: programs, the libraries they are linked with but for those of
# the system, models, tests, the commit. There:
#
#     tar xzf mixc-gpu.tar.gz && mixc-gpu/tests/gpu/run.sh
#
#     tests/gpu/pack.sh [-o ARCHIVE] [BUILD]      BUILD: a built tree (default build/)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
archive=mixc-gpu.tar.gz
if [ "${1:-}" = -o ]; then archive=$2; shift 2; fi
build=${1:-$root/build}
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
to=$work/mixc-gpu
mkdir -p "$to/build/tests" "$to/build/lib" "$to/tests"
for program in mixc tests/test_zoo_gpu tests/test_conform_gpu tests/test_products_gpu tests/test_sim; do
    [ -x "$build/$program" ] || { echo "pack.sh: there is no $build/$program: build first" >&2; exit 3; }
    cp "$build/$program" "$to/build/$program"
    ldd "$build/$program" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' |
        { grep -vE '/(libc|libm|libdl|libpthread|librt|ld-linux[^/]*)\.so' || true; } | while read -r library; do cp -Lf "$library" "$to/build/lib/"; done
done
cp -r "$root/models" "$to/"
cp -r "$root/tests/gpu" "$root/tests/sim" "$to/tests/"
mkdir -p "$to/tests/cli" && cp "$root/tests/cli/tiny.mix" "$to/tests/cli/"
git -C "$root" rev-parse --short HEAD > "$to/COMMIT" 2> /dev/null || echo unknown > "$to/COMMIT"
tar -C "$work" -czf "$archive" mixc-gpu
echo "$archive: $(du -h "$archive" | cut -f1)"
