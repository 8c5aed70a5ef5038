#include "simd.h"

/*
 * cos and sin of position * freqs[t]: the angle as a float64 product, reduced by multiples of pi/2 in three parts of which the
 * first two have 33 bits (exact products below 2^20 quarter turns), then minimax polynomials on [-pi/4, pi/4] (fit 5e-15).
 */
static void turns(double position, const float *freqs, int64_t n, float *restrict cosine, float *restrict sine) {
  const double limit = 1e6, magic = 0x1.8p52;
  bool far = false;
  for (int64_t t = 0; t < n; t++) {
    double angle = position * (double)freqs[t];
    far |= !(fabs(angle) < limit);
    double shifted = angle * 0x1.45f306dc9c883p-1 + magic, quarters = shifted - magic;
    double r = ((angle - quarters * 0x1.921fb544p+0) - quarters * 0x1.0b4611a6p-34) - quarters * 0x1.3198a2e037073p-69;
    double z = r * r;
    double s =
        r +
        r * z *
            (-0.16666666666630292 +
             z * (0.00833333332506745 + z * (-0.000198412637232609 + z * (2.755533857495019e-06 + z * -2.4760379987246235e-08))));
    double c = 1.0 - 0.5 * z +
               z * z *
                   (0.041666666666599156 +
                    z * (-0.0013888888877968144 +
                         z * (2.4801580864324066e-05 + z * (-2.755555116762217e-07 + z * 2.0646878204102816e-09))));
    int64_t quadrant; /* in the low bits of the shifted number */
    memcpy(&quadrant, &shifted, sizeof quadrant);
    double cos_value = quadrant & 1 ? s : c, sin_value = quadrant & 1 ? c : s;
    cosine[t] = (float)((quadrant + 1) & 2 ? -cos_value : cos_value);
    sine[t] = (float)(quadrant & 2 ? -sin_value : sin_value);
  }
  if (!far) return;
  for (int64_t t = 0; t < n; t++) {
    double angle = position * (double)freqs[t];
    if (fabs(angle) < limit) continue;
    cosine[t] = (float)cos(angle);
    sine[t] = (float)sin(angle);
  }
}

static void rotate(float *restrict low, float *restrict high, const float *restrict cosine, const float *restrict sine,
                   int64_t pairs) {
  for (int64_t t = 0; t < pairs; t++) {
    float a = low[t], b = high[t];
    low[t] = a * cosine[t] - b * sine[t];
    high[t] = b * cosine[t] + a * sine[t];
  }
}

void ISA(rope)(const void *args, int64_t begin, int64_t end, void *scratch) {
  const mg_rope_args *a = args;
  float *cosine = scratch, *sine = cosine + a->freq_rows * a->pairs;
  int64_t heads_per_row = a->heads / a->freq_rows;
  for (int64_t i = begin; i < end; i++) {
    float *x = a->x + i * a->x_stride;
    for (int64_t f = 0; f < a->freq_rows; f++) {
      turns(a->positions[i], a->freqs + f * a->freq_stride, a->pairs, cosine + f * a->pairs, sine + f * a->pairs);
    }
    for (int64_t j = 0; j < a->heads; j++) {
      int64_t f = j / heads_per_row;
      rotate(x + j * a->dim, x + j * a->dim + a->pairs, cosine + f * a->pairs, sine + f * a->pairs, a->pairs);
    }
  }
}
