/* Matrix products in float32 for processors with AVX-512.
 *
 * result[i, j] = Σ_k left(i, k)·right(k, j), each factor as it lies or turned, any number of them.
 * Columns are taken 32 at a time. Such a panel of the right factor is copied once to where its rows
 * lie one after another; then up to 14 rows of the left factor at a time are multiplied with it in
 * registers: 28 of the 32 hold sums (Goto & van de Geijn 2008, ACM TOMS 34(3)). Of a left factor with
 * many zeros sparse.c takes care.
 *
 * A sum is taken in the order of k, in stretches of at most 512, which keep its error small; their
 * length depends on the number of terms alone. No result changes with the number of threads, nor a
 * row's with the other rows.
 */
#include "product.h"

#include "elementary.h"
#include "panel.h"

enum { HIGH = 14, DEEP = 1024 };

/* Rows × one panel: result (+)= left·panel, for a fixed number of rows so that sums stay in
 * registers. Every `summed` terms they are added to the result. */
typedef void Tile(long terms, long summed, const float *left, long row, long term,
                  const float *panel, float *result, long stride, int add, __mmask16 low,
                  __mmask16 high);

#define EACH_ROW _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++)
#define EACH_VECTOR _Pragma("GCC unroll 2") for (int v = 0; v < vectors; v++)
#define TILE(ROWS, VECTORS)                                                                      \
  static void tile_##ROWS##_##VECTORS(long terms, long summed, const float *left, long row,      \
                                      long term, const float *panel, float *result, long stride, \
                                      int add, __mmask16 low, __mmask16 high) {                  \
    enum { rows = ROWS, vectors = VECTORS };                                                     \
    for (; terms > 0; terms -= summed, add = 1) {                                                \
      __m512 sum[rows][vectors], some[vectors];                                                  \
      EACH_ROW EACH_VECTOR sum[i][v] = _mm512_setzero_ps();                                      \
      long count = terms < summed ? terms : summed;                                              \
      for (long k = 0; k < count; k++, panel += WIDE, left += term) {                              \
        EACH_VECTOR some[v] = _mm512_load_ps(panel + 16 * v);                                    \
        EACH_ROW {                                                                               \
          __m512 factor = _mm512_set1_ps(left[i * row]);                                         \
          EACH_VECTOR sum[i][v] = _mm512_fmadd_ps(factor, some[v], sum[i][v]);                   \
        }                                                                                        \
      }                                                                                          \
      EACH_ROW EACH_VECTOR {                                                                     \
        __mmask16 there = v ? high : low;                                                        \
        float *to = result + i * stride + 16 * v;                                                \
        if (add) sum[i][v] = _mm512_add_ps(sum[i][v], _mm512_maskz_loadu_ps(there, to));         \
        _mm512_mask_storeu_ps(to, there, sum[i][v]);                                             \
      }                                                                                          \
    }                                                                                            \
  }
#define BOTH(ROWS) TILE(ROWS, 1) TILE(ROWS, 2)
BOTH(1) BOTH(2) BOTH(3) BOTH(4) BOTH(5) BOTH(6) BOTH(7)
BOTH(8) BOTH(9) BOTH(10) BOTH(11) BOTH(12) BOTH(13) BOTH(14)
#define NAMES(V)                                                                        \
  {0,           tile_1_##V,  tile_2_##V,  tile_3_##V,  tile_4_##V, tile_5_##V, tile_6_##V,  \
   tile_7_##V,  tile_8_##V,  tile_9_##V,  tile_10_##V, tile_11_##V, tile_12_##V, tile_13_##V, \
   tile_14_##V}
/* By the number of vectors, less one, and of rows. */
static Tile *const TILES[2][HIGH + 1] = {NAMES(1), NAMES(2)};

static void piece_of_product(const void *what, long piece) {
  static _Thread_local _Alignas(64) float panel[DEEP * WIDE];
  const Product *p = what;
  long panels = piece % p->panel_pieces, rest = piece / p->panel_pieces;
  long rows = rest % p->row_pieces, member = rest / p->row_pieces;
  long first = rows * p->rows_per_piece;
  long height = least(p->rows - first, p->rows_per_piece);
  long from = panels * p->panels_per_piece * WIDE;
  long to = least(from + p->panels_per_piece * WIDE, p->columns);
  const float *left = p->left + member * p->left_member + first * p->left_row;
  const float *right = p->right + member * p->right_member;
  float *result = p->result + member * p->result_member + first * p->columns;
  long tiles = ceiling(height, HIGH);

  for (long k = 0; k < p->terms; k += p->block) {
    long terms = least(p->terms - k, p->block);
    for (long j = from; j < to; j += WIDE) {
      long columns = to - j;
      copy_panel(right + k * p->right_term + j * p->right_column, p->right_term, p->right_column,
                 columns, terms, panel);
      for (long t = 0; t < tiles; t++) { /* heights that differ by one at most */
        long i = height * t / tiles, end = height * (t + 1) / tiles;
        TILES[columns > 16][end - i](terms, p->summed, left + i * p->left_row + k * p->left_term,
                                     p->left_row, p->left_term, panel,
                                     result + i * p->columns + j, p->columns, k > 0,
                                     first_of_16(columns), first_of_16(columns - 16));
      }
    }
  }
}

/* How the work is cut. A piece copies the panels it uses, so of many rows each piece gets some and
 * all columns, and otherwise all rows and some columns. */
static void cut(Product *p, long threads) {
  const double WORTH_A_PIECE = 5e5; /* multiplications: a few microseconds */
  const long CACHED = 1 << 17;      /* numbers: half of a second-level cache of 1 MB */
  p->summed = ceiling(p->terms, ceiling(p->terms, SUMMED));
  int columns_of_left_lie_apart = p->left_row == 1;
  long deep = columns_of_left_lie_apart ? least(DEEP, CACHED / p->rows) : DEEP;
  p->block = p->summed * most(1, deep / p->summed);
  long panels = ceiling(p->columns, WIDE);
  p->rows_per_piece = p->rows;
  p->panels_per_piece = panels;
  if (p->rows > 2 * p->columns && p->rows > 16 * HIGH) {
    long cached = CACHED / least(p->terms, p->block);
    long even = ceiling(p->rows, 4 * threads);
    p->rows_per_piece = most(4 * HIGH, least(32 * HIGH, least(even, cached)) / HIGH * HIGH);
  } else if (p->batch < threads && panels < 2 * threads) {
    double worth = (double)p->rows * p->terms * p->columns / WORTH_A_PIECE;
    p->rows_per_piece = most(HIGH, ceiling(p->rows, least(2 * threads, most(1, (long)worth))));
  } else if (p->batch < 4 * threads) {
    double of_panel = (double)p->rows * p->terms * WIDE;
    long worth = of_panel < WORTH_A_PIECE ? (long)(WORTH_A_PIECE / of_panel) + 1 : 1;
    p->panels_per_piece = least(panels, most(worth, panels * p->batch / (16 * threads)));
  }
  p->row_pieces = ceiling(p->rows, p->rows_per_piece);
  p->panel_pieces = ceiling(panels, p->panels_per_piece);
}

static XLA_FFI_Error *product(XLA_FFI_CallFrame *call, int left_turned, int right_turned) {
  if (answered_metadata(call)) return NULL;
  if (call->args.size != 2 || call->rets.size != 1)
    return refused(call, "logvar's product takes two factors and gives one result");
  const XLA_FFI_Buffer *left = operand(call, 0), *right = operand(call, 1);
  const XLA_FFI_Buffer *to = result(call, 0);
  long rank = left->rank;
  if (rank < 2 || right->rank != rank || to->rank != rank)
    return refused(call, "logvar's product takes matrices, or as many of each");
  if (left->dtype != XLA_FFI_DataType_F32 || right->dtype != XLA_FFI_DataType_F32)
    return refused(call, "logvar's product takes float32");
  Product p = {0};
  p.rows = left->dims[rank - (left_turned ? 1 : 2)];
  p.terms = left->dims[rank - (left_turned ? 2 : 1)];
  p.columns = right->dims[rank - (right_turned ? 2 : 1)];
  if (right->dims[rank - (right_turned ? 1 : 2)] != p.terms)
    return refused(call, "logvar's product got factors of different numbers of terms");
  p.batch = extent(left, 0, rank - 2);
  if (extent(right, 0, rank - 2) != p.batch ||
      extent(to, 0, rank) != p.batch * p.rows * p.columns)
    return refused(call, "logvar's product got shapes that do not fit together");
  if (!p.batch || !p.rows || !p.columns || !p.terms)
    return refused(call, "logvar's product got an empty factor");
  p.left = left->data;
  p.right = right->data;
  p.result = to->data;
  p.left_row = left_turned ? 1 : p.terms;
  p.left_term = left_turned ? p.rows : 1;
  p.right_column = right_turned ? p.terms : 1;
  p.right_term = right_turned ? 1 : p.columns;
  p.left_member = p.rows * p.terms;
  p.right_member = p.terms * p.columns;
  p.result_member = p.rows * p.columns;
  long threads = threads_of(call);
  cut(&p, threads);
  if (sparse_product(call, threads, &p)) return NULL;
  in_pieces(call, threads, piece_of_product, &p, sizeof p,
            p.batch * p.row_pieces * p.panel_pieces);
  return NULL;
}

XLA_FFI_Error *logvar_product(XLA_FFI_CallFrame *call) { return product(call, 0, 0); }
XLA_FFI_Error *logvar_product_left_turned(XLA_FFI_CallFrame *call) { return product(call, 1, 0); }
XLA_FFI_Error *logvar_product_right_turned(XLA_FFI_CallFrame *call) { return product(call, 0, 1); }

/* Whether this processor has the instructions used here. */
int logvar_supported(void) { return __builtin_cpu_supports("avx512f") != 0; }
