// The text form of a module: its graphs as they print, then what else passes read of it.
//
//     graph @main
//     ...
//     module {
//       want step                                      // the training step is wanted (want next: generation; bf16: --dtype bf16)
//       train {optimizer = adam, schedule = cosine, lr = 0.001, ...}
//       param "GPT.wte" trained f32[V,D] {lr = nan, decay = nan, trust = nan}
//       recompute "GPT.l0"
//       claim @main "GPT.l0.Attn" over T {after = 0, leak = 0} [%12] to [%40]
//       layer @main "GPT.l0.Attn" %12:%40 %44           // who made which nodes
//     }
//
// A text with graphs only is a module too. The graph `init` and the sections that only a run reads are left out: no pass
// looks at them. print(parse(print(m))) == print(m) byte for byte, and a pass makes of what was read back what it makes
// of the module itself.
#ifndef MIXC_MODULE_TEXT_H
#define MIXC_MODULE_TEXT_H

#include "module.h"

typedef struct ModuleWants { bool step, next, bf16; } ModuleWants;

void    module_print(const Module *m, const ModuleWants *wants, Text *out);
// Reports in diag and returns NULL when the text is not a legal module. *out_wants is set on success.
Module *module_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file, ModuleWants *out_wants);

#endif
