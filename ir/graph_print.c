// Graph -> text, driven by the op table. The text is canonical: equal graphs give equal bytes. See docs/ir.md.
#include "graph.h"
#include "scan.h"

#include <string.h>

enum { LINE_WIDTH = 110 };

// Starts a new `axis` or `kernel` line when the item would pass the width.
static void list_item(Text *out, const char *word, const char *item, size_t *column)
{
    size_t n = strlen(item);
    if (*column == 0 || *column + n + 2 > LINE_WIDTH) {
        text_printf(out, "%s%s ", *column ? "\n" : "", word);
        *column = strlen(word) + 1;
    } else {
        text_add(out, ", ");
        *column += 2;
    }
    text_add(out, item);
    *column += n;
}

static void print_axes(const Graph *g, Text *out)
{
    size_t column = 0;
    for (size_t i = 1; i < g->n_axes; i++) {
        const Axis *a = &g->axis[i];
        Text item = text_make(out->arena);
        text_add(&item, a->name);
        if (a->kind != AXIS_FEATURE)
            text_printf(&item, " : %s", axis_kind_text[a->kind]);
        text_printf(&item, " = %lld", (long long)a->size);
        if (a->twin_of)
            text_printf(&item, " twin %s", g->axis[a->twin_of].name);
        list_item(out, "axis", text_str(&item), &column);
    }
    if (column)
        text_char(out, '\n');
}

static void print_kernels(const Graph *g, Text *out)
{
    size_t column = 0;
    for (size_t i = 1; i < g->n_kernels; i++) {
        char item[64];
        snprintf(item, sizeof item, "k%zu : %s", i, kernel_family_text[g->kernel[i]]);
        list_item(out, "kernel", item, &column);
    }
    if (column)
        text_char(out, '\n');
}

static void print_attr(const Graph *g, const Attr *attr, Text *out)
{
    switch (attr->kind) {
    case ATTR_INT:   text_printf(out, "%lld", (long long)attr->i); break;
    case ATTR_FLOAT: text_double(out, attr->f); break;
    case ATTR_AXIS:  text_add(out, g->axis[attr->axis].name); break;
    case ATTR_AXES:
        text_char(out, '[');
        for (size_t i = 0; i < attr->axes.n; i++)
            text_printf(out, "%s%s", i ? "," : "", g->axis[attr->axes.id[i]].name);
        text_char(out, ']');
        break;
    case ATTR_ACT:   text_add(out, act_text[attr->act]); break;
    case ATTR_RED:   text_add(out, red_text[attr->red]); break;
    case ATTR_DTYPE: text_add(out, dtype_row[attr->dtype].text); break;
    case ATTR_NAME:  text_string(out, attr->name); break;
    }
}

// A leaf's name stands behind the op; all other attributes in braces.
static void print_attrs(const Graph *g, const Node *n, Text *out)
{
    const char *before = " {";
    for (size_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].kind != ATTR_NAME) {
            text_printf(out, "%s%s = ", before, op_row[n->op].attr[i].name);
            print_attr(g, &n->attr[i], out);
            before = ", ";
        }
    if (before[0] == ',')
        text_char(out, '}');
}

static void print_node(const Graph *g, ValueId id, Text *out)
{
    const Node *n = &g->node[id];
    text_printf(out, "  %%%u", id);
    if (n->hint && text_is_name(n->hint))
        text_printf(out, ".%s", n->hint);
    text_printf(out, " = %s", op_row[n->op].text);
    for (size_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].kind == ATTR_NAME) {
            text_char(out, ' ');
            print_attr(g, &n->attr[i], out);
        }
    for (size_t i = 0; i < n->n_in; i++)
        text_printf(out, "%s%%%u", i ? ", " : " ", n->in[i]);
    print_attrs(g, n, out);
    text_add(out, " : ");
    type_print(g, &n->type, out);
    if (n->kernel)
        text_printf(out, " @k%u", n->kernel);
    text_char(out, '\n');
}

void graph_print(const Graph *g, Text *out)
{
    text_printf(out, "graph @%s\n", g->name);
    print_axes(g, out);
    print_kernels(g, out);
    text_add(out, "{\n");
    for (ValueId id = 1; id < g->n_nodes; id++)
        print_node(g, id, out);
    for (size_t i = 0; i < g->n_outputs; i++) {
        text_printf(out, "  %s ", output_role_text[g->output[i].role]);
        text_string(out, g->output[i].name);
        text_printf(out, " = %%%u\n", g->output[i].value);
    }
    text_add(out, "}\n");
}
