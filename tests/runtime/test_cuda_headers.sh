# What we call of CUDA, against a toolkit's own headers and libraries: parameters, numbers, sizes of records, names that are exported.
# Skipped where there is no toolkit.
here=$MIXC_TESTS/runtime
toolkit=${CUDA_HOME:-/usr/local/cuda}
[ -r "$toolkit/include/cublasLt.h" ] && [ -r "$toolkit/include/cuda.h" ] || { echo "skipped: no headers of CUDA in $toolkit"; exit 77; }
${CC:-cc} -std=gnu17 -Wall -Werror -Wno-unused-function -Wno-incompatible-pointer-types -iquote "$here/../../runtime" -I"$toolkit/include" \
    -fsyntax-only "$here/cuda_headers.c" || { echo "our tables differ from the headers"; exit 1; }

# The names in the table are those of the library, versions and all: a header may call another one by the same name.
missing=0
check() {                                   # check KIND LIBRARY
    [ -r "$2" ] || return 0
    nm -D --defined-only "$2" | awk '{print $3}' | sed 's/@.*//' >exported.txt
    for symbol in $(sed -n "s/^$1([a-z_]*, \([A-Za-z0-9_]*\),.*/\1/p" "$here/../../runtime/cuda_api.def"); do
        grep -qx "$symbol" exported.txt || { echo "$2 exports no $symbol"; missing=1; }
    done
}
folder=$(mktemp -d) && cd "$folder" || exit 1
check DRIVER "$toolkit/lib64/stubs/libcuda.so"
check NVRTC "$toolkit/lib64/libnvrtc.so"
check BLAS "$toolkit/lib64/libcublasLt.so"
cd / && rm -r "$folder"
exit $missing
