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

const char *program_line(const Program *p, const Launch *launch, char *out, size_t room)
{
    if (p->sources && launch->at.file && launch->at.file < p->sources->n_files)
        snprintf(out, room, "%s:%u", p->sources->file[launch->at.file].name,
                 sources_line_col(p->sources, launch->at.file, launch->at.begin).line);
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
