// CUDA text to PTX, by NVRTC: found at run time, needed by nothing else. No GPU and no driver take part.
#ifndef MIXC_NVRTC_H
#define MIXC_NVRTC_H

#include "arena.h"
#include "status.h"

typedef struct Nvrtc Nvrtc;

// $MIXC_NVRTC names the library; otherwise it is looked for on the search path and where the toolkit is installed.
// Fails with NO_DEVICE where it is not.
Status nvrtc_open(Nvrtc **out_nvrtc, StatusText *why);
void   nvrtc_close(Nvrtc *nvrtc);

// `arch`: sm_80. The PTX is text in the arena and knows its source lines. Fails with INTERNAL and the first complaint of
// the compiler, because the text is ours.
Status nvrtc_ptx(Nvrtc *nvrtc, Arena *arena, const char *name, const char *text, const char *arch, const char **out_ptx,
                 StatusText *why);

#endif
