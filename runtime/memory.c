// See memory.h.
#define _GNU_SOURCE
#include "memory.h"

#include "checked.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, PAGE = 4096 };

static bool read_number(const char *path, size_t *out)
{
    char line[64];
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(line, sizeof line, f) && line[0] >= '0' && line[0] <= '9';
    if (ok)
        *out = strtoull(line, NULL, 10);
    if (f)
        fclose(f);
    return ok;
}

// The number behind `key` in a file of lines "key number".
static size_t find_number(const char *path, const char *key, size_t otherwise)
{
    char line[128];
    size_t n = strlen(key);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0)
            otherwise = strtoull(line + n, NULL, 10);
    if (f)
        fclose(f);
    return otherwise;
}

size_t memory_available_bytes(void)
{
    size_t limit, used;
    size_t available = find_number("/proc/meminfo", "MemAvailable:", SIZE_MAX / 1024) * 1024;
    if (read_number("/sys/fs/cgroup/memory.max", &limit) && read_number("/sys/fs/cgroup/memory.current", &used)) {
        // What caches files is given back when needed.
        size_t files = find_number("/sys/fs/cgroup/memory.stat", "inactive_file ", 0) +
                       find_number("/sys/fs/cgroup/memory.stat", "active_file ", 0);
        used = used > files ? used - files : 0;
        size_t left = limit > used ? limit - used : 0;
        if (left < available)
            available = left;
    }
    return available;
}

void memory_give_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

size_t memory_resident_bytes(void)
{
    return find_number("/proc/self/status", "VmRSS:", 0) * 1024;
}

size_t memory_peak_bytes(void)
{
    return find_number("/proc/self/status", "VmHWM:", 0) * 1024;
}

static void touch_pages(void *user, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    Block *b = user;
    size_t first = (size_t)begin * HUGE_PAGE, last = (size_t)end * HUGE_PAGE;
    if (last > b->bytes)
        last = b->bytes;
#ifdef MADV_POPULATE_WRITE
    size_t n = (last - first + PAGE - 1) / PAGE * PAGE;
    if (madvise(b->data + first, n, MADV_POPULATE_WRITE) == 0)
        return;
#endif
    for (size_t i = first; i < last; i += PAGE)
        ((volatile unsigned char *)b->data)[i] = 0;
}

Status block_map(Block *out_block, size_t bytes, const char *what, bool touch, Pool *pool, StatusText *why)
{
    *out_block = (Block){0};
    if (bytes == 0)
        return STATUS_OK;
    size_t map_bytes;
    size_t available = memory_available_bytes();
    if (bytes > available)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "%s needs %.1f MiB and the machine has %.1f MiB left", what,
                           (double)bytes / 1048576, (double)available / 1048576);
    size_t slack = bytes >= HUGE_PAGE ? HUGE_PAGE : 0;
    if (!checked_align(bytes, PAGE, &map_bytes) || !checked_add(map_bytes, slack, &map_bytes))
        return status_fail(why, STATUS_OUT_OF_MEMORY, "%s needs %zu bytes", what, bytes);
    void *map = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "%s needs %.1f MiB: %s", what, (double)bytes / 1048576,
                           strerror(errno));
    uintptr_t start = (uintptr_t)map;
    if (slack)
        start = (start + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    *out_block = (Block){.data = (unsigned char *)start, .bytes = bytes, .map = map, .map_bytes = map_bytes};
    if (slack)
        madvise(out_block->data, bytes, MADV_HUGEPAGE);      // advice: no huge pages is only slower
    if (touch)
        pool_run(pool, touch_pages, out_block, (int64_t)((bytes + HUGE_PAGE - 1) / HUGE_PAGE), 1);
    return STATUS_OK;
}

void block_unmap(Block *block)
{
    if (block->map)
        munmap(block->map, block->map_bytes);
    *block = (Block){0};
}
