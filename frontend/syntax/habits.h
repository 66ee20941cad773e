// What people write who know other languages and libraries, and how Mix says it.
#ifndef MIXC_HABITS_H
#define MIXC_HABITS_H

#include <stddef.h>

// A word that begins a statement or declaration in another language (`for`, `def`, `return`): what Mix has instead.
// NULL: it is no such word.
const char *habit_of_word(const char *text, size_t n);
// Advice for a token that was not expected: `token`, spelt `text`, behind the token `before`. NULL: there is none.
const char *habit_of_tokens(int before, int token, const char *text, size_t n);
// A function, layer or method of another library (`matmul`, `LayerNorm`, `view`): what Mix has instead. NULL: unknown.
const char *habit_of_call(const char *name);

#endif
