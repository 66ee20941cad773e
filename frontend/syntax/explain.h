// The pages of `mixc explain CODE`: what a diagnostic means, an example, and what to do. One row of codes.def each.
#ifndef MIXC_EXPLAIN_H
#define MIXC_EXPLAIN_H

#include "text.h"

typedef struct Explanation {
    const char *code;                       // "E0201"
    const char *title;                      // one line, lower case, no full stop
    const char *page;                       // paragraphs; lines that begin with four blanks are code
} Explanation;

// The table in order of the file; a NULL code ends it.
const Explanation *explain_table(void);
// The row of a code, in either case of letters; NULL: there is none.
const Explanation *explain_find(const char *code);
// Writes title and page. `colour`: code stands out on a terminal.
void explain_print(const Explanation *e, Text *out, bool colour);

#endif
