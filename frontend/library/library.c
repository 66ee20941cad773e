// See library.h: what goes into a library, and making it.
#include "library_parts.h"

#include "check.h"
#include "compile.h"
#include "engine_net.h"
#include "index_range.h"
#include "place.h"
#include "replace_file.h"
#include "safetensors.h"
#include "train.h"
#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

enum { MOST_UNITS = 16 };

int64_t library_count(const Buffer *b)
{
    return (int64_t)(b->bytes / dtype_row[b->dtype].bytes);
}

bool library_name_ok(const char *name)
{
    static const char *const kept[] = {"mixc", "std", "str", "mem", "is", "to", "wcs", "pthread", "atomic"};     // str_load, ..
    if (!isalpha((unsigned char)name[0]))
        return false;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_')
            return false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!strcmp(name, kept[i]))
            return false;
    return strlen(name) <= 64;
}

// --- the programs and their memory

// Addresses to count with; nobody touches them.
static unsigned char *reserve(size_t bytes, StatusText *why)
{
    unsigned char *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base != MAP_FAILED)
        return base;
    status_fail(why, STATUS_OUT_OF_MEMORY, "a memory of %zu bytes cannot be laid out: %s", bytes, strerror(errno));
    return NULL;
}

static void note_offsets(const Library *l, LibraryPart *part, const Placement *place, const unsigned char *base)
{
    part->at = arena_array(l->arena, size_t, part->program->n_buffers + 1);
    for (uint32_t b = 1; b < part->program->n_buffers; b++)
        part->at[b] = (size_t)(place->address[b] - base);
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + 127) / 128 * 128;       // two lines: neighbours are fetched in pairs
}

// The part that is laid out as planned, with all weights: the training step, or the forward program.
static int first_part(const Library *l)
{
    return l->train ? 1 : 0;
}

// Where all buffers of all programs lie in one memory: the first part's as planned, the others' beside it.
static Status place_parts(Library *l, StatusText *why)
{
    LibraryPart *first = &l->part[first_part(l)];
    l->memory_bytes = whole_lines(first->program->arena_bytes);
    size_t most = l->memory_bytes + 128;    // roots that stay are laid out anew, each on lines of its own
    for (int k = 0; k < l->n_parts; k++) {
        for (uint32_t b = 1; b < l->part[k].program->n_buffers; b++)
            most += whole_lines(l->part[k].program->buffer[b].bytes);
        most += whole_lines(l->part[k].program->arena_bytes);
    }
    unsigned char *base = reserve(most, why);
    if (!base)
        return STATUS_OUT_OF_MEMORY;
    const Placement place = place_at(l->arena, first->program, base);
    note_offsets(l, first, &place, base);
    for (int k = 0; k < l->n_parts; k++) {
        if (&l->part[k] == first)
            continue;
        const PlacePlan plan = place_plan(l->arena, l->part[k].program, &place);
        const Placement beside = place_beside(l->arena, l->part[k].program, &plan, &place, base + l->memory_bytes);
        note_offsets(l, &l->part[k], &beside, base);
        l->memory_bytes += whole_lines(plan.bytes);
    }
    munmap(base, most);
    for (int k = 0; k < l->n_parts; k++)
        for (size_t i = 1; i < l->part[k].program->n_kernels; i++)
            if (l->part[k].program->kernel[i].scratch_bytes > l->scratch_bytes)
                l->scratch_bytes = l->part[k].program->kernel[i].scratch_bytes;
    l->scratch_bytes = whole_lines(l->scratch_bytes);
    return STATUS_OK;
}

// What the launcher writes itself.
static bool is_host_scalar(const Buffer *b)
{
    static const char *const name[] = {"lr", "step", "seed", "apply", POSITION_NAME};
    for (size_t i = 0; b->n_axes == 0 && i < sizeof name / sizeof *name; i++)
        if (!strcmp(b->name, name[i]))
            return true;
    return false;
}

// "output.logits" -> "logits", "loss.train" -> "loss_train", "T'" -> "T_"; never one that was there, in
// either case of letters, as constants are named after it.
static const char *port_id(Arena *arena, const char *name, const LibraryPort *before, size_t n)
{
    char *id = arena_strdup(arena, strncmp(name, "output.", 7) ? name : name + 7);
    for (char *c = id; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(before[i].id, id))
            return port_id(arena, arena_printf(arena, "%s_%zu", id, n), before, n);
    return id;
}

static void find_ports(const Library *l, LibraryPart *part, const Graph *main)
{
    const Program *p = part->program;
    part->input = arena_array(l->arena, LibraryPort, p->n_buffers + 1);
    part->result = arena_array(l->arena, LibraryPort, p->n_buffers + 1);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        const Buffer *buffer = &p->buffer[b];
        const bool input = buffer->kind == BUFFER_INPUT && !is_host_scalar(buffer), result = buffer->kind == BUFFER_OUTPUT;
        if (!input && !result)
            continue;
        LibraryPort *all = input ? part->input : part->result;
        size_t *n = input ? &part->n_inputs : &part->n_results;
        LibraryPort port = {.id = port_id(l->arena, buffer->name, all, *n), .name = buffer->name, .buffer = b, .limit = INT64_MAX};
        if (input && buffer->dtype == DTYPE_I32)
            port.limit = index_limit(main, buffer->name, &port.least, &port.axis);
        if (port.limit == INT64_MAX)
            port.axis = NULL;
        else if (!port.axis)
            port.axis = "of its choices";
        all[(*n)++] = port;
    }
}

// --- weights

static uint32_t find_weight(const Library *l, const Buffer *b)
{
    for (uint32_t i = 0; i < l->n_weights; i++)
        if (l->weight[i].buffer->kind == b->kind && !strcmp(l->weight[i].buffer->name, b->name))
            return i;
    return (uint32_t)l->n_weights;
}

// A state whose first value is 0 needs no value of its own: an instance begins with zeros.
static bool begins_with_zero(const Library *l, const Buffer *b)
{
    const Graph *init = module_graph(l->job->forward, "init");
    for (size_t i = 0; init && b->kind == BUFFER_STATE && i < init->n_outputs; i++) {
        if (strcmp(init->output[i].name, b->name) != 0)
            continue;
        const Node *n = &init->node[init->output[i].value];
        while (n->op == OP_EXPAND || n->op == OP_CAST)
            n = &init->node[n->in[0]];
        return n->op == OP_CONST && n->attr[0].f == 0;
    }
    return b->kind == BUFFER_STATE;
}

// Parameters and states: those of the first part, which has them all, then what others have besides.
static void find_weights(Library *l)
{
    size_t most = 1;
    for (int k = 0; k < l->n_parts; k++)
        most += l->part[k].program->n_buffers;
    l->weight = arena_array(l->arena, LibraryWeight, most);
    for (int nth = 0; nth < l->n_parts; nth++) {
        const int k = (first_part(l) + nth) % l->n_parts;
        for (uint32_t b = 1; b < l->part[k].program->n_buffers; b++) {
            const Buffer *buffer = &l->part[k].program->buffer[b];
            if ((buffer->kind != BUFFER_PARAM && buffer->kind != BUFFER_STATE) || library_is_cache(buffer))
                continue;
            const uint32_t i = find_weight(l, buffer);
            LibraryWeight *w = &l->weight[i];
            if (i == l->n_weights) {
                const char *kind = buffer->kind == BUFFER_PARAM ? "param" : "state";
                *w = (LibraryWeight){.name = arena_printf(l->arena, "%s.%s", kind, buffer->name), .buffer = buffer,
                                     .at = l->part[k].at[b], .embedded = l->embedded_bytes};
                l->embedded_bytes += (buffer->bytes + 63) / 64 * 64;
                l->n_weights++;
            }
            w->is_needed = w->is_needed || (k == 0 && !begins_with_zero(l, buffer)) || buffer->kind == BUFFER_PARAM;
        }
    }
}

static Status read_values(const Library *l, Net *net, StatusText *why)
{
    Status status = STATUS_OK;
    for (size_t i = 0; i < l->n_weights && status == STATUS_OK; i++) {
        const LibraryWeight *w = &l->weight[i];
        const Slot *slot = net_slot(net, w->buffer->kind, w->buffer->name);
        float *number = malloc((size_t)(slot ? slot->count : 0) * 4 + 1);
        status = number ? net_read(net, slot, number, why)
                        : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for `%s`", w->name);
        unsigned char *to = l->embedded + w->embedded;
        for (int64_t k = 0; status == STATUS_OK && slot->dtype == DTYPE_BF16 && k < slot->count; k++)
            ((uint16_t *)(void *)to)[k] = st_to_bf16(number[k]);
        if (status == STATUS_OK && slot->dtype != DTYPE_BF16)
            memcpy(to, number, (size_t)slot->count * 4);
        free(number);
    }
    return status;
}

// The values of a checkpoint or of the initialisers, gathered on the device that only keeps what it is given.
static Status embed_weights(Library *l, StatusText *why)
{
    const LibraryJob *job = l->job;
    const DeviceOps *null = device_find("null");
    Device *device = NULL;
    Net *net = NULL;
    Checkpoint about;
    const bool trains = job->step != NULL;
    if (!job->weights && !job->initial)
        return STATUS_OK;
    l->embedded = arena_alloc(l->arena, l->embedded_bytes + 1, 1);
    Status status = null->open(&(DeviceOptions){.threads = 0}, &device, why);
    if (status == STATUS_OK)
        status = net_make_program(l->arena, null, device, engine_target(job->engine)->threads, l->part[first_part(l)].program, NULL,
                                  &net, why);
    if (status == STATUS_OK && (job->initial || trains))
        status = net_init(net, trains ? job->step : job->forward, job->seed, why);
    if (status == STATUS_OK && job->weights)
        status = checkpoint_load(l->arena, job->weights, net, !trains, !trains, &about, why);
    if (status == STATUS_OK)
        status = read_values(l, net, why);
    net_free(net);
    if (device)
        null->close(device);
    return status;
}

// --- files

typedef struct Files {
    LibraryFile *file;
    int          n;
} Files;

static void add_file(Files *f, const char *name, const char *data, size_t n, LibraryFileKind kind)
{
    f->file[f->n++] = (LibraryFile){name, data, n, kind};
}

static void add_kernels(const Library *l, Files *f)
{
    int number = 0;
    for (int k = 0; k < l->n_parts; k++) {
        const LibraryPart *part = &l->part[k];
        int *unit_of = arena_array(l->arena, int, part->program->n_kernels + 1);
        const int most = engine_target(l->job->engine)->threads < MOST_UNITS ? engine_target(l->job->engine)->threads : MOST_UNITS;
        const int n = units_deal(part->program, false, most, l->arena, unit_of);
        for (int u = 0; u < n; u++) {
            Text text = text_make(l->arena);
            library_kernels(l, part, units_text(part->program, u, unit_of, l->arena), number == 0, &text);
            add_file(f, arena_printf(l->arena, "%s_kernels_%d.c", l->job->name, ++number), text_str(&text), text.n, LIBRARY_KERNELS);
        }
    }
    if (number == 0) {                      // a model that computes nothing: only the check
        Text text = text_make(l->arena);
        library_kernels(l, &l->part[0], "", true, &text);
        add_file(f, arena_printf(l->arena, "%s_kernels_1.c", l->job->name), text_str(&text), text.n, LIBRARY_KERNELS);
    }
}

static Status write_files(const Library *l, LibraryDone *done, StatusText *why)
{
    const LibraryJob *job = l->job;
    Files f = {.file = arena_array(l->arena, LibraryFile, (size_t)l->n_parts * MOST_UNITS + 4)};
    Text header = text_make(l->arena), text = text_make(l->arena);
    library_header(l, &header);
    library_main(l, &text);
    add_file(&f, arena_printf(l->arena, "%s.h", job->name), text_str(&header), header.n, LIBRARY_DATA);
    add_file(&f, arena_printf(l->arena, "%s.c", job->name), text_str(&text), text.n, LIBRARY_LAUNCHER);
    add_kernels(l, &f);
    if (l->embedded)
        add_file(&f, arena_printf(l->arena, "%s.weights", job->name), (const char *)l->embedded, l->embedded_bytes, LIBRARY_DATA);
    Compiler compiler = compiler_make(l->arena, NULL);
    Status status = folder_make(job->folder, why);
    done->header = arena_printf(l->arena, "%s/%s.h", job->folder, job->name);
    done->archive = arena_printf(l->arena, "%s/lib%s.a", job->folder, job->name);
    done->shared = arena_printf(l->arena, "%s/lib%s.so", job->folder, job->name);
    done->source = arena_array(l->arena, const char *, (size_t)f.n);
    if (status == STATUS_OK)
        status = compiler_library(&compiler, l->arena, f.file, f.n, job->march, done->archive, done->shared, why);
    for (int i = 0; i < f.n && status == STATUS_OK; i++) {
        if (i > 0 && !job->with_sources)
            break;
        const char *path = arena_printf(l->arena, "%s/%s", job->folder, f.file[i].name);
        status = file_replace(path, f.file[i].data, f.file[i].n, why);
        if (i > 0)
            done->source[done->n_sources++] = path;
    }
    return status;
}

static const Program *make_program(const Library *l, Diag *diag, bool train)
{
    const LibraryJob *job = l->job;
    Target target = *engine_target(job->engine);
    if (job->step && !train)
        target.keep_bytes = 0;              // it shares the memory of the step, whose weights change
    return engine_program(job->engine, l->arena, diag, train ? job->step : job->forward,
                          &(LoadOptions){.train = train, .generate = l->n_parts > 1 && !job->step, .target = &target});
}

static Status add_part(Library *l, int at, const char *prefix, const Program *p, StatusText *why)
{
    l->part[at] = (LibraryPart){.prefix = prefix, .program = p};
    return p ? program_check(p, why) : status_fail(why, STATUS_BAD_MODEL, "the model was not accepted");
}

// `next` and, where convolutions go by blocks, `block`: behind the forward program, whose place stays empty.
static Status add_steps(Library *l, Diag *diag, const char **out_no_steps, StatusText *why)
{
    const Program *next = library_next_program(l, diag, "next", out_no_steps), *block;
    const char *no_block = NULL;
    if (*out_no_steps)
        return STATUS_OK;
    Status status = add_part(l, l->n_parts++, "next_", next, why);
    if (status != STATUS_OK)
        return status;
    block = library_next_program(l, diag, "block", &no_block);
    return no_block ? STATUS_OK : add_part(l, l->n_parts++, "block_", block, why);
}

static Status add_parts(Library *l, Diag *diag, const char **out_no_steps, StatusText *why)
{
    Status status = STATUS_OK;
    l->n_parts = 1;
    if (l->job->step) {
        status = add_part(l, l->n_parts++, "train_", make_program(l, diag, true), why);
        l->train = &l->part[1];
    } else if (l->job->by_steps) {
        status = add_steps(l, diag, out_no_steps, why);
    }
    return status == STATUS_OK ? add_part(l, 0, "", make_program(l, diag, false), why) : status;
}

Status library_write(Arena *arena, Diag *diag, const LibraryJob *job, LibraryDone *out_done, StatusText *why)
{
    Library l = {.arena = arena, .job = job};
    LibraryDone done = {0};
    char *upper = arena_strdup(arena, job->name);
    for (char *c = upper; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    l.upper = upper;
    Status status = add_parts(&l, diag, &done.no_steps, why);
    if (status == STATUS_OK)
        status = place_parts(&l, why);
    if (status == STATUS_OK) {
        find_ports(&l, &l.part[0], module_graph(job->forward, "main"));
        if (l.train)
            find_ports(&l, &l.part[1], module_graph(job->step, "main"));
        else if (l.n_parts > 1 && !library_find_steps(&l))
            done.no_steps = "it has inputs beside its tokens";
        if (done.no_steps)
            l.n_parts = 1;
        find_weights(&l);
        status = embed_weights(&l, why);
    }
    done.memory_bytes = l.memory_bytes;
    done.n_weights = l.n_weights;
    done.has_texts = l.steps.next != NULL;
    if (status == STATUS_OK)
        status = write_files(&l, &done, why);
    if (status == STATUS_OK)
        *out_done = done;
    return status;
}
