// Files that are replaced whole: whatever happens, and whenever, there is the old file or the whole new one.
//
//   temporary file beside it (PATH.tmp: always the same name, locked, so that crashes leave at most one)
//   -> fsync -> rename -> fsync of the folder
//
// What is there and is not a plain file (/dev/null, a pipe) is never replaced: it is written to.
#ifndef MIXC_REPLACE_FILE_H
#define MIXC_REPLACE_FILE_H

#include "status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct FileWriter FileWriter;

// Everything at once.
Status file_replace(const char *path, const void *data, size_t n, StatusText *why);

// In steps. file_end takes over the writer whatever happens; with `keep` false, or after a failure, the old file stays.
Status file_begin(const char *path, FileWriter **out_writer, StatusText *why);
Status file_add(FileWriter *writer, const void *data, size_t n, StatusText *why);
Status file_end(FileWriter *writer, bool keep, StatusText *why);

// Makes a folder, and the folders that it stands in; one that is there is fine. Errors: IO.
Status folder_make(const char *path, StatusText *why);

#endif
