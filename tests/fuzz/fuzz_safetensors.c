// libFuzzer harness: any bytes as a safetensors file. Tensors that the reader accepts are read whole.
// tests/fuzz/run_fuzz_safetensors.sh builds and runs it; tests/runtime/test_safetensors.c replays the corpus.
#include "safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    Arena arena = {0};
    Safetensors st;
    StatusText why = {0};
    if (st_open_memory(&arena, "input", data, n, &st, &why) != STATUS_OK) {
        if (!why.text[0])
            abort();                        // a refusal says why
        arena_free(&arena);
        return 0;
    }
    size_t covered = 0;
    for (size_t i = 0; i < st.n_tensors; i++) {
        const StTensor *t = &st.tensor[i];
        covered += t->bytes;
        if (st_find(&st, t->name) != t)
            abort();
        float *value = arena_array(&arena, float, (size_t)t->count + 1);
        StatusText ignored = {0};
        st_read_f32(&st, t, value, &ignored);
    }
    if (covered != st.data_bytes)
        abort();                            // every byte belongs to one tensor
    arena_free(&arena);
    return 0;
}
