/*
 * Elementary functions on vectors. Polynomials are minimax fits of this project (Lawson iteration in float64); NaN in gives
 * NaN out. Relative errors measured over the range: exp 2.0e-7, tanh 2e-7, the normal distribution 5e-7.
 */
#ifndef MG_VMATH_H
#define MG_VMATH_H

#include "simd.h"

/* 2^r, |r| <= 1/2: 1 + r P(r), relative error of the fit 2e-9. */
INLINE vf v_exp2_fraction(vf r) {
  vf p = v_set(0x1.41fbbap-13f);
  p = v_fma(p, r, v_set(0x1.5f3e54p-10f));
  p = v_fma(p, r, v_set(0x1.3b2d4cp-7f));
  p = v_fma(p, r, v_set(0x1.c6aee8p-5f));
  p = v_fma(p, r, v_set(0x1.ebfbdcp-3f));
  p = v_fma(p, r, v_set(0x1.62e430p-1f));
  return v_fma(p, r, v_set(1.0f));
}

/* 2^x for x <= 0 or NaN. */
INLINE vf v_exp2_negative(vf x) {
  x = v_max(v_set(-160.0f), x);
  vf n = v_round(x);
  return v_ldexp(v_exp2_fraction(x - n), n);
}

/* e^x: x = n ln 2 + s with ln 2 in two parts, 2^(s / ln 2) from the polynomial. */
INLINE vf v_exp(vf x) {
  x = v_min(v_set(100.0f), v_max(v_set(-110.0f), x));
  vf n = v_round(x * v_set(0x1.715476p+0f));
  vf s = v_fma(n, v_set(-0x1.62e400p-1f), x);
  s = v_fma(n, v_set(-0x1.7f7d1cp-20f), s);
  return v_ldexp(v_exp2_fraction(s * v_set(0x1.715476p+0f)), n);
}

/* Odd polynomial below 0.7 (fit 1.5e-8), else 1 - 2 / (e^2|x| + 1). */
INLINE vf v_tanh(vf x) {
  vf a = v_abs(x), z = x * x;
  vf p = v_set(-0.0051386654f);
  p = v_fma(p, z, v_set(0.020091975f));
  p = v_fma(p, z, v_set(-0.053558864f));
  p = v_fma(p, z, v_set(0.13329111f));
  p = v_fma(p, z, v_set(-0.3333319f));
  vf small = v_fma(p * z, x, x);
  vf large = v_set(1.0f) - v_set(2.0f) / (v_exp(a + a) + v_set(1.0f));
  return v_select(v_less(a, v_set(0.7f)), small, v_sign_of(large, x));
}

/* Standard normal distribution function, through erfc(z) = e^(-z²) t Q(t), t = 1 / (1 + 0.35 z), fit 8e-9 for 0 <= z <= 11. */
INLINE vf v_normal_cdf(vf x) {
  vf z = v_min(v_set(11.0f), v_abs(x) * v_set(0.70710678f));
  vf t = v_set(1.0f) / v_fma(z, v_set(0.35f), v_set(1.0f));
  vf q = v_set(0.03966808f);
  q = v_fma(q, t, v_set(-0.16598685f));
  q = v_fma(q, t, v_set(0.19852887f));
  q = v_fma(q, t, v_set(-0.051173404f));
  q = v_fma(q, t, v_set(0.10720211f));
  q = v_fma(q, t, v_set(0.13480374f));
  q = v_fma(q, t, v_set(0.15523008f));
  q = v_fma(q, t, v_set(0.18699725f));
  q = v_fma(q, t, v_set(0.19725254f));
  q = v_fma(q, t, v_set(0.1974776f));
  /* z² = x²/2 with its rounding error, which the exponential would magnify. */
  vf h = x * v_set(0.5f), zz = h * x, low = v_fma(h, x, v_zero() - zz);
  vf e = v_exp(v_zero() - zz);
  vf tail = v_set(0.5f) * v_fma(v_zero() - e, low, e) * t * q;
  return v_select(v_less(x, v_zero()), tail, v_set(1.0f) - tail);
}

/* x / (1 + e^-x) */
INLINE vf v_silu(vf x) { return x / (v_set(1.0f) + v_exp(v_zero() - x)); }

INLINE vf v_gelu(vf x) { return x * v_normal_cdf(x); }

/* x (1 + tanh u) / 2 = x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x³) */
INLINE vf v_gelu_tanh(vf x) {
  vf u2 = v_set(1.5957691f) * v_fma(v_set(0.044715f) * x * x, x, x);
  return x / (v_set(1.0f) + v_exp(v_zero() - u2));
}

#endif
