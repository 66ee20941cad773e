// Fused graph -> program: one kernel text for each distinct kernel, launches, buffers (offsets by plan_memory).
#ifndef MIXC_CODEGEN_H
#define MIXC_CODEGEN_H

#include "program.h"
#include "target.h"

// `g` went through the fuse passes. Returns NULL after an error in diag.
Program *codegen_program(Arena *arena, Diag *diag, const Graph *g, const Target *target);

// The whole program as one self-contained source file (prelude and kernels), for `mixc emit` and for the compiler.
void codegen_emit_c(const Program *p, Text *out);
void codegen_emit_cuda(const Program *p, Text *out);

#endif
