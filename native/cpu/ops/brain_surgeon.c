#include "check.h"

#include <math.h>

typedef struct {
  const double *p, *k; /* row of the pivot */
  double *diagonal_p, *diagonal_k, *panel;
  int64_t stride, pivot, steps, step;
  double chosen_p, chosen_k;
} eliminate_args;

/* A task is a unit: its entry of both columns of the pivot is brought up to date. */
static void eliminate(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const eliminate_args *a = args;
  int64_t block = a->steps * a->stride;
  const double *c = a->panel, *s = c + block, *kappa = s + block, *u = kappa + block;
  double *out = a->panel + a->step * a->stride, *column = out + 3 * block, *outer = out + 2 * block;
  for (int64_t j = begin; j < end; j++) column[j] = a->p[j], outer[j] = a->k[j];
  for (int64_t t = 0; t < a->step; t++) {
    int64_t row = t * a->stride;
    double ui = u[row + a->pivot], ki = kappa[row + a->pivot], si = s[row + a->pivot];
    for (int64_t j = begin; j < end; j++) {
      column[j] -= s[row + j] * ui;
      outer[j] -= s[row + j] * ki + c[row + j] * si;
    }
  }
  for (int64_t j = begin; j < end; j++) {
    double scaled = column[j] / a->chosen_p, corrected = outer[j] - scaled * a->chosen_k;
    out[j] = corrected;
    out[block + j] = scaled;
    a->diagonal_p[j] -= scaled * column[j];
    a->diagonal_k[j] -= scaled * (outer[j] + corrected);
  }
}

int32_t mg_brain_surgeon(mg_context *ctx, const mg_tensor *p, const mg_tensor *k, mg_tensor *gone, mg_tensor *panel,
                         mg_tensor *pivots, mg_tensor *costs) {
  MG_TRY(mg_check(ctx, "p", p, MG_IS_F64));
  MG_TRY(mg_check_shape(ctx, "p", p, MG_IS_F64, p->rows, p->rows));
  MG_TRY(mg_check_shape(ctx, "k", k, MG_IS_F64, p->rows, p->rows));
  MG_TRY(mg_check(ctx, "panel", panel, MG_IS_F64));
  MG_REQUIRE(ctx, panel->rows % 4 == 0, "panel has %lld rows, not four per step", (long long)panel->rows);
  MG_TRY(mg_check_shape(ctx, "panel", panel, MG_IS_F64, panel->rows, p->rows));
  int64_t n = p->rows, steps = panel->rows / 4;
  MG_TRY(mg_check_shape(ctx, "gone", gone, MG_IS_I32, 1, n));
  MG_TRY(mg_check_shape(ctx, "pivots", pivots, MG_IS_I32, 1, steps));
  MG_TRY(mg_check_shape(ctx, "costs", costs, MG_IS_F64, 1, steps));
  if (mg_empty(p) || steps == 0) return MG_OK;
  double *diagonal_p = mg_space_get(ctx, MG_SPACE_PARTIALS, 2 * n * (int64_t)sizeof *diagonal_p), *diagonal_k = diagonal_p + n;
  if (!diagonal_p) return mg_fail(ctx, MG_ENOMEM, "no memory for the diagonals of %lld units", (long long)n);
  const double *pd = p->data, *kd = k->data;
  int32_t *out = gone->data, *pivot = pivots->data;
  for (int64_t i = 0; i < n; i++) diagonal_p[i] = pd[i * p->stride + i], diagonal_k[i] = kd[i * k->stride + i];
  for (int64_t step = 0; step < steps; step++) {
    int64_t best = -1;
    double least = 0;
    for (int64_t i = 0; i < n; i++) {
      if (out[i]) continue;
      double cost = fmax(0, diagonal_k[i]) / diagonal_p[i];
      if (best < 0 || cost < least) best = i, least = cost;
    }
    MG_REQUIRE(ctx, best >= 0, "no unit is left for step %lld", (long long)step);
    out[best] = 1;
    pivot[step] = (int32_t)best;
    ((double *)costs->data)[step] = least;
    eliminate_args args = {.p = pd + best * p->stride, .k = kd + best * k->stride, .diagonal_p = diagonal_p,
                           .diagonal_k = diagonal_k, .panel = panel->data, .stride = panel->stride, .pivot = best,
                           .steps = steps, .step = step, .chosen_p = diagonal_p[best], .chosen_k = diagonal_k[best]};
    /* the pivot's own column of earlier steps is read by all tasks and written by none */
    MG_TRY(mg_run(ctx, eliminate, &args, n, 4096, 0));
  }
  return MG_OK;
}
