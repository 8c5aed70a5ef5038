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

/*
 * The value and, in *slope, the derivative. With s = 1 / (1 + e) the logistic function, 1 - s is taken as e s, which does not
 * cancel; the bounds keep e and its products finite where s is 0 or 1.
 */
INLINE vf apply_with_slope(int32_t act, vf x, vf *slope) {
  vf one = v_set(1.0f), s, t, e;
  switch (act) {
  case MG_SILU:
    t = v_max(v_set(-80.0f), x);
    e = v_exp(v_zero() - t);
    s = one / (one + e);
    *slope = s * v_fma(t * e, s, one);
    return t * s;
  case MG_GELU:
    s = v_normal_cdf(x);
    *slope = v_fma(x * v_set(0.39894228f), v_exp(x * x * v_set(-0.5f)), s);
    return x * s;
  case MG_GELU_TANH: /* x s(2u) */
    t = v_min(v_set(30.0f), v_max(v_set(-30.0f), x));
    e = v_exp(v_min(v_set(80.0f), v_set(-1.5957691f) * v_fma(v_set(0.044715f) * t * t, t, t)));
    s = one / (one + e);
    *slope = v_fma(t * s * (e * s), v_set(1.5957691f) * v_fma(v_set(0.134145f) * t, t, one), s);
    return v_max(v_set(-30.0f), x) * s;
  case MG_RELU:
    *slope = v_select(v_less(v_zero(), x), one, v_select(v_equal(x, x), v_zero(), x));
    return v_max(v_zero(), x);
  default:
    *slope = one;
    return x;
  }
}

INLINE void run_backward(const mg_act_backward_args *a, int64_t begin, int64_t end, int32_t act) {
  for (int64_t r = begin; r < end; r++) {
    const float *gate = a->gate + r * a->gate_stride, *dy = a->dy + r * a->dy_stride;
    const float *up = a->up ? a->up + r * a->up_stride : NULL;
    float *dgate = a->dgate + r * a->dgate_stride, *dup = up ? a->dup + r * a->dup_stride : NULL;
    int64_t i = 0;
    for (; i + W <= a->cols; i += W) {
      vf slope, d = v_load(dy + i), v = apply_with_slope(act, v_load(gate + i), &slope);
      v_store(dgate + i, up ? slope * d * v_load(up + i) : slope * d);
      if (up) v_store(dup + i, v * d);
    }
    int64_t rest = a->cols - i;
    if (rest > 0) {
      vf slope, d = v_load_n(dy + i, rest), v = apply_with_slope(act, v_load_n(gate + i, rest), &slope);
      v_store_n(dgate + i, up ? slope * d * v_load_n(up + i, rest) : slope * d, rest);
      if (up) v_store_n(dup + i, v * d, rest);
    }
  }
}

void ISA(activation_backward)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_act_backward_args *a = args;
  switch (a->act) {
  case MG_SILU:
    run_backward(a, begin, end, MG_SILU);
    return;
  case MG_GELU:
    run_backward(a, begin, end, MG_GELU);
    return;
  case MG_GELU_TANH:
    run_backward(a, begin, end, MG_GELU_TANH);
    return;
  case MG_RELU:
    run_backward(a, begin, end, MG_RELU);
    return;
  default:
    run_backward(a, begin, end, MG_IDENTITY);
  }
}
