// Kernels whose texts differ in names only become one: the sums over chunks of two gradients, the updates of two parameters
// with other axes but the same loops. kernel_key.c keeps most repetitions from being lowered at all; but it compares
// graphs, and different graphs can come to the same text.
//
// Texts are compared after comments are dropped and every name that a text declares is replaced by its number in order of
// appearance. All other names - helpers, types - have to be the same, so what is merged is the same function.
#include "merge_kernels.h"

#include <ctype.h>
#include <string.h>

typedef struct Word {                       // a name, number, string, comment, or one other character
    const char *begin;
    size_t      n;
    bool        is_name, is_comment;
} Word;

enum { BUCKETS = 256 };

typedef struct Names {                      // that a text declares
    Word    *word; size_t n, capacity;
    uint32_t first[BUCKETS];                // one more than an index into word; 0: none
    uint32_t *next; size_t next_capacity;   // [n] in the same bucket
} Names;

static bool is_letter(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static Word next_word(const char *s)
{
    Word w = {.begin = s, .n = 1};
    if (is_letter(*s)) {
        while (is_letter(s[w.n]))
            w.n++;
        w.is_name = !isdigit((unsigned char)*s);
    } else if (*s == '"') {
        while (s[w.n] && s[w.n] != '"')
            w.n += s[w.n] == '\\' && s[w.n + 1] ? 2 : 1;
        w.n += s[w.n] != 0;
    } else if (s[0] == '/' && s[1] == '/') {
        w.n = strcspn(s, "\n");
        w.is_comment = true;
    }
    return w;
}

static bool is_word(const Word *w, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == w->n && !memcmp(*list, w->begin, w->n))
            return true;
    return false;
}

static uint32_t bucket_of(const Word *w)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < w->n; i++)
        h = (h ^ (unsigned char)w->begin[i]) * 16777619u;
    return h % BUCKETS;
}

// One more than its number; 0: it is none.
static uint32_t find_name(const Names *names, const Word *w)
{
    uint32_t i = w->is_name ? names->first[bucket_of(w)] : 0;
    while (i && (names->word[i - 1].n != w->n || memcmp(names->word[i - 1].begin, w->begin, w->n) != 0))
        i = names->next[i - 1];
    return i;
}

static void add_name(Arena *arena, Names *names, const Word *w)
{
    uint32_t *first = &names->first[bucket_of(w)];
    names->word = arena_grow(arena, names->word, names->n, &names->capacity, sizeof *names->word);
    names->next = arena_grow(arena, names->next, names->n, &names->next_capacity, sizeof *names->next);
    names->next[names->n] = *first;
    names->word[names->n++] = *w;
    *first = (uint32_t)names->n;
}

// A name that follows a type is declared there. One that is missed is compared as it is: then two kernels stay two.
static Names declared_names(Arena *arena, const char *text)
{
    static const char *const type[] = {"float", "double", "long", "int", "short", "char", "vf", "vi", "vu", "vh", "vd", "vl", NULL};
    static const char *const between[] = {"const", "unsigned", "restrict", "__restrict__", "volatile", "*", " ", NULL};
    Names names = {0};
    bool is_after_type = false;
    for (const char *s = text; *s;) {
        const Word w = next_word(s);
        if (is_word(&w, type))
            is_after_type = true;
        else if (!is_word(&w, between)) {
            if (is_after_type && w.is_name && !find_name(&names, &w))
                add_name(arena, &names, &w);
            is_after_type = false;
        }
        s += w.n;
    }
    return names;
}

// The text without what is in a name. Names are declared before they are used, so their numbers are in order of appearance.
static void put_anonymous(Arena *arena, const char *text, const char *kernel, Text *out)
{
    const Names names = declared_names(arena, text);
    const char *const own[] = {kernel, NULL};
    for (const char *s = text; *s;) {
        const Word w = next_word(s);
        const uint32_t number = find_name(&names, &w);
        if (number)
            text_printf(out, "$%u", number);
        else if (w.is_name && is_word(&w, own))
            text_char(out, '@');
        else if (w.is_comment)
            while (out->n && out->data[out->n - 1] == ' ')
                out->n--;
        else
            text_add_n(out, w.begin, w.n);
        s += w.n;
    }
}

// All that says what a kernel does; equal for kernels that can stand for each other.
static const char *likeness(Arena *arena, const Kernel *k)
{
    Text t = text_make(arena);
    text_printf(&t, "%d %u %zu %llx %llx %lld %lld %lld\n", (int)k->family, k->n_params, k->scratch_bytes,
                (unsigned long long)k->writes, (unsigned long long)k->c_ignores, (long long)k->cuda_threads,
                (long long)k->cuda_shared_bytes, (long long)k->cuda_dynamic_bytes);
    put_anonymous(arena, k->text, k->name, &t);
    text_char(&t, '\n');
    if (k->cuda)
        put_anonymous(arena, k->cuda, k->name, &t);
    return text_str(&t);
}

// A sweep's kernel depends on more than its text, and a library's product is not in its text.
static bool is_its_own(const Kernel *k)
{
    return k->library || k->sweep;
}

void merge_kernels(Program *p, Arena *scratch)
{
    const char **like = arena_array(scratch, const char *, p->n_kernels);
    uint32_t *becomes = arena_array(scratch, uint32_t, p->n_kernels), n = 1;
    for (uint32_t k = 1; k < p->n_kernels; k++) {
        uint32_t same = 1;
        const char *now = likeness(scratch, &p->kernel[k]);
        while (same < n && (is_its_own(&p->kernel[k]) || is_its_own(&p->kernel[same]) || strcmp(like[same], now) != 0))
            same++;
        becomes[k] = same;
        if (same == n) {
            like[n] = now;
            p->kernel[n++] = p->kernel[k];
        }
    }
    p->n_kernels = n;
    for (size_t t = 0; t < p->n_launches; t++)
        p->launch[t].kernel = becomes[p->launch[t].kernel];
}
