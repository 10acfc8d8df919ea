/* log p(x | logits) of Bernoulli features and its slope in one pass, for processors with AVX-512.
 *
 * For each row Σ_i x_i·l_i − log(1 + e^{l_i}), and where it is asked for x_i − sigmoid(l_i), which is
 * the derivative by l_i. What XLA makes of that is a pass for the exponentials, one for the slopes
 * and half a dozen for the sums.
 */
#include "elementary.h"
#include "rows.h"

enum { FOLD = 8 /* vectors */ };

typedef struct {
  Rows rows;     /* of x and logits */
  float *total, *slope; /* slope is NULL where it is not asked for */
} Bernoulli;

static double sum_of(__m512 values) {
  __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(values));
  __m512d high = _mm512_cvtps_pd(
      _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(values), 1)));
  return _mm512_reduce_add_pd(_mm512_add_pd(low, high));
}

/* Takes 16 numbers into q and the sum; where all are known to be there, without masks. */
static inline void take_16(const float *x, const float *logits, float *slope, __mmask16 there,
                           __m512 *q, __m512 *sum) {
  const __m512 zero = _mm512_setzero_ps();
  __m512 l = _mm512_maskz_loadu_ps(there, logits), of_x = _mm512_maskz_loadu_ps(there, x);
  __m512 e = exponential(_mm512_sub_ps(zero, _mm512_abs_ps(l)));
  if (slope) _mm512_mask_storeu_ps(slope, there, _mm512_sub_ps(of_x, sigmoid(l, e)));
  e = _mm512_maskz_mov_ps(there, e);
  *q = _mm512_fmadd_ps(*q, e, _mm512_add_ps(*q, e));
  /* x·l less l where l > 0. */
  *sum = _mm512_add_ps(*sum, _mm512_fmsub_ps(of_x, l, _mm512_max_ps(zero, l)));
}

/* Σ log(1 + e^{−|l|}) is the logarithm of a product, and q in 1 + q = (1 + a)(1 + b) is a + b + ab,
 * which loses nothing: one logarithm serves eight numbers. */
static float total_of(const float *x, const float *logits, float *slope, long features) {
  double total = 0;
  for (long i = 0; i < features;) {
    __m512 q = _mm512_setzero_ps(), sum = q;
    for (int v = 0; v < FOLD && i < features; v++, i += 16) {
      float *to = slope ? slope + i : NULL;
      if (i + 16 <= features)
        take_16(x + i, logits + i, to, 0xffff, &q, &sum);
      else
        take_16(x + i, logits + i, to, first_of_16(features - i), &q, &sum);
    }
    total += sum_of(_mm512_sub_ps(sum, log_of_one_and(q)));
  }
  return (float)total;
}

static void piece_of_bernoulli(const void *what, long piece) {
  const Bernoulli *b = what;
  long row = piece * rows_in_piece(&b->rows), end = row + rows_in_piece(&b->rows);
  for (; row < end && row < b->rows.rows; row++) {
    float *slope = b->slope ? b->slope + row * b->rows.width : NULL;
    b->total[row] =
        total_of(row_of(&b->rows, 0, row), row_of(&b->rows, 1, row), slope, b->rows.width);
  }
}

/* Operands: x and logits (..., features), each with a size of 1 where it serves all of an axis.
 * Results: the totals (...), and the slopes (..., features) where there is a second one. */
XLA_FFI_Error *logvar_bernoulli(XLA_FFI_CallFrame *call) {
  if (answered_metadata(call)) return NULL;
  if (call->args.size != 2 || call->rets.size < 1 || call->rets.size > 2)
    return refused(call, "logvar's Bernoulli takes x and logits and gives totals, or slopes as well");
  const XLA_FFI_Buffer *total = result(call, 0);
  Bernoulli b = {.total = total->data};
  if (!fitting(&b.rows, operand(call, 0), operand(call, 1), total, total->rank) ||
      !fitting_slope(&b.rows, call, &b.slope))
    return refused(call, "logvar's Bernoulli got float32 that do not fit together, or no float32");
  in_pieces(call, threads_of(call), piece_of_bernoulli, &b, sizeof b, pieces_of(&b.rows));
  return NULL;
}
