// causal: leaves every graph as it is. Replaced by the pass itself.
#include "pass.h"

bool pass_causal(PassContext *ctx, const Module *in, Module *out)
{
    (void)ctx;
    for (size_t i = 0; i < in->n_graphs; i++)
        module_add_graph(out, in->graph[i]);
    return true;
}
