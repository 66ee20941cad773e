// Compiled objects on disk, by content. An entry is code that will run, so nothing in it is believed before it was
// verified, and a folder that anybody else could write to is not used at all.
//
//   entry = "MIXCACHE" | schema u32 | 0 u32 | key bytes u64 | payload bytes u64 | SHA-256 of payload | key | payload
//
// The name of an entry is the SHA-256 of its key; the key is kept whole and compared whole. Writers use a temporary
// file and a rename, so any number of processes may share a folder. Failing to store is never an error.
#ifndef MIXC_CACHE_H
#define MIXC_CACHE_H

#include "arena.h"
#include "status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Cache Cache;

typedef enum CacheFound { CACHE_MISS, CACHE_HIT, CACHE_DAMAGED } CacheFound;

typedef struct CacheEntry {
    const char *name;                       // file name
    size_t      bytes;
    int64_t     used_s;                     // seconds since 1970 when it was last stored or found
    bool        is_damaged;                 // header, sizes or digest are wrong; or not a plain file of this user
    const char *about;                      // the key up to the source: program, compiler, flags, CPU
} CacheEntry;

typedef struct CacheTotal {
    size_t n_entries, bytes, n_damaged;
} CacheTotal;

// `folder` NULL: $MIXC_CACHE_DIR, else $XDG_CACHE_HOME/mixc, else ~/.cache/mixc; "": no cache. The folder is made if
// need be. Always returns something that can be used (NULL too): with a folder that is refused, every look-up misses.
Cache      *cache_open(const char *folder);
void        cache_close(Cache *cache);
const char *cache_folder(const Cache *cache);        // NULL: none
const char *cache_refused(const Cache *cache);       // why the folder is not used; NULL: it is, or none was wanted

// `key` is text; a part that starts with the line "source" is left out of CacheEntry.about.
CacheFound  cache_load(Cache *cache, Arena *arena, const char *key, void **out_data, size_t *out_n);
bool        cache_store(Cache *cache, const char *key, const void *data, size_t n);

// For `mixc cache ls|gc|clear|why`. `verify` reads and checks everything.
typedef void CacheVisit(void *user, const CacheEntry *entry);
Status cache_list(Cache *cache, bool verify, CacheVisit *visit, void *user, CacheTotal *out_total, StatusText *why);
// Removes damaged entries, left-over temporary files, entries not used for max_age_s (0: any age) and then the
// longest unused until at most max_bytes are left.
Status cache_gc(Cache *cache, size_t max_bytes, int64_t max_age_s, CacheTotal *out_removed, StatusText *why);
Status cache_clear(Cache *cache, CacheTotal *out_removed, StatusText *why);

#endif
