#include "kernels/kernels.h"

extern const mg_kernels mg_kernels_generic;
#if defined(__x86_64__)
extern const mg_kernels mg_kernels_avx2, mg_kernels_avx512, mg_kernels_avx512bf16;
#endif

const mg_kernels *mg_kernels_for(mg_isa isa) {
  switch (isa) {
#if defined(__x86_64__)
  case MG_ISA_AVX2:
    return &mg_kernels_avx2;
  case MG_ISA_AVX512:
    return &mg_kernels_avx512;
  case MG_ISA_AVX512BF16:
    return &mg_kernels_avx512bf16;
#endif
  default:
    return &mg_kernels_generic;
  }
}
