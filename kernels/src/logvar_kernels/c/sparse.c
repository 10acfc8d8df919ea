/* Products whose left factor is zero in many places, as images on a black ground are and tables
 * with a column for each category.
 *
 * Terms that are zero in all of four neighbouring rows add nothing to them and are left out: those
 * that remain are listed first. Of 128 handwritten digits 0.39 remain where an image is a row and
 * 0.28 where a pixel is, and the two products of a layer of 512 take 0.57 and 0.37 of the time.
 *
 * No bit depends on it. The terms are summed in the order and the stretches of product.c, and of a
 * right factor that is not finite, of which 0·∞ is to be NaN, none is left out.
 */
#include <stdint.h>
#include <stdlib.h>

#include "elementary.h"
#include "panel.h"
#include "product.h"

enum { HIGH = 4, PANELS = 3, GROUP = 16 };

typedef struct {
  Product product;
  long tiles;     /* of up to 4 rows, in a member */
  long groups;    /* of 16 rows: four tiles */
  long stretches; /* of at most SUMMED terms */
  long room;      /* for the list of a tile, and 16 numbers that are written past its end */
  uint16_t *terms, *counts; /* of a stretch of a tile: which remain, from its first; how many */
  long pieces;              /* in which the columns are cut */
} Sparse;

static uint16_t *terms_of(const Sparse *s, long member, long tile, long stretch) {
  return s->terms + (member * s->tiles + tile) * s->room + stretch * s->product.summed;
}

static uint16_t *count_of(const Sparse *s, long member, long tile, long stretch) {
  return s->counts + (member * s->tiles + tile) * s->stretches + stretch;
}

/* Which of 16 terms, of so many, are not zero in all rows of a tile: for each of a group's tiles. */
static void remaining(const Product *p, const float *left, long rows, long terms,
                      __mmask16 remain[GROUP / HIGH]) {
  const __m512i all_but_sign = _mm512_set1_epi32(0x7fffffff);
  __m512 number[GROUP];
  if (p->left_row == 1) {
    turn(left, p->left_term, terms, rows, number);
  } else {
    for (long i = 0; i < GROUP; i++)
      number[i] = i < rows ? _mm512_maskz_loadu_ps(first_of_16(terms), left + i * p->left_row)
                           : _mm512_setzero_ps();
  }
  for (int t = 0; t < GROUP / HIGH; t++) {
    __m512i any = _mm512_castps_si512(number[HIGH * t]);
    for (int i = 1; i < HIGH; i++)
      any = _mm512_or_si512(any, _mm512_castps_si512(number[HIGH * t + i]));
    remain[t] = _mm512_test_epi32_mask(any, all_but_sign);
  }
}

/* Whether zeros are to be expected, from a few blocks of 16 × 16 numbers along a diagonal. */
static int promising(const Sparse *s) {
  enum { BLOCKS = 8 };
  const Product *p = &s->product;
  int all = 0, remain = 0;
  for (long b = 0; b < BLOCKS; b++) {
    long row = s->groups * b / BLOCKS * GROUP, term = p->terms * b / BLOCKS;
    long rows = least(GROUP, p->rows - row), terms = least(16, p->terms - term);
    __mmask16 of_tile[GROUP / HIGH];
    remaining(p, p->left + row * p->left_row + term * p->left_term, rows, terms, of_tile);
    for (int t = 0; t < GROUP / HIGH; t++) remain += _mm_popcnt_u32(of_tile[t]);
    all += terms * ceiling(rows, HIGH);
  }
  return 8 * remain < 5 * all;
}

static void list_of_group(const void *what, long piece) {
  const Sparse *s = what;
  const Product *p = &s->product;
  long member = piece / s->groups, first = piece % s->groups * GROUP;
  const float *left = p->left + member * p->left_member + first * p->left_row;
  long rows = least(GROUP, p->rows - first), tiles = ceiling(rows, HIGH);
  for (long stretch = 0; stretch < s->stretches; stretch++, left += p->summed * p->left_term) {
    long terms = least(p->summed, p->terms - stretch * p->summed);
    uint16_t *to[GROUP / HIGH];
    for (long t = 0; t < tiles; t++) to[t] = terms_of(s, member, first / HIGH + t, stretch);
    for (long k = 0; k < terms; k += 16) {
      __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(k), up_to_15());
      __mmask16 remain[GROUP / HIGH];
      remaining(p, left + k * p->left_term, rows, terms - k, remain);
      for (long t = 0; t < tiles; t++) {
        __m512i those = _mm512_maskz_compress_epi32(remain[t], numbers);
        _mm256_storeu_si256((__m256i *)to[t], _mm512_cvtepi32_epi16(those));
        to[t] += _mm_popcnt_u32(remain[t]);
      }
    }
    for (long t = 0; t < tiles; t++)
      *count_of(s, member, first / HIGH + t, stretch) =
          to[t] - terms_of(s, member, first / HIGH + t, stretch);
  }
}

/* Rows × up to three panels, of the listed terms: result (+)= left·panels. */
typedef void Tile(const uint16_t *terms, long count, const float *left, long row, long term,
                  const float *panels, float *result, long stride, int add, __mmask16 low,
                  __mmask16 high);

#define EACH_ROW _Pragma("GCC unroll 4") for (int i = 0; i < rows; i++)
#define EACH_VECTOR _Pragma("GCC unroll 6") for (int v = 0; v < vectors; v++)
#define TILE(ROWS, WIDTH)                                                                       \
  static void tile_##ROWS##_##WIDTH(const uint16_t *terms, long count, const float *left,       \
                                    long row, long term, const float *panels, float *result,    \
                                    long stride, int add, __mmask16 low, __mmask16 high) {      \
    enum { rows = ROWS, vectors = 2 * WIDTH };                                                  \
    __m512 sum[rows][vectors], some[vectors];                                                   \
    EACH_ROW EACH_VECTOR sum[i][v] = _mm512_setzero_ps();                                       \
    for (long n = 0; n < count; n++) {                                                          \
      const float *panel = panels + terms[n] * WIDE, *factors = left + terms[n] * term;         \
      EACH_VECTOR some[v] = _mm512_load_ps(panel + v / 2 * SUMMED * WIDE + v % 2 * 16);         \
      EACH_ROW {                                                                                \
        __m512 factor = _mm512_set1_ps(factors[i * row]);                                       \
        EACH_VECTOR sum[i][v] = _mm512_fmadd_ps(factor, some[v], sum[i][v]);                    \
      }                                                                                         \
    }                                                                                           \
    EACH_ROW EACH_VECTOR {                                                                      \
      __mmask16 there = v < vectors - 2 ? 0xffff : v % 2 ? high : low;                          \
      float *to = result + i * stride + 16 * v;                                                 \
      if (add) sum[i][v] = _mm512_add_ps(sum[i][v], _mm512_maskz_loadu_ps(there, to));          \
      _mm512_mask_storeu_ps(to, there, sum[i][v]);                                              \
    }                                                                                           \
  }
#define EACH_WIDTH(ROWS) TILE(ROWS, 1) TILE(ROWS, 2) TILE(ROWS, 3)
EACH_WIDTH(1) EACH_WIDTH(2) EACH_WIDTH(3) EACH_WIDTH(4)
#define NAMES(ROWS) {tile_##ROWS##_1, tile_##ROWS##_2, tile_##ROWS##_3}
/* By the number of rows and of panels, less one each. */
static Tile *const TILES[HIGH][PANELS] = {NAMES(1), NAMES(2), NAMES(3), NAMES(4)};

static int finite(const float *panel, long terms) {
  const __m512 zero = _mm512_setzero_ps();
  __m512 low = zero, high = zero; /* 0·∞ and 0·NaN are NaN */
  for (long k = 0; k < terms; k++, panel += WIDE) {
    low = _mm512_fmadd_ps(_mm512_load_ps(panel), zero, low);
    high = _mm512_fmadd_ps(_mm512_load_ps(panel + 16), zero, high);
  }
  return _mm512_cmp_ps_mask(_mm512_add_ps(low, high), zero, _CMP_EQ_OQ) == 0xffff;
}

static void piece_of_sparse(const void *what, long piece) {
  static _Thread_local _Alignas(64) float panels[PANELS * SUMMED * WIDE];
  static _Thread_local uint16_t every[SUMMED];
  const Sparse *s = what;
  const Product *p = &s->product;
  long member = piece / s->pieces, part = piece % s->pieces, all = ceiling(p->columns, WIDE);
  long j = all * part / s->pieces, width = all * (part + 1) / s->pieces - j;
  long columns = least(p->columns - j * WIDE, width * WIDE), last = columns - (width - 1) * WIDE;
  const float *left = p->left + member * p->left_member;
  const float *right = p->right + member * p->right_member + j * WIDE * p->right_column;
  float *result = p->result + member * p->result_member + j * WIDE;
  for (long stretch = 0; stretch < s->stretches; stretch++) {
    long terms = least(p->summed, p->terms - stretch * p->summed), as_can_be = 1;
    for (long v = 0; v < width; v++) {
      float *panel = panels + v * SUMMED * WIDE;
      copy_panel(right + v * WIDE * p->right_column, p->right_term, p->right_column,
                 columns - v * WIDE, terms, panel);
      as_can_be &= finite(panel, terms);
    }
    if (!as_can_be)
      for (long k = 0; k < terms; k++) every[k] = k;
    for (long t = 0; t < s->tiles; t++) {
      TILES[least(HIGH, p->rows - t * HIGH) - 1][width - 1](
          as_can_be ? terms_of(s, member, t, stretch) : every,
          as_can_be ? *count_of(s, member, t, stretch) : terms, left + t * HIGH * p->left_row,
          p->left_row, p->left_term, panels, result + t * HIGH * p->columns, p->columns,
          stretch > 0, first_of_16(last), first_of_16(last - 16));
    }
    left += p->summed * p->left_term;
    right += p->summed * p->right_term;
  }
}

int sparse_product(XLA_FFI_CallFrame *call, long threads, const Product *p) {
  Sparse s = {.product = *p,
              .tiles = ceiling(p->rows, HIGH),
              .groups = ceiling(p->rows, GROUP),
              .stretches = ceiling(p->terms, p->summed),
              .room = p->terms + 16,
              .pieces = ceiling(ceiling(p->columns, WIDE), PANELS)};
  if (p->rows < 2 * GROUP || !promising(&s)) return 0;
  long lists = p->batch * s.tiles, numbers = lists * (s.room + s.stretches);
  s.terms = malloc(numbers * sizeof *s.terms);
  if (!s.terms) return 0;
  s.counts = s.terms + lists * s.room;
  in_pieces(call, threads, list_of_group, &s, sizeof s, p->batch * s.groups);
  long remain = 0;
  for (long i = 0; i < lists * s.stretches; i++) remain += s.counts[i];
  int worth = 8 * remain < 5 * lists * p->terms;
  if (worth) in_pieces(call, threads, piece_of_sparse, &s, sizeof s, p->batch * s.pieces);
  free(s.terms);
  return worth;
}
