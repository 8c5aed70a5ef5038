#include "tile.h"

/*
 * Columns of each head in blocks of NR, a block in panels of MG_PANEL rows: packed[head][block][panel][row][NR]. Since MR divides
 * NR, the same panels serve as the left factor, read in columns.
 */
static int64_t blocks_of(int64_t width) { return (width + NR - 1) / NR; }

static int64_t panels_of(int64_t rows) { return (rows + MG_PANEL - 1) / MG_PANEL; }

static int64_t panel_rows(int64_t rows, int64_t panel) {
  int64_t left = rows - panel * MG_PANEL;
  return left < MG_PANEL ? left : MG_PANEL;
}

void ISA(gram_pack)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_pack_args *a = args;
  int64_t panels = panels_of(a->rows), blocks = blocks_of(a->width);
  for (int64_t task = begin; task < end; task++) {
    int64_t panel = task % panels, block = task / panels % blocks, head = task / panels / blocks;
    int64_t columns = a->width - block * NR < NR ? a->width - block * NR : NR;
    const float *x = a->source + panel * MG_PANEL * a->stride + head * a->width + block * NR;
    float *out = a->packed + task * MG_PANEL * NR;
    for (int64_t r = 0; r < panel_rows(a->rows, panel); r++, x += a->stride, out += NR) {
      if (columns == NR) {
        for (int j = 0; j < NR; j += W) v_store(out + j, v_load(x + j));
      } else {
        memcpy(out, x, (size_t)columns * sizeof *x);
        memset(out + columns, 0, (size_t)(NR - columns) * sizeof *x);
      }
    }
  }
}

/* c[0:m, 0:n] += tile */
static void flush(const float *restrict tile, int64_t m, int64_t n, double *restrict c, int64_t stride, bool lower,
                  int64_t diagonal) {
  for (int64_t i = 0; i < m; i++, c += stride, tile += NR) {
    int64_t end = n;
    if (lower && diagonal + i + 1 < n) end = diagonal + i + 1;
    if (end == NR) {
      for (int64_t j = 0; j < NR; j++) c[j] += (double)tile[j];
    } else {
      for (int64_t j = 0; j < end; j++) c[j] += (double)tile[j];
    }
  }
}

static void prefetch(const double *c, int64_t m, int64_t n, int64_t stride) {
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j += 8) __builtin_prefetch(c + i * stride + j, 1);
  }
}

static void gram_task(const mg_gram_args *a, const mg_gram_task *task) {
  int64_t panels = panels_of(a->rows), block_size = panels * MG_PANEL * NR;
  const float *x = a->packed_x + task->head * blocks_of(a->x_width) * block_size;
  const float *y = a->packed_y + (task->head * blocks_of(a->y_width) + task->block) * block_size;
  int64_t j0 = (int64_t)task->block * NR, columns = a->y_width - j0 < NR ? a->y_width - j0 : NR;
  double *c = a->c + task->head * a->x_width * a->c_stride + j0;
  float tile[MR * NR] __attribute__((aligned(64)));
  for (int64_t panel = 0; panel < panels; panel++) {
    int64_t k = panel_rows(a->rows, panel), offset = panel * MG_PANEL * NR;
    int64_t last = (int64_t)task->last * NR < a->x_width ? (int64_t)task->last * NR : a->x_width;
    for (int64_t i = (int64_t)task->first * NR; i < last; i += MR) {
      int64_t m = last - i < MR ? last - i : MR;
      if (a->lower && i + m <= j0) continue; /* above the diagonal */
      if (panel == 0) prefetch(c + i * a->c_stride, m, columns, a->c_stride);
      tile_rows(A_IN_COLUMNS, m, vectors_for(columns), k, x + i / NR * block_size + offset + i % NR, NR, y + offset, tile, NULL);
      flush(tile, m, columns, c + i * a->c_stride, a->c_stride, a->lower, i - j0);
    }
  }
}

void ISA(gram_tiles)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_gram_args *a = args;
  for (int64_t t = begin; t < end; t++) gram_task(a, &a->tasks[t]);
}
