// The checkpoints of a run, by generation: which file to write, how it becomes the newest one, and which to load after
// a crash. Order of a save, each step durable before the next:
//
//   1. DIR/step-000000100.safetensors   temporary file, fsync, rename, fsync of DIR      (st_write_end)
//   2. DIR/last.safetensors -> step-..  a link of another name, renamed over the old one, fsync of DIR
//   3. older generations are removed, all but the newest `keep`
//
// A crash between any two leaves a complete newest generation. `last.safetensors` opens like a file.
#ifndef MIXC_GENERATIONS_H
#define MIXC_GENERATIONS_H

#include "arena.h"
#include "status.h"

#include <stdint.h>

// Where to write the checkpoint of a step.
const char *generation_path(Arena *arena, const char *folder, int64_t step);

// Makes the checkpoint of `step`, which was written before, the newest one, and removes old ones. keep >= 1.
Status generation_publish(const char *folder, int64_t step, int keep, StatusText *why);

// The checkpoint to go on from: what last.safetensors names, or, when that cannot be opened as a safetensors file, the
// newest that can. Fails with IO when there is none. *out_skipped counts damaged ones that were passed over.
Status generation_newest(Arena *arena, const char *folder, const char **out_path, int *out_skipped, StatusText *why);

#endif
