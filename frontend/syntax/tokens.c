// Between the scanner and the parser: tells keywords and statement targets from names, and hands out balanced brackets.
//
// A bracket that is left open is noticed where that is certain: at a closing bracket of another kind, at a line that
// can only begin a statement, at a line that can only begin an item, at the end of the file. It is reported once, with
// the place where it was opened, and the missing closing brackets are made up, so that the rest of the file is read as
// it was meant. The parser therefore never sees unbalanced brackets.
#include "parse.h"

#include "grammar.h"
#include "habits.h"
#include "lexer.h"

#include <string.h>

enum { MAX_TARGETS = 64 };                  // names before one `=`; keeps looking ahead short

typedef enum Reserved {
    ANYWHERE,
    OUTSIDE,                                // outside all brackets
    CLAUSE                                  // between `experts` and `each`, at the same level of brackets
} Reserved;

static const struct { const char *text; int token; Reserved where; } keyword[] = {
    {"mix", MIX, OUTSIDE}, {"model", MODEL, OUTSIDE}, {"data", DATA, OUTSIDE}, {"size", SIZE, OUTSIDE},
    {"use", USE, ANYWHERE}, {"axis", AXIS, ANYWHERE}, {"const", CONST, ANYWHERE}, {"layer", LAYER, ANYWHERE},
    {"train", TRAIN, ANYWHERE}, {"generate", GENERATE, ANYWHERE}, {"on", ON, ANYWHERE}, {"twin", TWIN, ANYWHERE},
    {"param", PARAM, ANYWHERE}, {"state", STATE, ANYWHERE}, {"next", NEXT, ANYWHERE}, {"yield", YIELD, ANYWHERE},
    {"penalty", PENALTY, ANYWHERE}, {"watch", WATCH, ANYWHERE}, {"repeat", REPEAT, ANYWHERE}, {"in", IN, ANYWHERE},
    {"only", ONLY, ANYWHERE}, {"else", ELSE, ANYWHERE}, {"with", WITH, ANYWHERE}, {"route", ROUTE, ANYWHERE},
    {"by", BY, ANYWHERE}, {"to", TO, ANYWHERE}, {"experts", EXPERTS, ANYWHERE}, {"each", EACH, ANYWHERE},
    {"over", OVER, ANYWHERE}, {"tied", TIED, ANYWHERE}, {"recompute", RECOMPUTE, ANYWHERE},
    {"causal", CAUSAL, ANYWHERE}, {"after", AFTER, ANYWHERE}, {"allow", ALLOW, ANYWHERE}, {"leak", LEAK, ANYWHERE},
    {"top", TOP, CLAUSE}, {"sample", SAMPLE, CLAUSE}, {"capacity", CAPACITY, CLAUSE}, {"dropless", DROPLESS, CLAUSE},
    {"gate", GATE, CLAUSE}, {"overflow", OVERFLOW, CLAUSE}, {"balance", BALANCE, CLAUSE}, {"noise", NOISE, CLAUSE},
    {"assign", ASSIGN, CLAUSE}, {"priority", PRIORITY, CLAUSE}, {"where", WHERE, CLAUSE}, {"pooled", POOLED, CLAUSE},
};

// ---- looking ahead in the text -------------------------------------------------------------------------------------

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '\'';
}

static uint32_t skip_blanks(const Parse *p, uint32_t i)
{
    while (i < p->n && (p->text[i] == ' ' || p->text[i] == '\t'))
        i++;
    return i;
}

// Skips a name and the blanks behind it. Returns `i` when there is none.
static uint32_t skip_name(const Parse *p, uint32_t i)
{
    uint32_t begin = i;
    while (i < p->n && is_name_char(p->text[i]))
        i++;
    return i == begin ? begin : skip_blanks(p, i);
}

static bool single_equals(const Parse *p, uint32_t i)
{
    return i < p->n && p->text[i] == '=' && p->text[i + 1] != '=';
}

// Names separated by commas, then `=`: what follows the name that ends at `i` makes it the target of a statement.
static bool targets_follow(const Parse *p, uint32_t i)
{
    i = skip_blanks(p, i);
    for (int n = 0; i < p->n && p->text[i] == ',' && n < MAX_TARGETS; n++) {
        uint32_t name = skip_blanks(p, i + 1);
        i = skip_name(p, name);
        if (i == name)
            return false;
    }
    return single_equals(p, i);
}

// The token of a word that ends at `end`. `next` is also a function, `windows = next(T)`: there it is a name.
static int keyword_token(const Parse *p, const char *text, uint32_t end)
{
    for (size_t i = 0; i < sizeof keyword / sizeof *keyword; i++) {
        if (strcmp(keyword[i].text, text))
            continue;
        bool here = keyword[i].where == ANYWHERE || (keyword[i].where == OUTSIDE && p->n_brackets == 0) ||
                    (keyword[i].where == CLAUSE && p->clauses_at == p->n_brackets + 1);
        bool function = keyword[i].token == NEXT && p->text[skip_blanks(p, end)] == '(';
        return here && !function ? keyword[i].token : ID;
    }
    return ID;
}

static bool starts_line(const Parse *p, uint32_t i)
{
    while (i > 0 && strchr(" \t\r\f", p->text[i - 1]))
        i--;
    return i == 0 || p->text[i - 1] == '\n';
}

// True for a word in the first column that, with what follows it, can only begin an item.
static bool starts_item(const Parse *p, const char *word, Span at)
{
    if (at.begin > 0 && p->text[at.begin - 1] != '\n')
        return false;
    uint32_t name = skip_blanks(p, at.end);
    uint32_t behind = skip_name(p, name);
    if (behind == name)
        return false;
    char next = p->text[behind];
    if (!strcmp(word, "layer") || !strcmp(word, "model"))
        return next == '(' || next == '[';
    if (!strcmp(word, "data") || !strcmp(word, "size") || !strcmp(word, "generate"))
        return next == '{';
    if (!strcmp(word, "train"))
        return !strncmp(p->text + behind, "on", 2) && !is_name_char(p->text[behind + 2]);
    return !strcmp(word, "use");
}

static bool is_one_of(int token, const int *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (token == list[i])
            return true;
    return false;
}

// Number of round and square brackets that are open inside the innermost braces.
static size_t n_inner_brackets(const Parse *p)
{
    size_t n = 0;
    while (n < p->n_brackets && p->bracket[p->n_brackets - 1 - n].open != '{')
        n++;
    return n;
}

// A name that `=` follows begins a statement when the one before is complete; also on a new line, so that an unfinished
// statement is noticed there, unless a declaration or an argument has its name at this place. A list of names
// (`p, n = ..`) needs a complete statement before it: in `axis A = Y/Py, B = 2` nothing begins at Py.
static bool is_target(const Parse *p, Span at)
{
    static const int complete[] = {'{', '}', ID, NUM, STR, ')', ']', RECOMPUTE, DROPLESS, POOLED, TRAIN, GENERATE};
    static const int before_names[] = {',', ';', ':', AXIS, CONST, LAYER, PARAM, STATE, NEXT, PENALTY, WATCH, WITH, REPEAT};
    if (n_inner_brackets(p) > 0)
        return false;
    uint32_t behind = skip_blanks(p, at.end);
    bool list = behind < p->n && p->text[behind] == ',';
    if (!(list ? targets_follow(p, at.end) : single_equals(p, behind)))
        return false;
    if (is_one_of(p->previous, complete, sizeof complete / sizeof *complete))
        return p->previous != ']' || !p->closed_sums;
    return !list && starts_line(p, at.begin) &&
           !is_one_of(p->previous, before_names, sizeof before_names / sizeof *before_names);
}

// ---- brackets --------------------------------------------------------------------------------------------------------

char closing_bracket(char open)
{
    return open == '(' ? ')' : open == '[' ? ']' : '}';
}

static void report_open(Parse *p, Span at, const char *what)
{
    Bracket b = p->bracket[p->n_brackets - 1];
    if (p->skipping && b.open != '{')       // an error inside these brackets was reported already
        return;
    LineCol opened = sources_line_col(p->sources, p->file, b.at.begin);
    if (parse_error(p, at, "E0004", "expected `%c` before %s, to close the `%c` on line %u", closing_bracket(b.open),
                    what, b.open, opened.line))
        diag_label(p->diag, b.at, "opened here");
}

// Hands out `n` closing brackets before the token at hand, which is kept.
static void make_up(Parse *p, size_t n, int token, const MIX_STYPE *value, Span at)
{
    p->n_close = n;
    p->held = token;
    p->held_at = at;
    p->held_name = token == ID ? value->name : NULL;
}

// A statement keyword or target on a new line while round or square brackets are open: they were forgotten.
static bool starts_statement(const Parse *p, int token, Span at)
{
    static const int statement[] = {AXIS, PARAM, STATE, NEXT, CONST, YIELD, PENALTY, WATCH, REPEAT, ONLY};
    if (!starts_line(p, at.begin))
        return false;
    if (is_one_of(token, statement, sizeof statement / sizeof *statement))
        return true;
    bool argument = p->previous == ',' || p->previous == '(' || p->previous == '[' || p->previous == DOT;
    return token == ID && !argument && single_equals(p, skip_blanks(p, at.end));
}

// Closes brackets that a closing bracket of another kind, or nothing, closes. Returns false when `token` is to be dropped.
static bool balance_closer(Parse *p, int token, const MIX_STYPE *value, Span at)
{
    size_t depth = p->n_brackets;
    while (depth > 0 && closing_bracket(p->bracket[depth - 1].open) != token) {
        if (p->bracket[depth - 1].open == '{')      // a round bracket does not close a block
            depth = 1;
        depth--;
    }
    if (depth == 0) {
        parse_error(p, at, "E0004", "nothing is open that `%c` could close", token);
        return false;
    }
    if (depth < p->n_brackets) {
        char what[8] = {'`', (char)token, '`', 0};
        report_open(p, at, what);
        make_up(p, p->n_brackets - depth, token, value, at);
    }
    return true;
}

// ---- the filter ------------------------------------------------------------------------------------------------------

static void stop(Parse *p, MIX_STYPE *value, Span at)
{
    p->stopped = true;
    make_up(p, p->n_brackets, END, value, at);
}

// Reads the next raw token and decides what it is; NO_TOKEN: it is to be dropped. It may have been put behind made-up
// brackets instead (p->n_close).
static int classify(Parse *p, MIX_STYPE *value, Span *at)
{
    int token = mix_raw_lex(value, at, p->scanner);
    if (token == END) {
        *at = (Span){p->file, p->n, p->n};
        if (p->n_brackets > 0) {
            report_open(p, *at, "the end of the file");
            make_up(p, p->n_brackets, END, value, *at);
        }
    } else if (token == ID) {
        const char *word = value->name->text;
        token = keyword_token(p, word, at->end);
        if (p->n_brackets > 0 && starts_item(p, word, *at)) {
            report_open(p, *at, arena_printf(p->arena, "this `%s`", word));
            make_up(p, p->n_brackets, ID, value, *at);
        } else if (n_inner_brackets(p) > 0 && starts_statement(p, token, *at)) {
            report_open(p, *at, "this statement");
            make_up(p, n_inner_brackets(p), ID, value, *at);
        }
    } else if ((token == ')' || token == ']' || token == '}') && !balance_closer(p, token, value, *at))
        return NO_TOKEN;
    return token;
}

// The token that waited behind made-up brackets.
static int release_held(Parse *p, MIX_STYPE *value, Span *at)
{
    int token = p->held;
    p->held = NO_TOKEN;
    *at = p->held_at;
    if (token == ID) {
        value->name = p->held_name;
        token = keyword_token(p, value->name->text, at->end);
    }
    return token;
}

static int made_up_closer(Parse *p, Span *at)
{
    p->n_close--;
    p->made_up = true;
    *at = (Span){p->file, p->held_at.begin, p->held_at.begin};
    return closing_bracket(p->bracket[--p->n_brackets].open);
}

static bool open_bracket(Parse *p, int token, MIX_STYPE *value, Span at)
{
    if (p->n_brackets < AST_MAX_NESTING) {
        p->bracket[p->n_brackets++] = (Bracket){token == DOT ? '[' : (char)token, token == DOT, at};
        return true;
    }
    if (parse_error(p, at, "E0007", "brackets are nested more than %d deep", AST_MAX_NESTING))
        diag_help(p->diag, "give the inner parts names on lines of their own");
    stop(p, value, at);
    return false;
}

// One token, balanced; not yet filtered by error recovery.
static int balanced(Parse *p, MIX_STYPE *value, Span *at)
{
    p->made_up = false;
    for (;;) {
        int token;
        if (p->n_close > 0)
            return made_up_closer(p, at);
        if (p->held != NO_TOKEN)
            token = release_held(p, value, at);
        else if (p->stopped) {
            *at = (Span){p->file, p->n, p->n};
            return END;
        } else {
            token = classify(p, value, at);
            if (p->n_errors >= MAX_SYNTAX_ERRORS)
                stop(p, value, *at);
            if (p->n_close > 0 || token == NO_TOKEN || p->stopped)
                continue;
        }
        if (token == ')' || token == ']' || token == '}')
            p->closed_sums = p->bracket[--p->n_brackets].sums;
        else if (token == '(' || token == '[' || token == '{' || token == DOT) {
            if (!open_bracket(p, token, value, *at))
                continue;
        } else if (token == ID && is_target(p, *at))
            token = TARGET;
        if (token == EXPERTS)
            p->clauses_at = p->n_brackets + 1;
        else if (token == EACH || token == '{' || token == '}')
            p->clauses_at = 0;
        return token;
    }
}

// May parsing go on at this token after an error whose statement or item stood at `level` open brackets?
static bool is_resume_point(const Parse *p, int token, Span at, size_t level)
{
    if (token == END)
        return true;
    if (token == '}')
        return p->n_brackets < level;
    if (p->n_brackets != level)
        return false;
    bool first_column = at.begin == 0 || p->text[at.begin - 1] == '\n';
    switch (token) {
    case ID:                                // a word of another language, or in the first column: something begins here
        return starts_line(p, at.begin) &&
               ((level == 0 && first_column) || habit_of_word(p->text + at.begin, at.end - at.begin));
    case AXIS: case CONST: case USE: case MODEL: case DATA: case SIZE: case LAYER: case TRAIN: case GENERATE: case ONLY:
        return starts_line(p, at.begin);
    case PARAM: case STATE: case NEXT: case YIELD: case PENALTY: case WATCH: case REPEAT: case TARGET:
        return level > 0;
    default:
        return false;
    }
}

Resume parse_recover(Parse *p, int look_ahead, Span at)
{
    // The level of the statement list that goes on: that of the braces around the offending token.
    size_t level = p->n_brackets;
    if (look_ahead == '(' || look_ahead == '[' || look_ahead == '{' || look_ahead == DOT)
        level--;
    if (look_ahead == '}')
        level++;
    while (level > 0 && p->bracket[level - 1].open != '{')
        level--;
    p->clauses_at = 0;
    if (look_ahead == END)
        return RESUME_AT_END;
    bool again = p->resumed_at == p->n_tokens;          // tried with this very token already
    p->resumed_at = p->n_tokens;
    if (!again && is_resume_point(p, look_ahead, at, level))
        return RESUME_HERE;
    p->skipping = true;
    p->skip_level = level;
    return RESUME_LATER;
}

static void hand_out(Parse *p, int token, Span at)
{
    p->before = p->previous;
    p->before_at = p->previous_at;
    p->previous = token;
    p->previous_at = at;
}

int mix_lex(MIX_STYPE *value, Span *at, Parse *p)
{
    if (p->n_head > 0) {                                // the line `mix 1` is missing and was reported
        *at = (Span){p->file, 0, 0};
        value->expr = expr_leaf(p, EXPR_NUMBER, *at, "1", 1);
        return p->n_head-- == 2 ? MIX : NUM;
    }
    int token = balanced(p, value, at);
    while (p->skipping && !is_resume_point(p, token, *at, p->skip_level)) {
        hand_out(p, token, *at);
        token = balanced(p, value, at);
    }
    p->skipping = false;
    p->n_tokens++;
    hand_out(p, token, *at);
    return token;
}
