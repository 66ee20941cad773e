// Private folders for temporary files, $TMPDIR/mixc-XXXXXX. Each holds a locked file while its owner lives; what a killed
// process left behind is recognised by the missing lock, and the next one that makes such a folder takes it away.
#ifndef MIXC_TEMP_FOLDER_H
#define MIXC_TEMP_FOLDER_H

#include "arena.h"
#include "status.h"

typedef struct TempFolder {
    const char *path;                       // in the arena
    int         lock;                       // descriptor
} TempFolder;

// Makes a folder of mode 700. Errors: IO.
Status temp_folder_make(Arena *arena, TempFolder *out_folder, StatusText *why);
// Removes the folder and the files in it.
void   temp_folder_remove(TempFolder *folder);

// Removes folders of ours in `parent` whose owner is gone. Folders younger than `age_s` seconds are left alone: their owner
// may not have locked them yet. Returns how many were removed.
int    temp_folder_sweep(const char *parent, long age_s);

#endif
