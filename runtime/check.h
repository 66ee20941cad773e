// What must hold of a program before a device touches memory for it. Every device calls this first: it is the
// independent check of the memory plan.
#ifndef MIXC_CHECK_H
#define MIXC_CHECK_H

#include "program.h"
#include "status.h"

// The buffer whose storage `id` uses.
uint32_t program_storage(const Program *p, uint32_t id);

// Are bytes offset .. offset+bytes-1 those of a buffer? INTERNAL when there is no such buffer or it is shorter. Every
// device asks before the host touches its memory.
Status program_reach(const Program *p, uint32_t buffer, size_t offset, size_t bytes, StatusText *why);

// Indices in range, names that are identifiers, sizes that fit, 64-byte aligned offsets inside the arena, and no two
// buffers that share a byte while both are alive. A PARAM or STATE is alive always, an INPUT from the start to its last
// use, an OUTPUT from its first use to the end, a TEMP from its first to its last use. Fails with INTERNAL.
Status program_check(const Program *p, StatusText *why);

#endif
