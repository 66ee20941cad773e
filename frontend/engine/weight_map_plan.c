// See weight_map.h: shapes, and where each element of ours lies in theirs.
#include "weight_map.h"

#include "checked.h"

#include <string.h>

// By its name; else by the name in its layer, where a model's axes of one name are told apart as G, G.2, ..
static int find_axis(const MapAxes *axes, const char *name)
{
    int found = -1;
    size_t length = strlen(name), n = 0;
    for (size_t a = 0; a < axes->n; a++) {
        if (!strcmp(axes->name[a], name))
            return (int)a;
        if (!strncmp(axes->name[a], name, length) && axes->name[a][length] == '.') {
            found = (int)a;
            n++;
        }
    }
    return n == 1 ? found : -1;
}

// Number of elements of ours along a dimension; -1 when an axis is unknown or the product does not fit.
static int64_t merged_size(const MapDim *dim, const MapAxes *ours)
{
    int64_t n = 1;
    for (size_t k = 0; k < dim->n_axes; k++) {
        int a = find_axis(ours, dim->axis[k]);
        if (a < 0 || ours->size[a] < 0 || !checked_mul_i64(n, ours->size[a], &n))
            return -1;
    }
    return n;
}

// The line's left side and the tensor's own axes are the same set.
static bool check_left(Diag *diag, const MapLine *line, const MapAxes *ours)
{
    bool same = line->n_axes == ours->n;
    for (size_t a = 0; a < line->n_axes; a++)
        same = same && find_axis(ours, line->axis[a]) >= 0;
    if (same)
        return true;
    Text text = text_make(diag->arena);
    for (size_t a = 0; a < ours->n; a++)
        text_printf(&text, "%s%s", a ? "," : "", ours->name[a]);
    diag_error(diag, line->ours_at, "E0713", "the axes of `%s` are [%s]", line->ours, text_str(&text));
    return false;
}

// The range's meaning: `*out_skip` elements of ours come before it, and it starts at `*out_place` of theirs.
static bool resolve_range(Diag *diag, const MapLine *line, const MapDim *dim, int64_t n_ours, int64_t *out_skip,
                          int64_t *out_place)
{
    *out_skip = *out_place = 0;
    if (!dim->has_range)
        return true;
    if (dim->end - dim->begin == n_ours) {
        *out_place = dim->begin;
    } else if (dim->end <= n_ours) {
        *out_skip = dim->begin;
    } else {
        diag_error(diag, dim->at, "E0713",
                   "the range %lld..%lld fits neither inside ours, which has %lld, nor around all of it",
                   (long long)dim->begin, (long long)dim->end, (long long)n_ours);
        diag_label(diag, line->ours_at, "this tensor");
        return false;
    }
    return true;
}

bool weight_map_shape(Diag *diag, const MapLine *line, const MapAxes *ours, int64_t *out_size)
{
    if (!check_left(diag, line, ours))
        return false;
    for (size_t d = 0; d < line->n_dims; d++) {
        const MapDim *dim = &line->dim[d];
        int64_t n = merged_size(dim, ours), skip, place;
        if (n < 0) {
            diag_error(diag, dim->at, "E0713", "the size of this dimension does not fit");
            return false;
        }
        if (!resolve_range(diag, line, dim, n, &skip, &place))
            return false;
        out_size[d] = !dim->has_range ? n : skip ? dim->end - dim->begin : place ? dim->end : dim->end - dim->begin;
    }
    return true;
}

// A dimension that one element of theirs fills: the literal 1, or a range of length 1.
static bool is_unit(const MapDim *dim)
{
    return dim->n_axes == 0 ? !dim->has_range : dim->has_range && dim->end - dim->begin == 1;
}

// Their sizes, one for each dimension of the line. A tensor of fewer dimensions may lack all the unit ones.
static bool line_sizes(const MapLine *line, const int64_t *their_size, size_t n_dims, int64_t *out_size)
{
    size_t n_units = 0, at = 0;
    for (size_t d = 0; d < line->n_dims; d++)
        n_units += is_unit(&line->dim[d]);
    bool lacks = n_dims != line->n_dims;
    if (lacks && n_dims + n_units != line->n_dims)
        return false;
    for (size_t d = 0; d < line->n_dims; d++)
        out_size[d] = lacks && is_unit(&line->dim[d]) ? 1 : their_size[at++];
    return true;
}

size_t weight_map_sizes(const MapLine *line, const int64_t *their_size, size_t n_dims, const MapAxes *known,
                        MapSize *out_found, size_t most)
{
    size_t n_found = 0;
    int64_t size[MAX_AXES];
    if (!line_sizes(line, their_size, n_dims, size))
        return 0;
    for (size_t d = 0; d < line->n_dims && n_found < most; d++) {
        const MapDim *dim = &line->dim[d];
        const char *unknown = NULL;
        int64_t rest = dim->has_range ? dim->end - dim->begin : size[d];
        bool one = true;
        for (size_t k = 0; k < dim->n_axes; k++) {
            int a = find_axis(known, dim->axis[k]);
            if (a >= 0 && known->size[a] > 0) {
                one = one && rest % known->size[a] == 0;
                rest /= known->size[a];
            } else {
                one = one && !unknown;
                unknown = dim->axis[k];
            }
        }
        if (unknown && one)
            out_found[n_found++] = (MapSize){unknown, rest};
    }
    return n_found;
}

static bool shape_mismatch(Diag *diag, const MapLine *line, const MapAxes *ours, const int64_t *their_size,
                           size_t n_dims)
{
    Text text = text_make(diag->arena);
    for (size_t d = 0; d < n_dims; d++)
        text_printf(&text, "%s%lld", d ? "," : "", (long long)their_size[d]);
    diag_error(diag, line->theirs_at, "E0713", "their `%s` has the shape [%s]", line->theirs, text_str(&text));
    text = text_make(diag->arena);
    for (size_t a = 0; a < ours->n; a++)
        text_printf(&text, "%s%s=%lld", a ? ", " : "", ours->name[a], (long long)ours->size[a]);
    diag_note(diag, "ours has %s", text_str(&text));
    return false;
}

static bool plan_dim(Arena *arena, Diag *diag, const MapLine *line, const MapDim *dim, const MapAxes *ours,
                     int64_t their_size, int64_t stride, MapPlan *plan, bool *out_fits)
{
    int64_t n = merged_size(dim, ours), skip, place;
    if (!resolve_range(diag, line, dim, n, &skip, &place))
        return false;
    int64_t count = dim->has_range ? dim->end - dim->begin : n;
    bool cut = count != n;                  // theirs holds a part of ours
    *out_fits = n >= 0 && (!dim->has_range ? n == their_size : cut ? count == their_size : place + count <= their_size);
    if (!*out_fits)
        return true;
    if (cut && dim->n_axes != 1) {
        diag_error(diag, dim->at, "E0713", "a range cuts one axis, not a merge; cut the axes one by one");
        return false;
    }
    int64_t inner = stride;
    for (size_t k = dim->n_axes; k-- > 0;) {
        int a = find_axis(ours, dim->axis[k]);
        plan->place[a] = arena_array(arena, int64_t, (size_t)ours->size[a]);
        for (int64_t i = 0; i < ours->size[a]; i++) {
            bool inside = i >= skip && i - skip < count;
            plan->place[a][i] = cut && !inside ? -1 : (cut ? i - skip : i) * inner + (k == 0 ? place * stride : 0);
        }
        inner *= ours->size[a];
    }
    return true;
}

bool weight_map_plan(Arena *arena, Diag *diag, const MapLine *line, const MapAxes *ours, const int64_t *their_size,
                     size_t n_dims, MapPlan *out_plan)
{
    if (!check_left(diag, line, ours))
        return false;
    int64_t size[MAX_AXES];
    if (!line_sizes(line, their_size, n_dims, size))
        return shape_mismatch(diag, line, ours, their_size, n_dims);
    MapPlan plan = {.n_axes = ours->n, .n_ours = 1, .n_theirs = 1, .factor = line->factor};
    for (size_t a = 0; a < ours->n; a++) {
        plan.size[a] = ours->size[a];
        if (!checked_mul_i64(plan.n_ours, ours->size[a], &plan.n_ours))
            return shape_mismatch(diag, line, ours, their_size, n_dims);
    }
    for (size_t d = line->n_dims; d-- > 0;) {
        bool fits = true;
        if (!plan_dim(arena, diag, line, &line->dim[d], ours, size[d], plan.n_theirs, &plan, &fits))
            return false;
        if (!fits || !checked_mul_i64(plan.n_theirs, size[d], &plan.n_theirs))
            return shape_mismatch(diag, line, ours, their_size, n_dims);
    }
    *out_plan = plan;
    return true;
}

// Walks the elements of ours in row-major order, with the offset of each in theirs (-1: not there).
typedef struct MapWalk { int64_t i, index[MAX_AXES]; } MapWalk;

static bool walk_next(const MapPlan *plan, MapWalk *walk, int64_t *out_ours, int64_t *out_theirs)
{
    if (walk->i == plan->n_ours)
        return false;
    int64_t offset = 0;
    for (size_t a = 0; a < plan->n_axes && offset >= 0; a++) {
        int64_t place = plan->place[a][walk->index[a]];
        offset = place < 0 ? -1 : offset + place;
    }
    *out_ours = walk->i++;
    *out_theirs = offset;
    for (size_t a = plan->n_axes; a-- > 0 && ++walk->index[a] == plan->size[a];)
        walk->index[a] = 0;
    return true;
}

void map_plan_read(const MapPlan *plan, DType dtype, double factor, const void *theirs, void *ours, bool *filled)
{
    const int32_t *from_int = theirs;
    const float *from = theirs;
    int32_t *to_int = ours;
    float *to = ours;
    MapWalk walk = {0};
    for (int64_t i, j; walk_next(plan, &walk, &i, &j);) {
        if (j < 0)
            continue;
        if (dtype == DTYPE_I32)
            to_int[i] = from_int[j];
        else
            to[i] = (float)(factor * (double)from[j]);
        if (filled)
            filled[i] = true;
    }
}

void map_plan_add(const MapPlan *plan, DType dtype, double factor, const void *ours, void *theirs)
{
    const int32_t *from_int = ours;
    const float *from = ours;
    int32_t *to_int = theirs;
    float *to = theirs;
    MapWalk walk = {0};
    for (int64_t i, j; walk_next(plan, &walk, &i, &j);) {
        if (j < 0)
            continue;
        if (dtype == DTYPE_I32)
            to_int[j] += from_int[i];
        else
            to[j] += (float)(factor * (double)from[i]);
    }
}
