// Loaded source files, and spans: places in them.
#ifndef MIXC_SOURCE_H
#define MIXC_SOURCE_H

#include "arena.h"
#include "text.h"

#include <stdbool.h>
#include <stdint.h>

// A half-open range of bytes in a file. file 0 means "no place" (generated code, the command line).
typedef struct Span {
    uint32_t file;                          // index into Sources.file; 0 = none
    uint32_t begin, end;                    // byte offsets
} Span;

typedef struct SourceFile {
    const char *name;                       // as the user wrote it
    const char *data;                       // n bytes and a terminating zero
    size_t      n;
    uint32_t   *line_start;                 // byte offset of each line
    size_t      n_lines;
} SourceFile;

typedef struct Sources {
    Arena      *arena;                      // borrowed
    SourceFile *file;                       // file[0] is the empty "no place"
    size_t      n_files, capacity;
} Sources;

typedef struct LineCol {
    uint32_t line, col;                     // from 1; col counts bytes
} LineCol;

Sources sources_make(Arena *arena);
// Adds text under a name and returns its file index. Copies `data`.
uint32_t sources_add(Sources *sources, const char *name, const char *data, size_t n);
// Reads a file (- is standard input); returns 0 and sets errno when that fails.
uint32_t sources_read(Sources *sources, const char *path);
LineCol sources_line_col(const Sources *sources, uint32_t file, uint32_t offset);
// The text of a line (from 1) without its newline.
View sources_line(const Sources *sources, uint32_t file, uint32_t line);
// The span from the first to the last of two spans of one file.
Span span_join(Span a, Span b);

#endif
