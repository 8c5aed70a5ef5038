/* Rows of any dtype as float32. */
#ifndef MG_QUANT_H
#define MG_QUANT_H

#include "simd.h"

/* `n` elements (whole blocks) of a GGUF block format. */
void ISA(dequantise)(int32_t dtype, const void *blocks, int64_t n, float *out);

/* Elements [begin, begin + n) of a row of any dtype but F64 and I32; begin and n are whole blocks. */
void ISA(read_f32)(int32_t dtype, const char *row, int64_t begin, int64_t n, float *out);

#endif
