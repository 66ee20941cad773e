// Ranges for NVIDIA's profilers (NVTX): what a stretch of time on a thread was about. Nothing is linked and nothing needed: a tool that listens
// names its library in the environment, older toolkits have one of their own.
#ifndef MIXC_NVTX_H
#define MIXC_NVTX_H

typedef struct Nvtx {                       // NULL: nobody listens
    int (*push)(const char *text);
    int (*pop)(void);
} Nvtx;

// Looks once in a process: NVTX_INJECTION64_PATH, which a tool sets, then MIXC_NVTX or libnvToolsExt.so.1.
Nvtx nvtx_open(void);
// A range begins; up to 255 bytes of text. Nothing when nobody listens.
void nvtx_push(const Nvtx *nvtx, const char *format, ...) __attribute__((format(printf, 2, 3)));
void nvtx_pop(const Nvtx *nvtx);

#endif
