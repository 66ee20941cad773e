// libmixc: models written in Mix, inside another program.
//
//     MixcError error;
//     MixcModel *m = mixc_open("gpt.mix", &(MixcOptions){.mode = MIXC_TRAIN, .size = "tiny"}, &error);
//     mixc_init(m, 1, &error);
//     mixc_write(m, mixc_find(m, MIXC_INPUT, "tokens"), tokens, bytes, &error);
//     mixc_write(m, mixc_find(m, MIXC_INPUT, "targets"), targets, bytes, &error);
//     float loss;
//     mixc_step(m, &loss, &error);
//     mixc_close(m);
//
// A model is compiled for one mode, binding of sizes and device when it is opened. There is no global state: models are
// independent, and several may be used in several threads, each by one thread at a time. Nothing is printed, and nothing ends
// the process. Every function that can fail returns a status and explains itself in *error (which may be NULL).
//
// Numbers cross this border as float (also where the model keeps bf16) or int32, 4 bytes each, row-major in the order of
// the tensor's axes. Strings that are returned belong to the model.
#ifndef MIXC_H
#define MIXC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIXC_API __attribute__((visibility("default")))

typedef enum MixcStatus {                   // 0: all is well
    MIXC_OK, MIXC_BAD_MODEL, MIXC_BAD_USAGE, MIXC_NO_COMPILER, MIXC_NO_DEVICE, MIXC_OUT_OF_MEMORY, MIXC_OVER_BUDGET,
    MIXC_NUMERIC, MIXC_IO, MIXC_DAMAGED, MIXC_TOO_LARGE, MIXC_INTERNAL, MIXC_INTERRUPTED
} MixcStatus;

typedef struct MixcError {
    MixcStatus status;
    char       text[4096];                  // what is wrong, where, and what to do; diagnostics of a model as the command line shows them
} MixcError;

typedef enum MixcMode { MIXC_EVAL, MIXC_TRAIN, MIXC_GENERATE } MixcMode;
typedef enum MixcKind { MIXC_INPUT, MIXC_PARAM, MIXC_STATE, MIXC_OUTPUT } MixcKind;
typedef enum MixcType { MIXC_F32, MIXC_I32 } MixcType;

typedef struct MixcOptions {                // zeros are the defaults
    MixcMode    mode;
    const char *size;                       // a `size` section; NULL: the first one fills what is left open
    const char *entry;                      // a layer or model; NULL: the file's model
    const char *const *bindings;            // "T=64", "train.lr=1e-3", .., NULL at the end; NULL: none
    const char *device;                     // "cpu", "cuda", "sim", "eval"; NULL: cuda if usable, else cpu
    int         threads;                    // 0: as many as the machine has
    int         bf16;                       // products with parameters in bf16
    int         deterministic;              // ignore what `mixc tune` measured
    size_t      max_bytes;                  // memory budget; 0: none
} MixcOptions;

typedef struct MixcModel MixcModel;

enum { MIXC_MAX_AXES = 14 };

typedef struct MixcTensor {
    MixcKind    kind;
    const char *name;                       // "tokens"; "GPT.wte"; "output.logits", "loss.train"
    MixcType    type;
    int         n_axes;
    const char *axis[MIXC_MAX_AXES];        // names and sizes, outermost first
    int64_t     size[MIXC_MAX_AXES];
    int64_t     count;                      // elements; 4 bytes each
} MixcTensor;

// "0.1.0"; and a status in a few words.
MIXC_API const char *mixc_version(void);
MIXC_API const char *mixc_status_text(MixcStatus status);

// Parses, builds and compiles the model in a file, or in memory (`name` is for messages). NULL after an error. In mode
// MIXC_TRAIN the batch axis is train.batch unless it is bound.
MIXC_API MixcModel *mixc_open(const char *path, const MixcOptions *options, MixcError *error);
MIXC_API MixcModel *mixc_open_text(const char *name, const char *text, const MixcOptions *options, MixcError *error);
MIXC_API void       mixc_close(MixcModel *model);           // NULL is fine
MIXC_API const char *mixc_warnings(const MixcModel *model); // "" when there are none

// Tensors: 0 <= index < mixc_tensors(model). mixc_find returns -1 when there is none of that name; functions that are
// given -1 fail with BAD_USAGE.
MIXC_API int        mixc_tensors(const MixcModel *model);
MIXC_API MixcStatus mixc_tensor(const MixcModel *model, int index, MixcTensor *out, MixcError *error);
MIXC_API int        mixc_find(const MixcModel *model, MixcKind kind, const char *name);
// `bytes` must be 4*count.
MIXC_API MixcStatus mixc_write(MixcModel *model, int index, const void *data, size_t bytes, MixcError *error);
MIXC_API MixcStatus mixc_read(MixcModel *model, int index, void *data, size_t bytes, MixcError *error);

// Weights: initial values by the model's initialisers; safetensors files, as `mixc train` writes them (those of training
// models hold the optimiser's states too); from another model's, by name.
MIXC_API MixcStatus mixc_init(MixcModel *model, uint64_t seed, MixcError *error);
MIXC_API MixcStatus mixc_load(MixcModel *model, const char *path, MixcError *error);
MIXC_API MixcStatus mixc_save(const MixcModel *model, const char *path, MixcError *error);
MIXC_API MixcStatus mixc_copy_weights(const MixcModel *from, MixcModel *to, MixcError *error);

// Runs the model on what was written. A training model takes one optimiser step instead: the learning rate is its
// schedule's, *out_loss (may be NULL) the loss before the update. NUMERIC when that is not finite.
MIXC_API MixcStatus mixc_run(MixcModel *model, MixcError *error);
MIXC_API MixcStatus mixc_step(MixcModel *model, float *out_loss, MixcError *error);
MIXC_API int64_t    mixc_steps(const MixcModel *model);     // taken so far; mixc_load sets it

// Continues `prompt` by n tokens with a model of mode MIXC_GENERATE; the sampler is that of its generate section, or the likeliest
// token when temperature is 0 (negative: as the section says). The first call compiles what computes one position; from then on
// a token costs a position, not a window, where the model allows it.
MIXC_API MixcStatus mixc_generate(MixcModel *model, const int32_t *prompt, size_t n_prompt, uint32_t seed, double temperature,
                                  int32_t *out_tokens, size_t n, MixcError *error);

// Bytes of the memory plan; the generated kernels as one source file ("c" or "cuda"; NULL: no such language).
MIXC_API size_t      mixc_memory(const MixcModel *model);
MIXC_API const char *mixc_source(const MixcModel *model, const char *language);

#ifdef __cplusplus
}
#endif

#endif
