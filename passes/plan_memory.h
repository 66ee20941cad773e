// The memory plan of a program: where in the one arena each buffer lives. Runs after code generation.
#ifndef MIXC_PLAN_MEMORY_H
#define MIXC_PLAN_MEMORY_H

#include "diag.h"
#include "program.h"

enum { PLAN_ALIGN = 64 };                   // offsets are multiples of a cache line

// Sets every buffer's offset, and the program's arena_bytes and live_peak_bytes.
//
//   INPUT, PARAM, STATE   have their place for the whole run, and from run to run;
//   OUTPUT                from the launch that first touches it to the end of the run;
//   TEMP                  from its first to its last launch: two that are never alive together may share bytes.
//
// Buffers with same_as share the storage of that buffer, alive while any of them is. live_peak_bytes is the largest
// sum, over the launches, of the sizes (rounded up to PLAN_ALIGN) of what is alive: no plan can be smaller.
// Takes about n log n. Returns false after an error in diag: the sizes do not fit into size_t.
bool plan_memory(Program *p, Diag *diag);

// The lifetime of each buffer's storage, first[i] <= last[i], by launch index; last[i] is n_launches - 1 for what must
// survive the run. Arrays of n_buffers.
void plan_lifetimes(const Program *p, Arena *arena, uint32_t **out_first, uint32_t **out_last);

// For `mixc plan`: totals, and the largest buffers alive at the peak.
void plan_print(const Program *p, const Sources *sources, Text *out);
// {"peak_bytes", "lower_bound_bytes", "launches", "kernels", "buffers", "param_bytes", .., "at_peak": [{..}], "routes": []}
void plan_print_json(const Program *p, const Sources *sources, const char *routes, Text *out);

#endif
