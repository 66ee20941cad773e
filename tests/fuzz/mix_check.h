// What must hold for any bytes given to the front end's reader; shared by the fuzzer and by the mutation test.
#ifndef MIXC_MIX_CHECK_H
#define MIXC_MIX_CHECK_H

#include "ast.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void mix_check_failed(const char *what, const char *data, size_t n)
{
    fprintf(stderr, "%s, for this text of %zu bytes:\n", what, n);
    fwrite(data, 1, n, stderr);
    abort();
}

// Any text is read without a crash. Diagnostics print. A text without errors prints canonically: what is printed is
// read without errors and prints to the same bytes, and no comment is lost. Returns true when the text was legal.
static inline bool mix_check(const char *data, size_t n)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    Ast *ast = ast_parse(&arena, &diag, &sources, sources_add(&sources, "in.mix", data, n));
    Text out = text_make(&arena), again = text_make(&arena);
    diag_print(&diag, &out, false);
    diag_print_json(&diag, &out);
    bool legal = diag.n_errors == 0;
    if (legal) {
        out = text_make(&arena);
        ast_print(ast, &sources, &out);
        Ast *second = ast_parse(&arena, &diag, &sources, sources_add(&sources, "out.mix", text_str(&out), out.n));
        if (diag.n_errors)
            mix_check_failed("the printed form does not read back", data, n);
        ast_print(second, &sources, &again);
        if (again.n != out.n || memcmp(text_str(&again), text_str(&out), out.n))
            mix_check_failed("printing twice makes a difference", data, n);
    } else if (diag.n_items == 0)
        mix_check_failed("failure without a diagnostic", data, n);
    arena_free(&arena);
    return legal;
}

#endif
