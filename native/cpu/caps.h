/* Which instruction sets this CPU and operating system can run. */
#ifndef MG_CAPS_H
#define MG_CAPS_H

typedef enum { MG_ISA_GENERIC = 0, MG_ISA_AVX2 = 1, MG_ISA_AVX512 = 2, MG_ISA_AVX512BF16 = 3, MG_ISA_COUNT = 4 } mg_isa;

mg_isa mg_best_isa(void);
const char *mg_isa_name(mg_isa isa);

/* Index of the name, or -1. */
int mg_isa_parse(const char *name);

/* CPUs the process may run on, at least 1. */
int mg_cpu_count(void);

#endif
