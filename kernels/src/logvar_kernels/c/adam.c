/* Adam in one pass over the weights, and a gradient's norm in one, for processors with AVX-512.
 *
 * XLA makes a pass for each of Adam's two means and one for the weights. What is computed here is
 * what logvar/training/optimizers.py says. Weights come as many arrays, each seen as rows with one
 * factor for all its numbers or one for each column.
 */
#include <stdlib.h>

#include "elementary.h"
#include "parallel.h"

enum { PIECE = 16384 /* numbers */, MOST = 512 /* arrays */ };
enum { RATE, CLIP, SCALE, ADDED, PENALTY, DECAY, TAKEN, FIRST, NOT_FIRST, SECOND, NOT_SECOND, NUMBERS };

typedef struct {
  const float *weight, *first, *second, *gradient, *factor;
  float *new_weight, *new_first, *new_second;
  long size, columns; /* columns is 0 where one factor serves all */
  long from;          /* its first piece */
} Array;

typedef struct {
  long arrays, pieces; /* of one member of a batch */
  const Array *array;
  const float *numbers; /* NUMBERS for each member */
  float *sums;          /* one for each piece */
} Pass;

/* A piece's array, its numbers [i, end) and where they begin in that of its member. */
typedef struct {
  const Array *array;
  long member, at, i, end;
} Span;

static Span span_of(const Pass *pass, long piece) {
  long member = piece / pass->pieces, low = 0, high = pass->arrays;
  piece %= pass->pieces;
  while (high - low > 1) {
    long middle = (low + high) / 2;
    if (pass->array[middle].from <= piece) low = middle;
    else high = middle;
  }
  const Array *array = pass->array + low;
  long i = (piece - array->from) * PIECE;
  long end = i + PIECE < array->size ? i + PIECE : array->size;
  return (Span){array, member, member * array->size, i, end};
}

/* Goes through a span by stretches of 16 numbers, at `i`, of which `mask` are there; only the last
 * of a row has fewer. BODY stands twice, for where the mask is known beforehand it costs nothing. */
#define FOR_EACH_STRETCH(span, BODY)                                                             \
  {                                                                                              \
    long columns = span.array->columns;                                                          \
    const float *factors = span.array->factor + span.member * (columns ? columns : 1);           \
    __m512 factor = _mm512_set1_ps(factors[0]);                                                  \
    for (long i = span.i; i < span.end;) {                                                       \
      long column = columns ? i % columns : 0;                                                   \
      long end = columns && i - column + columns < span.end ? i - column + columns : span.end;   \
      for (; i + 16 <= end; i += 16, column += 16) {                                             \
        const __mmask16 mask = 0xffff;                                                           \
        if (columns) factor = _mm512_loadu_ps(factors + column);                                 \
        BODY                                                                                     \
      }                                                                                          \
      if (i < end) {                                                                             \
        __mmask16 mask = first_of_16(end - i);                                                   \
        if (columns) factor = _mm512_maskz_loadu_ps(mask, factors + column);                     \
        BODY i = end;                                                                            \
      }                                                                                          \
    }                                                                                            \
  }

static void piece_of_adam(const void *what, long piece) {
  const Pass *pass = what;
  Span span = span_of(pass, piece);
  const Array *a = span.array;
  const float *n = pass->numbers + span.member * NUMBERS;
  const float *weight = a->weight + span.at, *first = a->first + span.at;
  const float *second = a->second + span.at, *gradient = a->gradient + span.at;
  float *new_weight = a->new_weight + span.at, *new_first = a->new_first + span.at;
  float *new_second = a->new_second + span.at;
  __m512 rate = _mm512_set1_ps(n[RATE]), clip = _mm512_set1_ps(n[CLIP]);
  __m512 scale = _mm512_set1_ps(n[SCALE]), added = _mm512_set1_ps(n[ADDED]);
  __m512 penalty = _mm512_set1_ps(n[PENALTY]), decay = _mm512_set1_ps(n[DECAY]);
  __m512 b1 = _mm512_set1_ps(n[FIRST]), b2 = _mm512_set1_ps(n[SECOND]);
  __m512 c1 = _mm512_set1_ps(n[NOT_FIRST]), c2 = _mm512_set1_ps(n[NOT_SECOND]);
  int taken = n[TAKEN] != 0, decays = n[PENALTY] != 0 || n[DECAY] != 0;
  FOR_EACH_STRETCH(span, {
    __m512 w = _mm512_maskz_loadu_ps(mask, weight + i);
    __m512 m = _mm512_maskz_loadu_ps(mask, first + i);
    __m512 v = _mm512_maskz_loadu_ps(mask, second + i);
    if (taken) {
      __m512 g = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, gradient + i), factor);
      __m512 seen = decays ? _mm512_maskz_div_ps(mask, w, factor) : w;
      g = _mm512_mul_ps(g, clip);
      if (decays) g = _mm512_fmadd_ps(penalty, seen, g);
      m = _mm512_fmadd_ps(b1, m, _mm512_mul_ps(c1, g));
      v = _mm512_fmadd_ps(b2, v, _mm512_mul_ps(c2, _mm512_mul_ps(g, g)));
      __m512 towards = _mm512_mul_ps(scale, m);
      towards = _mm512_div_ps(towards, _mm512_add_ps(_mm512_sqrt_ps(v), added));
      if (decays) towards = _mm512_fmadd_ps(decay, seen, towards);
      w = _mm512_sub_ps(w, _mm512_mul_ps(rate, _mm512_mul_ps(towards, factor)));
    }
    _mm512_mask_storeu_ps(new_weight + i, mask, w);
    _mm512_mask_storeu_ps(new_first + i, mask, m);
    _mm512_mask_storeu_ps(new_second + i, mask, v);
  })
}

static void piece_of_squares(const void *what, long piece) {
  const Pass *pass = what;
  Span span = span_of(pass, piece);
  const float *gradient = span.array->gradient + span.at;
  __m512 sum[4]; /* in turn: an addition may begin before the one before it has ended */
  for (int i = 0; i < 4; i++) sum[i] = _mm512_setzero_ps();
  FOR_EACH_STRETCH(span, {
    __m512 g = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, gradient + i), factor);
    __m512 next = _mm512_fmadd_ps(g, g, sum[3]);
    sum[3] = sum[2];
    sum[2] = sum[1];
    sum[1] = sum[0];
    sum[0] = next;
  })
  __m512 all = _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
  pass->sums[piece] = _mm512_reduce_add_ps(all);
}

/* Reads an array's size and factor; whether they fit together. */
static int described(Array *array, const XLA_FFI_Buffer *gradient, const XLA_FFI_Buffer *factor,
                     long batch_rank, long batch, Pass *pass) {
  array->size = extent(gradient, batch_rank, gradient->rank);
  array->columns = extent(factor, batch_rank, factor->rank);
  if (array->columns == 1) array->columns = 0;
  array->gradient = gradient->data;
  array->factor = factor->data;
  array->from = pass->pieces;
  pass->pieces += ceiling(array->size, PIECE);
  return gradient->dtype == XLA_FFI_DataType_F32 && factor->dtype == XLA_FFI_DataType_F32 &&
         array->size && extent(gradient, 0, batch_rank) == batch &&
         extent(factor, 0, batch_rank) == batch &&
         (!array->columns || array->size % array->columns == 0);
}

/* Operands: the numbers, then for each array weight, first mean, second mean, gradient, factor.
 * Results: for each array weight, first mean, second mean. */
XLA_FFI_Error *logvar_adam(XLA_FFI_CallFrame *call) {
  if (answered_metadata(call)) return NULL;
  long arrays = (call->args.size - 1) / 5;
  if (arrays < 1 || arrays > MOST || call->args.size != 1 + 5 * arrays ||
      call->rets.size != 3 * arrays)
    return refused(call, "logvar's Adam got a wrong number of arrays");
  const XLA_FFI_Buffer *numbers = operand(call, 0);
  long batch_rank = numbers->rank - 1, batch = extent(numbers, 0, batch_rank);
  if (!fits(numbers, batch * NUMBERS)) return refused(call, "logvar's Adam takes eleven numbers");
  Array array[MOST];
  Pass pass = {arrays, 0, array, numbers->data, NULL};
  for (long i = 0; i < arrays; i++) {
    if (!described(array + i, operand(call, 4 + 5 * i), operand(call, 5 + 5 * i), batch_rank,
                   batch, &pass))
      return refused(call, "logvar's Adam got a factor that does not fit its gradient");
    for (long j = 0; j < 3; j++)
      if (!fits(operand(call, 1 + 5 * i + j), batch * array[i].size) ||
          !fits(result(call, 3 * i + j), batch * array[i].size))
        return refused(call, "logvar's Adam got weights and means of different shapes");
    array[i].weight = operand(call, 1 + 5 * i)->data;
    array[i].first = operand(call, 2 + 5 * i)->data;
    array[i].second = operand(call, 3 + 5 * i)->data;
    array[i].new_weight = result(call, 3 * i)->data;
    array[i].new_first = result(call, 3 * i + 1)->data;
    array[i].new_second = result(call, 3 * i + 2)->data;
  }
  in_pieces(call, threads_of(call), piece_of_adam, &pass, sizeof pass, batch * pass.pieces);
  return NULL;
}

/* Operands: for each array gradient and factor. Result: Σ (gradient·factor)² over all of them. */
XLA_FFI_Error *logvar_squares(XLA_FFI_CallFrame *call) {
  if (answered_metadata(call)) return NULL;
  long arrays = call->args.size / 2;
  if (arrays < 1 || arrays > MOST || call->args.size != 2 * arrays || call->rets.size != 1)
    return refused(call, "logvar's sum of squares got a wrong number of arrays");
  const XLA_FFI_Buffer *to = result(call, 0);
  long batch_rank = to->rank, batch = extent(to, 0, batch_rank);
  Array array[MOST];
  Pass pass = {arrays, 0, array, NULL, NULL};
  for (long i = 0; i < arrays; i++)
    if (!described(array + i, operand(call, 2 * i), operand(call, 2 * i + 1), batch_rank, batch,
                   &pass))
      return refused(call, "logvar's sum of squares got a factor that does not fit its gradient");
  if (!fits(to, batch)) return refused(call, "logvar's sum of squares gives one float32");
  pass.sums = malloc(batch * pass.pieces * sizeof *pass.sums);
  if (!pass.sums) return refused(call, "logvar's sum of squares got no memory");
  in_pieces(call, threads_of(call), piece_of_squares, &pass, sizeof pass, batch * pass.pieces);
  for (long member = 0; member < batch; member++) {
    double sum = 0; /* in the order of the pieces, whichever thread they were done by */
    for (long i = 0; i < pass.pieces; i++) sum += pass.sums[member * pass.pieces + i];
    ((float *)to->data)[member] = (float)sum;
  }
  free(pass.sums);
  return NULL;
}
