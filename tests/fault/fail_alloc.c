// Makes allocations fail: loaded before a program with LD_PRELOAD.
//
//     FAIL_ALLOC=n          the n-th allocation fails, counted from 1 (malloc, calloc, realloc, aligned_alloc, mmap of memory)
//     FAIL_ALLOC_FOREVER=1  ... and all that follow
//     FAIL_ALLOC_COUNT=f    at the end the number of allocations is written to the file f
//
// Needs glibc, whose own names of the allocator are used, so that nothing has to be looked up first.
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static atomic_long count;
static long wanted = -1;
static bool forever;

__attribute__((constructor)) static void begin(void)
{
    const char *n = getenv("FAIL_ALLOC");
    forever = getenv("FAIL_ALLOC_FOREVER") != NULL;
    atomic_store(&count, 0);
    wanted = n ? strtol(n, NULL, 10) : 0;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FAIL_ALLOC_COUNT");
    long n = atomic_load(&count);
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", n);
        fclose(f);
    }
}

static bool fails(void)
{
    if (wanted < 0)                         // before the program begins
        return false;
    long n = atomic_fetch_add(&count, 1) + 1;
    bool now = wanted > 0 && (n == wanted || (forever && n > wanted));
    if (now)
        errno = ENOMEM;
    return now;
}

void *malloc(size_t n)                  { return fails() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size)     { return fails() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n)        { return fails() ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { return fails() ? NULL : __libc_memalign(a, n); }

int posix_memalign(void **out, size_t align, size_t n)
{
    if (fails())
        return ENOMEM;
    *out = __libc_memalign(align, n);
    return *out ? 0 : ENOMEM;
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    if ((flags & MAP_ANONYMOUS) && fails())
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
}
