#include "tile.h"

/* All kernels of one instruction set. */
#define DECLARE(name) mg_body ISA(name);
MG_KERNEL_LIST(DECLARE)
int64_t ISA(attention_scratch)(const mg_attention_args *args);
int64_t ISA(attention_backward_scratch)(const mg_attention_backward_args *args);

extern const mg_kernels ISA(kernels);
const mg_kernels ISA(kernels) = {
#define ENTRY(name) .name = ISA(name),
    MG_KERNEL_LIST(ENTRY).nr = NR,
    .attention_scratch = ISA(attention_scratch),
    .attention_backward_scratch = ISA(attention_backward_scratch),
};
