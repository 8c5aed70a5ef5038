#include "check.h"

int32_t mg_svd_batch(mg_context *ctx, const mg_tensor *a, mg_tensor *u, mg_tensor *s, mg_tensor *vt) {
  (void)a;
  (void)u;
  (void)s;
  (void)vt;
  return mg_fail(ctx, MG_EUNSUPPORTED, "the CPU library has none: use LAPACK");
}

int32_t mg_cholesky_batch(mg_context *ctx, mg_tensor *a, mg_tensor *inverse, mg_tensor *failed) {
  (void)a;
  (void)inverse;
  (void)failed;
  return mg_fail(ctx, MG_EUNSUPPORTED, "the CPU library has none: use LAPACK");
}
