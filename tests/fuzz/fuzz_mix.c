// libFuzzer entry for the reader and printer of .mix files. See run_fuzz.sh beside this file.
#include "mix_check.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    mix_check((const char *)data, n);
    return 0;
}
