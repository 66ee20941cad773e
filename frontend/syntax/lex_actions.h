// What the lexer does with the text of a token. Each returns the token's number; errors are recorded on the way.
#ifndef MIXC_LEX_ACTIONS_H
#define MIXC_LEX_ACTIONS_H

#include "parse.h"
#include "grammar.h"

// The place of the next `n` bytes; moves on.
Span lex_begin(Parse *p, size_t n);
void lex_comment(Parse *p, Span at);
// A line that begins with `//` or `/*`: reported, and skipped as the comment that it is meant to be.
void lex_foreign_comment(Parse *p, Span at);
int  lex_name(Parse *p, MIX_STYPE *value, Span at);
int  lex_number(Parse *p, MIX_STYPE *value, Span at);
int  lex_bad_number(Parse *p, MIX_STYPE *value, Span at);
int  lex_string(Parse *p, MIX_STYPE *value, Span at);
int  lex_open_string(Parse *p, MIX_STYPE *value, Span at);
// A character that the language does not use. Returns what stands in for it, or NO_TOKEN.
int  lex_foreign(Parse *p, Span at);

// Looks for bytes that are not UTF-8, zeros, and too much of them; reports the first and returns false.
bool lex_check_text(Parse *p);

#endif
