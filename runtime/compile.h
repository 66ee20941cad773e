// The system's C compiler: finds it, knows who it is, and turns texts into shared objects, all at once, each in a
// process of its own. Nothing goes through a shell; the environment handed down is our own short list.
#ifndef MIXC_COMPILE_H
#define MIXC_COMPILE_H

#include "arena.h"
#include "status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct Compiler {
    Arena      *arena;                      // borrowed
    const char *name;                       // as asked for: $CC, cc, ...
    const char *path;                       // absolute; NULL until it was looked for
    const char *const *extra;               // words after the first in $CC ("ccache gcc"); NULL-terminated
    const char *version;                    // what it answers to --version; NULL until asked
    bool        is_plain;                   // it refuses our usual flags: only the necessary ones are used
    double      limit_s;                    // of one run; MIXC_COMPILE_TIMEOUT, in seconds
} Compiler;

typedef struct CompiledUnit {
    const char *text;                       // in: one C file
    const char *label;                      // in: what it is, for messages
    void       *data;                       // out: the shared object, in the caller's arena
    size_t      n;
} CompiledUnit;

// `name` NULL: $CC, else cc. Does not run anything yet.
Compiler compiler_make(Arena *arena, const char *name);

// Finds the program and asks for its version, once. Fails with NO_COMPILER.
Status compiler_identify(Compiler *compiler, StatusText *why);

// Everything but the text that decides what comes out: compiler, version, flags, features of this CPU.
const char *compiler_key(Arena *arena, const Compiler *compiler);

// Compiles units[i] where take[i] (all when take is NULL).
Status compiler_run(Compiler *compiler, Arena *arena, CompiledUnit *unit, const bool *take, int n, StatusText *why);

// A file of a library. Kernels are compiled with the flags of compiler_run, and so to the same bits; the launcher without what
// would contract its arithmetic; data (a header, what .incbin reads) lies beside them.
typedef enum LibraryFileKind { LIBRARY_KERNELS, LIBRARY_LAUNCHER, LIBRARY_DATA } LibraryFileKind;

typedef struct LibraryFile {
    const char *name;                       // "gpt.c"
    const char *data;
    size_t      n;
    LibraryFileKind kind;
} LibraryFile;

// Compiles the files and joins the objects to an archive and a shared library at these paths; both are there in the end, or
// neither is touched. `march`: a processor instead of this one; NULL: this one.
// Errors: NO_COMPILER (also: no `ar`; $AR names another), BAD_USAGE (the compiler does not know `march`), INTERNAL, IO.
Status compiler_library(Compiler *compiler, Arena *arena, const LibraryFile *file, int n_files, const char *march,
                        const char *archive, const char *shared, StatusText *why);

#endif
