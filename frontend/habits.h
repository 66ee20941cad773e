// What people write who know other languages, and how Mix says it. Private to the front end's reader.
#ifndef MIXC_HABITS_H
#define MIXC_HABITS_H

#include "parse.h"

// A word that begins a statement or declaration in another language (`for`, `def`, `return`): what Mix has instead.
// NULL: it is no such word.
const char *habit_of_word(const char *text, size_t n);
// Advice for a token that was not expected: `token` at `at`, behind `before`. NULL: there is none.
const char *habit_of_tokens(const Parse *p, int before, int token, Span at);

#endif
