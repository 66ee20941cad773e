// The words of a syntax error. The grammar knows the tokens that could have stood at a place; here they are summed up
// ("an expression", "a statement"), and the slips that people make most get messages of their own.
#include "parse.h"

#include "grammar.h"
#include "habits.h"

#include <string.h>

typedef struct Expected {
    const char *const *name;                // as the grammar spells its tokens
    size_t             n;
} Expected;

static bool expects(Expected e, const char *name)
{
    for (size_t i = 0; i < e.n; i++)
        if (!strcmp(e.name[i], name))
            return true;
    return false;
}

static bool is_one_of(const char *name, const char *const *list)
{
    for (size_t i = 0; list[i]; i++)
        if (!strcmp(list[i], name))
            return true;
    return false;
}

// Groups of tokens with one name. A group counts when its first member is expected, and then stands for all members.
static const struct { const char *words; const char *member[24]; } group[] = {
    {"a declaration (`axis`, `layer`, `model`, ..)",
     {"`model`", "`use`", "`axis`", "`const`", "`layer`", "`data`", "`train`", "`generate`", "`size`",
      "the end of the file"}},
    {"a statement",
     {"`yield`", "`axis`", "`const`", "`layer`", "`param`", "`state`", "`next`", "`penalty`", "`watch`", "`repeat`",
      "`only`", "the name of a result"}},
    {"a value", {"a number", "a name", "a string", "'('", "'-'"}},
    {"an operator",
     {"'*'", "'+'", "'-'", "'/'", "'%'", "`^`", "`@[`", "`<=`", "`>=`", "`==`", "`!=`", "'<'", "'>'", "'.'", "'['", "'('",
      "`tied`", "`recompute`"}},
    {"a clause such as `top 1`",
     {"`top`", "`sample`", "`capacity`", "`dropless`", "`gate`", "`overflow`", "`balance`", "`noise`", "`assign`",
      "`priority`", "`where`"}},
    {"`key = value`", {"the name of a result"}},
};
enum { N_GROUPS = sizeof group / sizeof *group };

static const char *respell(Parse *p, const char *name)      // '(' as `(`
{
    return name[0] == '\'' ? arena_printf(p->arena, "`%c`", name[1]) : name;
}

// "an expression, `,` or `)`".
static const char *expected_words(Parse *p, Expected e)
{
    const char *word[N_GROUPS + 4];
    size_t n = 0;
    bool used[N_GROUPS] = {false};
    for (size_t g = 0; g < N_GROUPS; g++) {
        used[g] = expects(e, group[g].member[0]);
        for (size_t earlier = 0; earlier < g; earlier++)
            used[g] &= !(used[earlier] && is_one_of(group[g].member[0], group[earlier].member));
        if (used[g])
            word[n++] = group[g].words;
    }
    for (size_t i = 0; i < e.n && n < sizeof word / sizeof *word; i++) {
        bool covered = false;
        for (size_t g = 0; g < N_GROUPS; g++)
            covered |= used[g] && is_one_of(e.name[i], group[g].member);
        if (!covered)
            word[n++] = respell(p, e.name[i]);
    }
    Text text = text_make(p->arena);
    for (size_t i = 0; i < n; i++)
        text_printf(&text, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", word[i]);
    return text_str(&text);
}

static const char *found_words(Parse *p, int token, Span at)
{
    if (token == END)
        return "the end of the file";
    size_t n = at.end - at.begin;
    return n > 40 ? arena_printf(p->arena, "`%.37s..`", p->text + at.begin)
                  : arena_printf(p->arena, "`%.*s`", (int)n, p->text + at.begin);
}

static bool begins_line(const Parse *p, Span at)
{
    uint32_t i = at.begin;
    while (i > 0 && strchr(" \t\r\f", p->text[i - 1]))
        i--;
    return i == 0 || p->text[i - 1] == '\n';
}

static bool is_keyword(int token)
{
    return token >= TRAIN && token <= POOLED;
}

static bool ends_value(int token)
{
    return token == ID || token == NUM || token == STR || token == ')' || token == ']';
}

// A value was wanted, but a statement, a declaration or the end of a block begins: the line before is not finished.
static bool report_unfinished(Parse *p, Expected e, int token, Span at)
{
    bool next_begins = token == TARGET || token == '}' || token == END || (is_keyword(token) && begins_line(p, at));
    if (!expects(e, "a number") || !next_begins || p->before == 0 || p->before == '{')
        return false;
    const char *before = found_words(p, p->before, p->before_at);
    if (p->before == ',' && parse_error(p, p->before_at, "E0011", "expected one more item after this comma"))
        diag_help_edit(p->diag, p->before_at, "", "delete the comma");
    else if (p->before != ',')
        parse_error(p, p->before_at, "E0011", "expected a value after %s, but the statement ends here", before);
    return true;
}

static bool report_reserved(Parse *p, Expected e, int token, Span at)
{
    if ((p->before == TO && token == EXPERTS) || (token == '=' && habit_of_tokens(p->before, token, "", 0)))
        return false;                                   // a route's own words: the habit says more
    if (token == '=' && is_keyword(p->before)) {        // `next = x`
        token = p->before;
        at = p->before_at;
    } else if (!is_keyword(token) || !(expects(e, "a name") || expects(e, "the name of a result")))
        return false;
    const char *word = arena_strndup(p->arena, p->text + at.begin, at.end - at.begin);
    bool shown = parse_error(p, at, "E0010", "`%s` is a word of the language and cannot be a name", word);
    if (shown && strcmp(word, "axis") == 0)                 // softmax(x, axis=D)
        diag_help(p->diag, "functions take axes as `over=..`: `sum(x, over=D)`; as a name, choose another");
    else if (shown)
        diag_help(p->diag, "call it something else, for example `%s_`", word);
    return true;
}

// `a b`: two values side by side; a name that begins a statement without `=`.
static bool report_juxtaposed(Parse *p, Expected e, int token, Span at)
{
    bool value = token == ID || token == NUM || token == STR || token == '(';
    if (!value)
        return false;
    if (expects(e, "`yield`") && (begins_line(p, at) || !ends_value(p->before))) {
        const char *habit = habit_of_word(p->text + at.begin, at.end - at.begin);
        if (habit) {
            if (parse_error(p, at, "E0014", "no statement of Mix begins with %s", found_words(p, token, at)))
                diag_help(p->diag, "%s", habit);
            return true;
        }
        const char *line_end = strpbrk(p->text + at.end, "\n}");
        const char *equals = strchr(p->text + at.end, '=');
        bool assigns = equals && (!line_end || equals < line_end) && equals[1] != '=';
        if (assigns && strchr("+-*/", equals[-1])) {    // `x += 1`
            const char *name = found_words(p, token, at);
            if (parse_error(p, at, "E0014", "values do not change: a new value is named with `=`"))
                diag_help(p->diag, "write `%.*s = %.*s %c ..`", (int)strlen(name) - 2, name + 1, (int)strlen(name) - 2,
                          name + 1, equals[-1]);
            return true;
        }
        if (parse_error(p, at, "E0014", assigns ? "only plain names can stand before `=`"
                                                 : "this value is not used: a statement begins with a name and `=`"))
            diag_help(p->diag, assigns ? "give the whole value a name: `y = ..`" : "write `y = ..`, or `yield ..`");
        return true;
    }
    if (!expects(e, "'*'") || !ends_value(p->before))
        return false;
    if (parse_error(p, at, "E0013", "expected an operator between %s and %s", found_words(p, p->before, p->before_at),
                    found_words(p, token, at))) {
        diag_label(p->diag, p->before_at, "one value");
        diag_label(p->diag, at, "another");
        diag_help(p->diag, "a product is `a * b`, a product summed over D is `a @[D] b`");
    }
    return true;
}

static bool report_equals(Parse *p, Expected e, int token, Span at)
{
    if (token != '=' || !expects(e, "'*'"))
        return false;
    if (parse_error(p, at, "E0015", "`=` gives a name to a value and cannot stand here"))
        diag_help_edit(p->diag, at, "==", "to compare two values write `==`");
    return true;
}

static bool report_chained(Parse *p, Expected e, int token, Span at)
{
    bool comparison = token == LE || token == GE || token == EQ || token == NE || token == '<' || token == '>';
    if (!comparison || !expects(e, "'*'") || expects(e, "`<=`"))
        return false;
    if (parse_error(p, at, "E0016", "comparisons do not chain"))
        diag_help(p->diag, "a comparison is 0 or 1: write `(a < b) * (b < c)`");
    return true;
}

void parse_unexpected(Parse *p, Span at, const char *const *expected, size_t n_expected)
{
    if (p->made_up)                         // the bracket that is missing here was reported already
        return;
    Expected e = {expected, n_expected};
    int token = p->previous;
    if (report_unfinished(p, e, token, at) || report_reserved(p, e, token, at) || report_juxtaposed(p, e, token, at) ||
        report_equals(p, e, token, at) || report_chained(p, e, token, at))
        return;
    const char *words = expected_words(p, e);
    const char *habit = habit_of_tokens(p->before, token, p->text + at.begin, at.end - at.begin);
    if (!habit && token == ']' && expects(e, "`->`"))
        habit = "a slice names what it gives: `x[T = 0..4 -> P]`, with an axis P = 4";
    if (!habit && e.n == 2 && expects(e, "'['") && expects(e, "':'"))
        habit = "axes follow a name in brackets: `w[D]`; a single number has none: `w[]`";
    bool is_new;
    if (!strcmp(words, "a value") && p->before)
        is_new = parse_error(p, at, "E0001", "expected a value after %s, found %s",
                             found_words(p, p->before, p->before_at), found_words(p, token, at));
    else if (*words)
        is_new = parse_error(p, at, "E0001", "expected %s, found %s", words, found_words(p, token, at));
    else
        is_new = parse_error(p, at, "E0001", "%s cannot stand here", found_words(p, token, at));
    if (is_new && token == ';')
        diag_help_edit(p->diag, at, "", "delete it: a statement ends where the next one begins");
    else if (is_new && habit)
        diag_help(p->diag, "%s", habit);
}
