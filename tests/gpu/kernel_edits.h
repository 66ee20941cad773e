// One-edit changes of kernels, such as a mistake of the generator would make: rules over the lines of CUDA text or PTX. A place where a
// rule fits is a site; a kernel with one site changed is a mutant.
#ifndef MIXC_KERNEL_EDITS_H
#define MIXC_KERNEL_EDITS_H

#include "text.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum EditLevel { EDIT_CUDA, EDIT_PTX, EDIT_LEVELS } EditLevel;

typedef struct EditRule {
    EditLevel   level;
    const char *name;                       // several rows may share one
    const char *pattern;                    // extended regular expression, of one line
    const char *becomes;                    // $1 a group, $(2+4) a group as a number, plus 4
    const char *unless;                     // lines that are left alone; NULL: none
} EditRule;

#define REG "%[a-z]+[0-9]+"
#define NAME "[A-Za-z_][A-Za-z0-9_]*"
static const EditRule edit_rule[] = {
    {EDIT_PTX, "barrier dropped", "^[ \t]*(@!?%p[0-9]+ )?(bar|barrier)\\.[^;]*;", "", NULL},
    {EDIT_PTX, "wait dropped", "^[ \t]*cp\\.async\\.(wait_group|wait_all)[^;]*;", "", NULL},
    {EDIT_PTX, "wait too late", "(cp\\.async\\.wait_group[ \t]+)([0-9]+);", "$1$(2+1);", NULL},
    {EDIT_PTX, "commit dropped", "^[ \t]*cp\\.async\\.commit_group;", "", NULL},
    {EDIT_PTX, "bound", "(setp\\.)lt(\\.[us](16|32|64))", "$1le$2", NULL},
    {EDIT_PTX, "bound", "(setp\\.)le(\\.[us](16|32|64))", "$1lt$2", NULL},
    {EDIT_PTX, "bound", "(setp\\.)gt(\\.[us](16|32|64))", "$1ge$2", NULL},
    {EDIT_PTX, "bound", "(setp\\.)ge(\\.[us](16|32|64))", "$1gt$2", NULL},
    {EDIT_PTX, "end of a loop", "(setp\\.[a-z]+\\.[usb][0-9]+[ \t]+%p[0-9]+, " REG ", )([0-9]+);", "$1$(2+1);", NULL},
    {EDIT_PTX, "index", "((ld|st)\\.global\\.[^[]*\\[%rd[0-9]+)(\\+(-?[0-9]+))?\\]", "$1+$(4+4)]", "\\.v[24]\\."},
    {EDIT_PTX, "index", "((ld|st)\\.global\\.[a-z.]*v[24]\\.[^[]*\\[%rd[0-9]+)(\\+(-?[0-9]+))?\\]", "$1+$(4+16)]", NULL},
    {EDIT_PTX, "index", "(cp\\.async\\.c[ag][^[]*\\[[^]]*\\], \\[%rd[0-9]+)(\\+(-?[0-9]+))?\\]", "$1+$(3+16)]", NULL},
    {EDIT_PTX, "shared offset", "((ld|st)\\.shared\\.[^[]*\\[[^]+]+)(\\+(-?[0-9]+))?\\]", "$1+$(4+4)]", "\\.v[24]\\."},
    {EDIT_PTX, "shared offset", "((ld|st)\\.shared\\.[a-z.]*v[24]\\.[^[]*\\[[^]+]+)(\\+(-?[0-9]+))?\\]", "$1+$(4+16)]", NULL},
    {EDIT_PTX, "shared offset", "(ldmatrix[^[]*\\[[^]+]+)(\\+(-?[0-9]+))?\\]", "$1+$(3+16)]", NULL},
    {EDIT_PTX, "shared offset", "(cp\\.async\\.c[ag][^[]*\\[[^]+]+)(\\+(-?[0-9]+))?\\], \\[", "$1+$(3+16)], [", NULL},
    {EDIT_PTX, "initialisation dropped", "^[ \t]*mov\\.[a-z0-9]+[ \t]+" REG ", (0[fd][0-9A-Fa-f]+|-?[0-9]+);", "", NULL},
    {EDIT_PTX, "store dropped", "^[ \t]*(@!?%p[0-9]+ )?st\\.(global|shared)[^;]*;", "", NULL},
    {EDIT_PTX, "copy dropped", "^[ \t]*(@!?%p[0-9]+ )?cp\\.async\\.c[ag][^;]*;", "", NULL},
    {EDIT_PTX, "operands swapped", "((sub|div|rem)\\.[a-z0-9.]+[ \t]+" REG ", )([^,]+), ([^;]+);", "$1$4, $3;", NULL},
    {EDIT_PTX, "operands swapped", "(selp\\.[a-z0-9.]+[ \t]+" REG ", )([^,]+), ([^,]+), (%p[0-9]+);", "$1$3, $2, $4;", NULL},
    {EDIT_PTX, "operands swapped", "(mma\\.[^{]*\\{[^}]*\\}, *\\{ *)(" REG "), *(" REG ")", "$1$3, $2", NULL},
    {EDIT_PTX, "step", "(add\\.[su](32|64)[ \t]+" REG ", " REG ", )(-?[0-9]+);", "$1$(3+1);", NULL},
    {EDIT_PTX, "scale", "((mul\\.(wide|lo)\\.[su](16|32|64)|shl\\.b(32|64))[ \t]+" REG ", " REG ", )([0-9]+);", "$1$(6+1);", NULL},
    {EDIT_PTX, "scale", "(mad\\.lo\\.[su]32[ \t]+" REG ", " REG ", )([0-9]+), ", "$1$(2+1), ", NULL},
    {EDIT_PTX, "branch inverted", "@(%p[0-9]+)([ \t]+bra)", "@!$1$2", NULL},
    {EDIT_PTX, "branch inverted", "@!(%p[0-9]+)([ \t]+bra)", "@$1$2", NULL},
    {EDIT_PTX, "byte count", "(cp\\.async\\.ca[^[]*\\[[^]]*\\], \\[[^]]*\\], )16", "$18", NULL},
    {EDIT_PTX, "byte count", "(cp\\.async\\.c[ag][^[]*\\[[^]]*\\], \\[[^]]*\\], [0-9]+), [^;]+;", "$1;", NULL},
    {EDIT_PTX, "array too small", "(\\.shared \\.align [0-9]+ \\.b8 [A-Za-z0-9_$]+\\[)([0-9]+)\\]", "$1$(2+-4)]", NULL},
    {EDIT_PTX, "shuffle", "(shfl\\.sync\\.[a-z]+\\.b32[ \t]+[^,]+, [^,]+, )([0-9]+),", "$1$(2+1),", NULL},
    {EDIT_PTX, "accumulation lost", "fma(\\.rn\\.f32[ \t]+[^,]+, [^,]+, [^,]+), [^;]+;", "mul$1;", NULL},
    {EDIT_PTX, "guard dropped", "^([ \t]*)@!?%p[0-9]+ ((st|ld|cp)\\.)", "$1$2", NULL},

    {EDIT_CUDA, "barrier dropped", "__sync(threads|warp)\\([^)]*\\);", "", NULL},
    {EDIT_CUDA, "wait dropped", "asm volatile\\(\"cp\\.async\\.wait[^\"]*\"[^;]*;", "", NULL},
    {EDIT_CUDA, "commit dropped", "asm volatile\\(\"cp\\.async\\.commit[^\"]*\"[^;]*;", "", NULL},
    {EDIT_CUDA, "bound", "([A-Za-z0-9_)]|\\]) < ", "$1 <= ", NULL},
    {EDIT_CUDA, "index", "\\[([^][]+)\\]", "[$1 + 1]",
     "^[ \t]*(//|extern|__shared__|(const |unsigned )?(float|int|unsigned|char|short|long long) [a-z0-9_]+\\[)"},
    {EDIT_CUDA, "accumulation lost", " \\+= ", " = ", NULL},
    {EDIT_CUDA, "initialisation dropped", "((float|int|unsigned|double) " NAME ") = (0|0\\.0f|-?INFINITY|-?1);", "$1;", NULL},
    {EDIT_CUDA, "start of a loop", "(for \\([a-z ]+ " NAME " = )0;", "$11;", NULL},
    {EDIT_CUDA, "array too small", "(__shared__ [^[]*\\[)([0-9]+)\\]", "$1$(2+-1)]", NULL},
    {EDIT_CUDA, "index", "threadIdx\\.x", "(threadIdx.x + 1)", NULL},
    {EDIT_CUDA, "index", "blockIdx\\.x", "(blockIdx.x + 1)", NULL},
    {EDIT_CUDA, "step", "(blockDim|gridDim)\\.x", "($1.x + 1)", NULL},
    {EDIT_CUDA, "scale", "\\*([0-9]+)", "*$(1+1)", "^[ \t]*//"},
    {EDIT_CUDA, "scale", "([a-z0-9_)])/([0-9]+)", "$1/$(2+1)", "^[ \t]*//"},
    {EDIT_CUDA, "operands swapped", "(" NAME ") - (" NAME ")", "$2 - $1", "^[ \t]*//"},
};
#undef REG
#undef NAME
enum { EDIT_RULES = sizeof edit_rule / sizeof *edit_rule, EDIT_GROUPS = 8, FAR = 1 << 24 };

// Edits of what orders accesses, not of what is computed.
static inline bool edit_is_order(const char *name)
{
    return !strcmp(name, "barrier dropped") || !strcmp(name, "wait dropped") || !strcmp(name, "wait too late") || !strcmp(name, "commit dropped");
}

typedef struct EditRegex { regex_t pattern, unless; } EditRegex;

typedef struct EditSite {
    int         rule;                       // row of edit_rule
    size_t      at, length;                 // of the text that goes
    const char *becomes;
    const char *far;                        // the same with numbers that are far larger; NULL: there are none
    int         line;
} EditSite;

typedef struct EditSites { EditSite *site; size_t n, capacity; } EditSites;

// Returns false when a pattern is none, which is a mistake of the table.
static inline bool edit_rules_open(EditRegex *re)
{
    for (int r = 0; r < EDIT_RULES; r++)
        if (regcomp(&re[r].pattern, edit_rule[r].pattern, REG_EXTENDED) != 0
            || (edit_rule[r].unless && regcomp(&re[r].unless, edit_rule[r].unless, REG_EXTENDED | REG_NOSUB) != 0))
            return false;
    return true;
}

static inline void edit_rules_close(EditRegex *re)
{
    for (int r = 0; r < EDIT_RULES; r++) {
        regfree(&re[r].pattern);
        if (edit_rule[r].unless)
            regfree(&re[r].unless);
    }
}

// `factor`: of what is added to numbers.
static inline const char *edit_expand(Arena *arena, const char *becomes, const char *line, const regmatch_t *group, long factor)
{
    Text t = text_make(arena);
    for (const char *c = becomes; *c; c++) {
        if (*c != '$') {
            text_char(&t, *c);
            continue;
        }
        const bool is_sum = c[1] == '(';
        const regmatch_t *g = &group[c[is_sum ? 2 : 1] - '0'];
        const char *text = g->rm_so < 0 ? "" : line + g->rm_so;
        const int length = g->rm_so < 0 ? 0 : (int)(g->rm_eo - g->rm_so);
        if (is_sum) {
            text_printf(&t, "%ld", (length ? strtol(text, NULL, 10) : 0) + strtol(c + 4, NULL, 10) * factor);
            c = strchr(c, ')');
        } else {
            text_printf(&t, "%.*s", length, text);
            c++;
        }
    }
    return text_str(&t);
}

// All sites of a text. Comments and what stands before `begin` are left alone.
static inline EditSites edit_find(Arena *arena, const EditRegex *re, EditLevel level, const char *text, size_t begin)
{
    EditSites s = {0};
    int number = 1;
    for (size_t at = 0; text[at]; number++) {
        const size_t length = strcspn(text + at, "\n");
        const char *line = arena_strndup(arena, text + at, length);
        const bool is_comment = strncmp(line + strspn(line, " \t"), "//", 2) == 0;
        for (int r = 0; r < EDIT_RULES && at >= begin && !is_comment; r++) {
            regmatch_t group[EDIT_GROUPS];
            if (edit_rule[r].level != level || (edit_rule[r].unless && regexec(&re[r].unless, line, 0, NULL, 0) == 0))
                continue;
            for (size_t from = 0; from < length && regexec(&re[r].pattern, line + from, EDIT_GROUPS, group, from ? REG_NOTBOL : 0) == 0;
                 from += (size_t)group[0].rm_eo) {
                const EditSite site = {r, at + from + (size_t)group[0].rm_so, (size_t)(group[0].rm_eo - group[0].rm_so),
                                       edit_expand(arena, edit_rule[r].becomes, line + from, group, 1),
                                       strstr(edit_rule[r].becomes, "$(") ? edit_expand(arena, edit_rule[r].becomes, line + from, group, FAR) : NULL,
                                       number};
                if (strlen(site.becomes) == site.length && !strncmp(site.becomes, text + site.at, site.length))
                    continue;               // x - x
                s.site = arena_grow(arena, s.site, s.n, &s.capacity, sizeof *s.site);
                s.site[s.n++] = site;
            }
        }
        at += length + (text[at + length] == '\n');
    }
    return s;
}

static inline const char *edit_apply(Arena *arena, const char *text, size_t at, size_t length, const char *becomes)
{
    return arena_printf(arena, "%.*s%s%s", (int)at, text, becomes, text + at + length);
}

#endif
