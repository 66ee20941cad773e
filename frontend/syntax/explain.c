// See explain.h.
#include "explain.h"

#include <ctype.h>
#include <string.h>

static const Explanation explanation[] = {
#define CODE(code, title, page) {code, title, page},
#include "codes.def"
#undef CODE
    {NULL, NULL, NULL},
};

const Explanation *explain_table(void)
{
    return explanation;
}

static bool same_code(const char *a, const char *b)
{
    while (*a && *b && toupper((unsigned char)*a) == toupper((unsigned char)*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

const Explanation *explain_find(const char *code)
{
    for (const Explanation *e = explanation; e->code; e++)
        if (same_code(e->code, code))
            return e;
    return NULL;
}

void explain_print(const Explanation *e, Text *out, bool colour)
{
    const char *bold = colour ? "\033[1m" : "", *blue = colour ? "\033[34m" : "", *plain = colour ? "\033[0m" : "";
    text_printf(out, "%s%s: %s%s\n\n", bold, e->code, e->title, plain);
    for (const char *s = e->page; *s;) {
        size_t n = strcspn(s, "\n");
        bool code = !strncmp(s, "    ", 4);
        text_add(out, code ? blue : "");
        text_add_n(out, s, n);
        text_add(out, code ? plain : "");
        text_char(out, '\n');
        s += n + (s[n] == '\n');
    }
}
