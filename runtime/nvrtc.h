// CUDA text to PTX or machine code, by NVRTC. No GPU and no driver take part.
#ifndef MIXC_NVRTC_H
#define MIXC_NVRTC_H

#include "arena.h"
#include "cuda_api.h"

typedef struct NvrtcJob {
    const char *name;                       // of the text, in messages and line tables: "kernels.cu"
    const char *text;
    const char *arch;                       // "sm_80", "sm_90a"
    bool        wants_ptx;                  // else a cubin
    bool        wants_report;               // the assembler's statistics in the log
} NvrtcJob;

typedef struct NvrtcImage {
    void       *data;                       // PTX ends in a zero that n counts
    size_t      n;
    const char *log;                        // what the compiler said; "": nothing
} NvrtcImage;

// Results live in the arena, which no other thread may use meanwhile; the table may be used by several threads. Fails
// with INTERNAL and the first complaint of the compiler, because the text is ours.
Status nvrtc_compile(const NvrtcApi *api, Arena *arena, const NvrtcJob *job, NvrtcImage *out_image, StatusText *why);
// What beside text and architecture decides the result: version and options, for a cache key.
const char *nvrtc_key(const NvrtcApi *api, Arena *arena);
// True when the compiler can make code for compute capability 10*major + minor.
bool nvrtc_knows(const NvrtcApi *api, int capability);

// What the assembler said about a kernel (with wants_report).
typedef struct PtxasReport {
    const char *kernel;
    int         registers, barriers;
    size_t      stack_bytes, spill_stores, spill_loads, shared_bytes;
} PtxasReport;

typedef struct PtxasAdvice {                // "Potential Performance Loss" and the like
    const char *code;                       // "C7510"
    const char *text;                       // the whole line
} PtxasAdvice;

typedef struct PtxasLog {
    PtxasReport *kernel; size_t n_kernels, kernel_capacity;
    PtxasAdvice *advice; size_t n_advice, advice_capacity;
} PtxasLog;

// Reads a log; lines that it does not know are passed over, except that every "(C....)" is an advice.
PtxasLog ptxas_read(Arena *arena, const char *log);

#endif
