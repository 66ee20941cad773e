// Classes of axes, affine views and epilogue spaces of products (product.h).
#include "product.h"

#include <assert.h>
#include <string.h>

static void group_add(const Graph *g, AxisGroup *group, AxisId axis)
{
    int64_t size;
    group->axis[group->n++] = axis;
    if (__builtin_mul_overflow(group->size, graph_size(g, axis), &size))
        size = INT64_MAX;
    group->size = size;
}

Product product_of(const Graph *g, ValueId contract)
{
    const Node *n = &g->node[contract];
    assert(n->op == OP_CONTRACT);
    Product p = {.value = contract, .operand = {n->in[0], n->in[1]}};
    const Type *a = &g->node[n->in[0]].type, *b = &g->node[n->in[1]].type;
    for (int i = n->type.n_axes - 1; i >= 0; i--) {
        const AxisId axis = n->type.axis[i];
        if (graph_size(g, axis) == 1)
            continue;
        if (!type_has(b, axis)) {
            p.operand[0] = n->in[1];
            p.operand[1] = n->in[0];
            a = &g->node[p.operand[0]].type;
            b = &g->node[p.operand[1]].type;
        }
        break;
    }
    for (int c = 0; c < CLASS_COUNT; c++)
        p.group[c].size = 1;
    for (int i = 0; i < n->type.n_axes; i++) {
        const AxisId axis = n->type.axis[i];
        const bool in_a = type_has(a, axis), in_b = type_has(b, axis);
        group_add(g, &p.group[in_a && in_b ? CLASS_BATCH : in_a ? CLASS_ROW : CLASS_COL], axis);
    }
    for (int i = 0; i < b->n_axes; i++)
        if (!type_has(&n->type, b->axis[i]))
            group_add(g, &p.group[CLASS_SUM], b->axis[i]);
    return p;
}

double product_flops(const Product *p)
{
    double n = 1;
    for (int c = 0; c < CLASS_COUNT; c++)
        n *= (double)p->group[c].size;
    return n;
}

bool product_is_worth(const Graph *g, const Product *p)
{
    enum { MIN_FLOPS = 16384, MIN_ROWS = 4, MIN_COLS = 8, MIN_SUM = 4 };
    return g->node[p->value].type.dtype != DTYPE_I32 && product_flops(p) >= MIN_FLOPS &&
           p->group[CLASS_ROW].size >= MIN_ROWS && p->group[CLASS_COL].size >= MIN_COLS && p->group[CLASS_SUM].size >= MIN_SUM;
}

bool value_is_stored(const Graph *g, ValueId v)
{
    const Node *n = &g->node[v];
    return n->kernel != 0 || n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE;
}

// ---------------------------------------------------------------------------------------------------------------
// Affine views

static bool affine_root(const Graph *g, ValueId v, Affine *out)
{
    const Type *type = &g->node[v].type;
    int64_t stride = 1;
    *out = (Affine){.root = v};
    for (int i = type->n_axes - 1; i >= 0; i--) {
        out->stride[i] = stride;
        stride *= graph_size(g, type->axis[i]);
    }
    return true;
}

static int64_t stride_of(const Type *type, const Affine *in, AxisId axis)
{
    const int at = type_find(type, axis);
    return at < 0 ? 0 : in->stride[at];
}

// The stride of the merged axis; false when the factors do not follow each other.
static bool merged_stride(const Graph *g, const Type *from, const Affine *in, const Attr *axes, int64_t *out)
{
    int64_t stride = 0, expected = 0;
    bool any = false;
    for (int i = axes->axes.n - 1; i >= 0; i--) {
        const AxisId axis = axes->axes.id[i];
        const int64_t size = graph_size(g, axis), s = stride_of(from, in, axis);
        if (size == 1)
            continue;
        if (any && s != expected)
            return false;
        if (!any)
            stride = s;
        any = true;
        expected = s * size;
    }
    *out = stride;
    return true;
}

static bool split_stride(const Graph *g, const Attr *to, AxisId axis, int64_t stride, int64_t *out)
{
    for (int i = to->axes.n - 1; i >= 0; i--) {
        if (to->axes.id[i] == axis) {
            *out = stride;
            return true;
        }
        stride *= graph_size(g, to->axes.id[i]);
    }
    return false;
}

static bool affine_step(const Graph *g, const Node *n, const Affine *in, Affine *out)
{
    const Type *from = &g->node[n->in[0]].type;
    *out = (Affine){.root = in->root, .offset = in->offset};
    if (n->op == OP_AT || n->op == OP_SLICE)
        out->offset += n->attr[1].i * stride_of(from, in, n->attr[0].axis);
    if (n->op == OP_REVERSE)
        out->offset += (graph_size(g, n->attr[0].axis) - 1) * stride_of(from, in, n->attr[0].axis);
    for (int i = 0; i < n->type.n_axes; i++) {
        const AxisId axis = n->type.axis[i];
        int64_t stride = stride_of(from, in, axis);
        switch ((int)n->op) {
        case OP_STOP: case OP_CAST: case OP_EXPAND: case OP_AT:
            break;
        case OP_RENAME:
            for (int k = 0; k < n->attr[1].axes.n; k++)
                if (n->attr[1].axes.id[k] == axis)
                    stride = stride_of(from, in, n->attr[0].axes.id[k]);
            break;
        case OP_SPLIT:
            split_stride(g, &n->attr[1], axis, stride_of(from, in, n->attr[0].axis), &stride);
            break;
        case OP_MERGE:
            if (axis == n->attr[1].axis && !merged_stride(g, from, in, &n->attr[0], &stride))
                return false;
            break;
        case OP_SLICE:
            if (axis == n->attr[2].axis)
                stride = stride_of(from, in, n->attr[0].axis);
            break;
        case OP_REVERSE:
            if (axis == n->attr[0].axis)
                stride = -stride;
            break;
        default:
            return false;
        }
        out->stride[i] = stride;
    }
    return true;
}

static bool is_rounding(const Graph *g, const Node *n)
{
    return n->op == OP_CAST && n->type.dtype == DTYPE_BF16 && g->node[n->in[0]].type.dtype != DTYPE_I32;
}

static bool find_affine(const Graph *g, ValueId v, bool rounded, Affine *out_affine)
{
    ValueId chain[64];
    size_t n = 0;
    while (!value_is_stored(g, v)) {
        const Node *node = &g->node[v];
        const bool passes = (op_row[node->op].flags & OP_FLAG_VIEW) || node->op == OP_STOP || (rounded && is_rounding(g, node));
        if (n == 64 || !passes)
            return false;
        chain[n++] = v;
        v = node->in[0];
    }
    Affine affine, next;
    affine_root(g, v, &affine);
    while (n > 0) {
        if (!affine_step(g, &g->node[chain[--n]], &affine, &next))
            return false;
        affine = next;
    }
    *out_affine = affine;
    return true;
}

bool value_affine(const Graph *g, ValueId v, Affine *out_affine)
{
    return find_affine(g, v, false, out_affine);
}

bool value_affine_rounded(const Graph *g, ValueId v, Affine *out_affine)
{
    return find_affine(g, v, true, out_affine);
}

bool affine_collapse(const Graph *g, ValueId v, const Affine *affine, const AxisGroup *group, int64_t *out_stride)
{
    const Type *type = &g->node[v].type;
    int64_t stride = 1, expected = 0;
    bool any = false;
    for (int i = group->n - 1; i >= 0; i--) {
        const int64_t size = graph_size(g, group->axis[i]);
        const int64_t s = stride_of(type, affine, group->axis[i]);
        if (size == 1)
            continue;
        if (any && s != expected)
            return false;
        if (!any)
            stride = s;
        any = true;
        expected = s * size;
    }
    *out_stride = stride;
    return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Epilogue spaces

Space space_make(Arena *arena, const Graph *g, ValueId anchor)
{
    Space s = {.arena = arena, .anchor = anchor};
    const Type *type = &g->node[anchor].type;
    AtomMap map = {.value = anchor};
    for (int i = 0; i < type->n_axes; i++) {
        map.axis[i].n = 1;
        map.axis[i].atom[0] = s.n_atoms;
        s.size[s.n_atoms++] = graph_size(g, type->axis[i]);
    }
    s.map = arena_grow(arena, s.map, s.n_maps, &s.map_capacity, sizeof *s.map);
    s.map[s.n_maps++] = map;
    return s;
}

const AtomMap *space_find(const Space *s, ValueId v)
{
    size_t low = 0, high = s->n_maps;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (s->map[mid].value < v)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->n_maps && s->map[low].value == v ? &s->map[low] : NULL;
}

// Cuts atom `id` into outer * inner, everywhere: `id` keeps the outer part. False when there are too many atoms.
static bool refine(Space *s, const Graph *g, AtomAxis *also, uint8_t id, int64_t outer)
{
    if (s->n_atoms == MAX_ATOMS)
        return false;
    const uint8_t inner_id = s->n_atoms++;
    s->size[inner_id] = s->size[id] / outer;
    s->size[id] = outer;
    for (size_t m = 0; m <= s->n_maps; m++) {
        const int n = m < s->n_maps ? g->node[s->map[m].value].type.n_axes : 1;
        for (int i = 0; i < n; i++) {
            AtomAxis *axis = m < s->n_maps ? &s->map[m].axis[i] : also;
            for (int k = 0; k < axis->n; k++)
                if (axis->atom[k] == id) {
                    memmove(&axis->atom[k + 2], &axis->atom[k + 1], (size_t)(axis->n - k - 1));
                    axis->atom[k + 1] = inner_id;
                    axis->n++;
                    break;
                }
        }
    }
    return true;
}

// Takes atoms of product `size` from the front of `list`.
static bool take_front(Space *s, const Graph *g, AtomAxis *list, int64_t size, AtomAxis *out)
{
    int64_t left = size;
    *out = (AtomAxis){0};
    while (left > 1) {
        if (list->n == 0)
            return false;
        const uint8_t id = list->atom[0];
        if (left % s->size[id] != 0) {
            if (s->size[id] % left != 0 || !refine(s, g, list, id, left))
                return false;
        }
        left /= s->size[id];
        out->atom[out->n++] = id;
        memmove(&list->atom[0], &list->atom[1], (size_t)(--list->n));
    }
    return true;
}

static const AtomAxis *axis_of(const Graph *g, const AtomMap *map, AxisId axis)
{
    const int at = type_find(&g->node[map->value].type, axis);
    return at < 0 ? NULL : &map->axis[at];
}

static bool add_view(Space *s, const Graph *g, ValueId v, AtomMap *out)
{
    const Node *n = &g->node[v];
    const AtomMap *from = space_find(s, n->in[0]);
    AtomAxis rest = {0};
    if (n->op == OP_SPLIT) {
        rest = *axis_of(g, from, n->attr[0].axis);
        for (int k = 0; k < n->attr[1].axes.n; k++) {
            const int at = type_find(&n->type, n->attr[1].axes.id[k]);
            if (!take_front(s, g, &rest, graph_size(g, n->attr[1].axes.id[k]), &out->axis[at]))
                return false;
            from = space_find(s, n->in[0]);
        }
    }
    for (int i = 0; i < n->type.n_axes; i++) {
        AxisId axis = n->type.axis[i];
        if (n->op == OP_RENAME)
            for (int k = 0; k < n->attr[1].axes.n; k++)
                if (n->attr[1].axes.id[k] == n->type.axis[i])
                    axis = n->attr[0].axes.id[k];
        const AtomAxis *atoms = axis_of(g, from, axis);
        if (n->op == OP_MERGE && axis == n->attr[1].axis) {
            AtomAxis *to = &out->axis[i];
            for (int k = 0; k < n->attr[0].axes.n; k++) {
                const AtomAxis *part = axis_of(g, from, n->attr[0].axes.id[k]);
                memcpy(&to->atom[to->n], part->atom, part->n);
                to->n = (uint8_t)(to->n + part->n);
            }
        } else if (atoms != NULL) {
            out->axis[i] = *atoms;
        }
    }
    return true;
}

static bool same_atoms(const Space *s, const AtomAxis *a, const AtomAxis *b)
{
    int i = 0, k = 0;
    for (;;) {
        while (i < a->n && s->size[a->atom[i]] == 1)
            i++;
        while (k < b->n && s->size[b->atom[k]] == 1)
            k++;
        if (i == a->n || k == b->n)
            return i == a->n && k == b->n;
        if (a->atom[i++] != b->atom[k++])
            return false;
    }
}

static bool add_pointwise(Space *s, const Graph *g, ValueId v, AtomMap *out)
{
    const Node *n = &g->node[v];
    bool known[MAX_AXES] = {0};
    for (int k = 0; k < n->n_in; k++) {
        const AtomMap *from = space_find(s, n->in[k]);
        for (int i = 0; from != NULL && i < n->type.n_axes; i++) {
            const AtomAxis *atoms = axis_of(g, from, n->type.axis[i]);
            if (atoms == NULL)
                return false;
            if (known[i] && !same_atoms(s, atoms, &out->axis[i]))
                return false;
            out->axis[i] = *atoms;
            known[i] = true;
        }
    }
    for (int i = 0; i < n->type.n_axes; i++)
        if (!known[i])
            return false;
    return true;
}

bool space_add(Space *s, const Graph *g, ValueId v)
{
    const Node *n = &g->node[v];
    assert(s->map[s->n_maps - 1].value < v);
    AtomMap map = {.value = v};
    const bool one_to_one = n->op == OP_RENAME || n->op == OP_SPLIT || n->op == OP_MERGE
        || (n->op == OP_AT && graph_size(g, n->attr[0].axis) == 1);
    const Space before = *s;                // refining only cuts atoms finer, which is harmless on failure
    bool ok;
    if (one_to_one)
        ok = space_find(s, n->in[0]) != NULL && add_view(s, g, v, &map);
    else
        ok = (op_row[n->op].flags & OP_FLAG_POINTWISE) && n->n_in > 0 && add_pointwise(s, g, v, &map);
    if (!ok) {
        s->n_maps = before.n_maps;
        return false;
    }
    s->map = arena_grow(s->arena, s->map, s->n_maps, &s->map_capacity, sizeof *s->map);
    s->map[s->n_maps++] = map;
    return true;
}
