// Diagnostics: what is wrong with the user's model, in the user's words.
//
// A diagnostic has a place, a severity, a code, one sentence, any number of labels (a place and a few
// words printed under the source line), at most one note (the cause) and one help (an edit).
// Invariant, tested: whoever returns failure has recorded at least one error here.
#ifndef MIXC_DIAG_H
#define MIXC_DIAG_H

#include "source.h"

typedef enum Severity { SEVERITY_ERROR, SEVERITY_WARNING } Severity;

typedef struct DiagLabel {
    Span        at;
    const char *text;
} DiagLabel;

typedef struct DiagItem {
    Severity    severity;
    const char *code;                       // "E0201"; NULL: none
    Span        at;
    const char *message;                    // lower case, no full stop
    DiagLabel  *label;
    size_t      n_labels, label_capacity;
    const char *note, *help;                // NULL: none
    bool        help_is_edit;               // `help=`: `check --fix` may apply `edit` at `edit_at`
    Span        edit_at;
    const char *edit;
} DiagItem;

typedef struct Diag {
    Arena         *arena;                   // borrowed
    const Sources *sources;                 // borrowed; may be NULL
    DiagItem      *item;                    // the first thousand
    size_t         n_items, capacity;
    size_t         n_errors, n_warnings;
} Diag;

Diag diag_make(Arena *arena, const Sources *sources);

// Each starts a diagnostic; what follows (label, note, help) belongs to the newest one.
void diag_error(Diag *diag, Span at, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void diag_warning(Diag *diag, Span at, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// Words under `at`; a label at the diagnostic's own place stands behind the carets.
void diag_label(Diag *diag, Span at, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diag_note(Diag *diag, const char *format, ...) __attribute__((format(printf, 2, 3)));
void diag_help(Diag *diag, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A help that `check --fix` may apply: `edit` replaces the text at `edit_at`.
void diag_help_edit(Diag *diag, Span edit_at, const char *edit, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Prints the first 50 in order of place, in the form of docs/language.md "Messages" (at most 12 lines each).
// `colour`: use terminal colours.
void diag_print(const Diag *diag, Text *out, bool colour);
// The same as a JSON array: code, severity, message, file, line, col, end_line, end_col, labels, note,
// help, edit.
void diag_print_json(const Diag *diag, Text *out);

#endif
