// Texts in a library, token by token: the programs `next` and `block` beside the forward one, what they are given and give, and
// which states a text has of its own. The same as engine/generate.c does where a model is loaded.
#include "library_parts.h"

#include "generate.h"

#include <string.h>

bool library_is_cache(const Buffer *b)
{
    return b->kind == BUFFER_STATE && !strncmp(b->name, CACHE_PREFIX, sizeof CACHE_PREFIX - 1);
}

const Program *library_next_program(const Library *l, Diag *diag, const char *graph, const char **out_why)
{
    Target target = *engine_target(l->job->engine);
    target.keep_bytes = 0;                  // it lies beside the forward program, and shares its memory
    const LoadOptions options = {.generate = true, .graph = graph, .no_steps = out_why, .target = &target};
    return engine_program(l->job->engine, l->arena, diag, l->job->forward, &options);
}

static const LibraryPort *find_tokens(const LibraryPart *part)
{
    for (size_t i = 0; i < part->n_inputs; i++) {
        const Buffer *b = &part->program->buffer[part->input[i].buffer];
        if (b->dtype == DTYPE_I32 && b->n_axes == 2)
            return &part->input[i];
    }
    return NULL;
}

static const LibraryPort *find_scores(const LibraryPart *part, const LibraryPort *tokens)
{
    const Buffer *t = &part->program->buffer[tokens->buffer];
    for (size_t i = 0; i < part->n_results; i++) {
        const Buffer *b = &part->program->buffer[part->result[i].buffer];
        if (b->n_axes == 3 && b->dtype != DTYPE_I32 && !strcmp(b->axis[0], t->axis[0]) && !strcmp(b->axis[1], t->axis[1]))
            return &part->result[i];
    }
    return NULL;
}

// The states that a text has of its own, each once, though several programs share them.
static void find_caches(Library *l)
{
    LibrarySteps *s = &l->steps;
    size_t most = 0;
    for (int k = 0; k < l->n_parts; k++)
        most += l->part[k].program->n_buffers;
    s->cache = arena_array(l->arena, struct LibraryCache, most + 1);
    for (int k = 0; k < l->n_parts; k++)
        for (uint32_t b = 1; b < l->part[k].program->n_buffers; b++) {
            const Buffer *buffer = &l->part[k].program->buffer[b];
            const size_t at = l->part[k].at[b];
            size_t same = 0;
            while (same < s->n_caches && s->cache[same].at != at)
                same++;
            if (library_is_cache(buffer) && same == s->n_caches)
                s->cache[s->n_caches++] = (struct LibraryCache){buffer->name, at, buffer->bytes};
        }
}

bool library_find_steps(Library *l)
{
    LibrarySteps *s = &l->steps;
    const LibraryPart *forward = &l->part[0], *next = &l->part[1];
    const LibraryPort *tokens = find_tokens(forward), *scores = tokens ? find_scores(forward, tokens) : NULL;
    if (!scores || forward->n_inputs != 1)
        return false;
    const Buffer *score = &forward->program->buffer[scores->buffer];
    s->token = *tokens;
    s->score = *scores;
    s->next_token.buffer = program_find_buffer(next->program, BUFFER_INPUT, tokens->name);
    s->next_score.buffer = program_find_buffer(next->program, BUFFER_OUTPUT, scores->name);
    s->rows = score->size[0];
    s->window = score->size[1];
    s->n_scores = score->size[2];
    s->most_steps = generate_most_steps(forward->program, next->program);
    if (!s->next_token.buffer || !s->next_score.buffer)
        return false;
    if (l->n_parts > 2) {
        const uint32_t positions = program_find_buffer(l->part[2].program, BUFFER_INPUT, BLOCK_NAME);
        s->block = &l->part[2];
        s->n_block = library_count(&l->part[2].program->buffer[positions]);
    }
    s->next = next;
    find_caches(l);
    return true;
}
