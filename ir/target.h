// Facts about a device that passes, code generation and the cost model need. A plain record.
#ifndef MIXC_TARGET_H
#define MIXC_TARGET_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Target {
    const char *name;                       // "cpu", "cuda"
    bool        is_cuda;
    int         vector_floats;              // f32 lanes of a vector register: 16, 8, 4
    int         vector_registers;           // 32 or 16
    bool        has_bf16_dot;               // AVX512_BF16
    size_t      l1_bytes, l2_bytes;
    int         threads;
    size_t      keep_bytes;                 // what depends on parameters only may be kept, up to so much; 0: nothing
    int         library_ways;               // of a product by a library, that a search may try; 0: the device has no library
    const struct Schedules *schedules;      // what was measured, codegen/kernel_schedule.h; NULL: nothing. Borrowed
} Target;

#endif
