// What compile.c and compile_library.c share.
#ifndef MIXC_COMPILE_PARTS_H
#define MIXC_COMPILE_PARTS_H

#include "compile.h"

enum { COMPILER_MAX_WORDS = 16, COMPILER_MAX_FLAGS = 12 };

// The words of $CC into argv[n], ...; returns the next n.
int compiler_words(const char **argv, int n, const Compiler *c);
// The flags of a compilation: the usual ones, or those that any compiler takes. NULL-terminated; -shared is among them.
const char *const *compiler_flags(const Compiler *c);
// The short environment of a child.
const char *const *compiler_env(Arena *arena, const char *tmpdir);
// The first few lines of what a compiler printed, on one line.
const char *compiler_said(Arena *arena, const char *output);
// A new file with these bytes; false: errno.
bool compiler_write(const char *path, const char *data, size_t n);
// Does it compile an empty program?
bool compiler_works(Compiler *c, Arena *arena, StatusText *why);

#endif
