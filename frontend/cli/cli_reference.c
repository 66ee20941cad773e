// mixc help ops, passes, diagnostics, knobs: pages of docs/reference, out of the tables that the compiler works with.
#include "cli.h"

#include "explain.h"
#include "op_docs.h"
#include "pass.h"

#include <string.h>

static void page_begin(const char *title, const char *word)
{
    printf("# %s\n\n<!-- written by `mixc help %s`; tests/cli/test_reference.sh compares, and rewrites with MIXC_UPDATE=1 -->\n\n", title, word);
}

static void print_attributes(const OpRow *row)
{
    static const char *const kind[] = {
        [ATTR_INT] = "int", [ATTR_FLOAT] = "float", [ATTR_AXIS] = "axis", [ATTR_AXES] = "axes", [ATTR_ACT] = "function",
        [ATTR_RED] = "sum, max or min", [ATTR_DTYPE] = "element type", [ATTR_NAME] = "name",
    };
    for (size_t i = 0; i < row->n_attr; i++)
        printf("%s%s: %s", i ? "; " : "", row->attr[i].name, kind[row->attr[i].kind]);
}

static void print_op(Op op)
{
    static const char *const flags[] = {"declared", "pointwise", "view", "commutes", "host", "routing", "alone"};
    const OpRow *row = &op_row[op];
    const OpDoc *doc = &op_doc[op];
    const OpRules *rules = &op_rules[op];
    printf("| `%s%s%s` | ", row->text, doc->operands && doc->operands[0] ? " " : "", doc->operands ? doc->operands : "");
    print_attributes(row);
    printf(" | %s | %s | %s | %s | ", doc->meaning ? doc->meaning : "", rules->shape, rules->grad, rules->lower);
    const char *before = "";
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (row->flags >> i & 1) {
            printf("%s%s", before, flags[i]);
            before = ", ";
        }
    printf(" |\n");
}

static void print_group(const char *title)
{
    printf("\n### %s\n\n| op | attributes | what it computes | shape | gradient | kernel | flags |\n|---|---|---|---|---|---|---|\n", title);
}

static void page_ops(void)
{
    page_begin("Ops of the IR", "ops");
    printf("How graphs are written and read: [the IR](../ir.md). Axes are matched by name. *Shape*, *gradient* and *kernel* name the op's rules\n"
           "(`ir/shape_rules.c`, `passes/grad_rules*.c`, `codegen/`); `none`: there is no gradient. Flags:\n\n"
           "- **declared**: the type is written, not inferred\n"
           "- **pointwise**: an element of the result needs only the same element of the operands\n"
           "- **view**: each element is an element of the operand, or zero\n"
           "- **commutes**: the operands may be swapped\n"
           "- **routing**: always stored, by a kernel of its own in which one thread works in order\n"
           "- **alone**: always stored, by a kernel of its own\n"
           "- **host**: used by initialisers only, evaluated once, never lowered\n\n## Ops\n");
#define OP_GROUP(title) print_group(title);
#define OP_DOC(id, operands, meaning) print_op(OP_##id);
#include "op_docs.def"
#undef OP_GROUP
#undef OP_DOC
    printf("\n## Functions\n\n`map {f}` applies one of these to each element; `slope {f}` is the derivative, written in the argument x or in the value y,\n"
           "whichever is cheaper to keep.\n\n| function | value | derivative | written in |\n|---|---|---|---|\n");
    for (size_t i = 0; i < ACT_COUNT; i++)
        printf("| `%s` | `%s` | `%s` | %s |\n", act_text[i], act_doc[i].value, act_doc[i].derivative, act_slope_uses_value[i] ? "y" : "x");
    printf("\n## Element types\n\n| type | bytes | in C | in safetensors |\n|---|---|---|---|\n");
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        printf("| `%s` | %zu | `%s` | %s |\n", dtype_row[i].text, dtype_row[i].bytes, dtype_row[i].c, dtype_row[i].safetensors);
}

static void page_passes(void)
{
    page_begin("Passes", "passes");
    printf("In this order. What each does and why: [passes](../passes.md). `mixc dump FILE --after PASS -o DIR` prints a model after one,\n"
           "`mixc opt --passes A,B IN.ir -o OUT.ir` runs some on a text.\n\n| # | pass | what it does |\n|---|---|---|\n");
    for (size_t i = 0; i < pass_count; i++)
        printf("| %zu | `%s` | %s |\n", i + 1, pass_table[i].name, pass_table[i].summary);
    printf("\n`dump` also knows `build`, the graph before the first pass, `codegen`, the program after the last, and `all`.\n");
}

// Indented code as a block; headings and paragraphs as they are.
static void page_diagnostics(void)
{
    page_begin("Diagnostics", "diagnostics");
    printf("Every code that a message about a model can carry, as `mixc explain CODE` explains it. E is an error, W a warning.\n");
    for (const Explanation *e = explain_table(); e->code; e++)
        printf("\n## %s\n\n**%s**\n\n%s\n", e->code, e->title, e->page);
}

static void page_knobs(void)
{
    page_begin("Knobs of schedules", "knobs");
    printf("A schedule is a choice of these numbers; what is left out is the cost model's ([tuning](../tuning.md)). `mixc tune FILE --kernel KERNEL\n"
           "--try \"tile_rows=8 pack=2; ..\"` times some of your own. Any values compute the same numbers up to the order of sums: a kernel family\n"
           "uses the knobs that it has, and brings them into range.\n\n| knob | least | what |\n|---|---|---|\n");
#define KNOB(id, text, least, what) printf("| `%s` | %d | %s |\n", text, least, what);
#include "knobs.def"
#undef KNOB
}

bool cli_print_reference(const char *word)
{
    static const struct { const char *word; void (*print)(void); } page[] = {
        {"ops", page_ops}, {"passes", page_passes}, {"diagnostics", page_diagnostics}, {"knobs", page_knobs},
    };
    for (size_t i = 0; i < sizeof page / sizeof *page; i++)
        if (!strcmp(page[i].word, word)) {
            page[i].print();
            return true;
        }
    return false;
}
