// `mixc check --fix`: the edits that diagnostics offer (`help=`), applied to a file's text.
#ifndef MIXC_FIX_H
#define MIXC_FIX_H

#include "diag.h"

// Writes the text of `file` with the edits of all diagnostics that lie in it. Of edits that overlap, the one of the
// earlier place is made and the others are left for the next run. Returns how many were made; 0: `out` is the file.
size_t fix_apply(const Diag *diag, uint32_t file, Text *out);

#endif
