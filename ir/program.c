// Building a program. See program.h.
#include "program.h"

#include <stdio.h>
#include <string.h>

Program *program_make(Arena *arena, const char *name)
{
    Program *p = arena_new(arena, Program);
    p->arena = arena;
    p->name = arena_strdup(arena, name);
    p->prelude = p->cuda_prelude = "";
    p->buffer = arena_grow(arena, NULL, 0, &p->buffer_capacity, sizeof *p->buffer);
    p->kernel = arena_grow(arena, NULL, 0, &p->kernel_capacity, sizeof *p->kernel);
    p->launch = arena_grow(arena, NULL, 0, &p->launch_capacity, sizeof *p->launch);
    p->n_buffers = 1;                               // index 0 is "none" in each table
    p->n_kernels = 1;
    p->buffer[0].name = p->kernel[0].name = p->kernel[0].text = "";
    return p;
}

uint32_t program_add_buffer(Program *p, Buffer buffer)
{
    p->buffer = arena_grow(p->arena, p->buffer, p->n_buffers, &p->buffer_capacity, sizeof *p->buffer);
    p->buffer[p->n_buffers] = buffer;
    return (uint32_t)p->n_buffers++;
}

uint32_t program_add_kernel(Program *p, Kernel kernel)
{
    p->kernel = arena_grow(p->arena, p->kernel, p->n_kernels, &p->kernel_capacity, sizeof *p->kernel);
    p->kernel[p->n_kernels] = kernel;
    return (uint32_t)p->n_kernels++;
}

void program_add_launch(Program *p, Launch launch)
{
    p->launch = arena_grow(p->arena, p->launch, p->n_launches, &p->launch_capacity, sizeof *p->launch);
    p->launch[p->n_launches++] = launch;
}

const Launch *program_first_launch(const Program *p, size_t kernel)
{
    for (size_t i = 0; i < p->n_launches; i++)
        if (p->launch[i].kernel == kernel)
            return &p->launch[i];
    return NULL;
}

bool program_writes(const Kernel *kernel, uint32_t param)
{
    const uint32_t own = kernel->sweep ? param % kernel->sweep->n_own : param;
    return own < 64 && (kernel->writes >> own & 1);
}

const char *program_kernel_kind(const Kernel *kernel)
{
    return kernel->library ? "cublaslt" : kernel_family_text[kernel->family];
}

uint32_t program_place(const Program *p, const Launch *launch, const char **out_file)
{
    if (!p->sources || !launch->at.file || launch->at.file >= p->sources->n_files)
        return 0;
    *out_file = p->sources->file[launch->at.file].name;
    return sources_line_col(p->sources, launch->at.file, launch->at.begin).line;
}

const char *program_line(const Program *p, const Launch *launch, char *out, size_t room)
{
    const char *file = NULL;
    const uint32_t line = program_place(p, launch, &file);
    if (line)
        snprintf(out, room, "%s:%u", file, line);
    else
        snprintf(out, room, "its line is not known");
    return out;
}

uint32_t program_find_buffer(const Program *p, BufferKind kind, const char *name)
{
    for (size_t i = 1; i < p->n_buffers; i++)
        if (p->buffer[i].kind == kind && strcmp(p->buffer[i].name, name) == 0)
            return (uint32_t)i;
    return 0;
}

static const char *copy_text(Arena *arena, const char *text)
{
    return text ? arena_strdup(arena, text) : NULL;
}

static void *copy_items(Arena *arena, const void *from, size_t n, size_t size)
{
    void *to = arena_alloc(arena, n + !n, size);
    if (n)
        memcpy(to, from, n * size);
    return to;
}

static const Sweep *copy_sweep(Arena *arena, const Sweep *from)
{
    Sweep *to = copy_items(arena, from, 1, sizeof *from);
    to->count = copy_items(arena, from->count, from->n_pieces, sizeof *from->count);
    return to;
}

Program *program_copy(Arena *arena, const Program *p)
{
    Program *q = arena_new(arena, Program);
    *q = *p;
    q->arena = arena;
    q->name = copy_text(arena, p->name);
    q->prelude = copy_text(arena, p->prelude);
    q->cuda_prelude = copy_text(arena, p->cuda_prelude);
    q->buffer = copy_items(arena, p->buffer, p->n_buffers, sizeof *p->buffer);
    q->kernel = copy_items(arena, p->kernel, p->n_kernels, sizeof *p->kernel);
    q->launch = copy_items(arena, p->launch, p->n_launches, sizeof *p->launch);
    q->buffer_capacity = q->n_buffers;
    q->kernel_capacity = q->n_kernels;
    q->launch_capacity = q->n_launches;
    for (size_t b = 0; b < q->n_buffers; b++) {
        q->buffer[b].name = copy_text(arena, q->buffer[b].name);
        for (int a = 0; a < q->buffer[b].n_axes; a++)
            q->buffer[b].axis[a] = copy_text(arena, q->buffer[b].axis[a]);
    }
    for (size_t k = 0; k < q->n_kernels; k++) {
        q->kernel[k].name = copy_text(arena, q->kernel[k].name);
        q->kernel[k].text = copy_text(arena, q->kernel[k].text);
        q->kernel[k].cuda = copy_text(arena, q->kernel[k].cuda);
        if (q->kernel[k].library)
            q->kernel[k].library = copy_items(arena, q->kernel[k].library, 1, sizeof *q->kernel[k].library);
        if (q->kernel[k].sweep)
            q->kernel[k].sweep = copy_sweep(arena, q->kernel[k].sweep);
    }
    for (size_t l = 0; l < q->n_launches; l++) {
        Launch *launch = &q->launch[l];
        launch->buffer = copy_items(arena, launch->buffer, q->kernel[launch->kernel].n_params, sizeof *launch->buffer);
        launch->layer = copy_text(arena, launch->layer);
    }
    return q;
}
