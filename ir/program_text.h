// What the program's printer and reader share.
#ifndef MIXC_PROGRAM_TEXT_H
#define MIXC_PROGRAM_TEXT_H

#include "program.h"

extern const char *const buffer_kind_text[BUFFER_KIND_COUNT];

#endif
