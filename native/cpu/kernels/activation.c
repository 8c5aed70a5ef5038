#include "vmath.h"

INLINE vf apply(int32_t act, vf x) {
  switch (act) {
  case MG_SILU:
    return v_silu(x);
  case MG_GELU:
    return v_gelu(x);
  case MG_GELU_TANH:
    return v_gelu_tanh(x);
  case MG_RELU:
    return v_max(v_zero(), x);
  default:
    return x;
  }
}

INLINE void run(const mg_act_args *a, int64_t begin, int64_t end, int32_t act) {
  for (int64_t r = begin; r < end; r++) {
    const float *x = a->x + r * a->x_stride, *up = a->up ? a->up + r * a->up_stride : NULL;
    float *y = a->y + r * a->y_stride;
    int64_t i = 0;
    for (; i + W <= a->cols; i += W) {
      vf v = apply(act, v_load(x + i));
      v_store(y + i, up ? v * v_load(up + i) : v);
    }
    int64_t rest = a->cols - i;
    if (rest > 0) {
      vf v = apply(act, v_load_n(x + i, rest));
      v_store_n(y + i, up ? v * v_load_n(up + i, rest) : v, rest);
    }
  }
}

void ISA(activation)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_act_args *a = args;
  switch (a->act) {
  case MG_SILU:
    run(a, begin, end, MG_SILU);
    return;
  case MG_GELU:
    run(a, begin, end, MG_GELU);
    return;
  case MG_GELU_TANH:
    run(a, begin, end, MG_GELU_TANH);
    return;
  case MG_RELU:
    run(a, begin, end, MG_RELU);
    return;
  default:
    run(a, begin, end, MG_IDENTITY);
  }
}
