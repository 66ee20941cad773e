// The library layers written in Mix, embedded in the binary (generated from frontend/std by embed.cmake).
#ifndef MIXC_STD_FILES_H
#define MIXC_STD_FILES_H

#include <stddef.h>

typedef struct StdFile {
    const char *name;                       // "std.norm"; NULL ends the table
    const char *data;
    size_t      n;
} StdFile;

extern const StdFile std_file[];

#endif
