/* Standard normal numbers of a key, for processors with AVX-512.
 *
 * Threefry-2x32 in 20 rounds (Salmon et al. 2011, SC11) of 0, 1, … as jax.random numbers them; 23 of
 * the bits make x uniform in (−1, 1), and √2·erf⁻¹(x) is normal. erf⁻¹ is Giles's pair of polynomials
 * (2011, GPU Computing Gems Jade, ch. 10), which XLA takes as well but one number after another.
 */
#include <stdint.h>

#include "elementary.h"
#include "parallel.h"

enum { STRETCH = 1024 /* numbers of one key */, WORTH = 2048 /* numbers of a piece */ };

typedef struct {
  const uint32_t *keys; /* two words each */
  float *normal;
  long members, count; /* keys, and numbers of each */
  long stretches, stretches_per_piece; /* of a key; of several keys where they are short */
} Normal;

/* One group of four rounds, and what is added after it. */
#define ROUND(DISTANCE)            \
  x = _mm512_add_epi32(x, y);      \
  y = _mm512_xor_si512(_mm512_rol_epi32(y, DISTANCE), x);
#define GROUP(A, B, C, D, ONE, OTHER, NUMBER)  \
  ROUND(A) ROUND(B) ROUND(C) ROUND(D)          \
  x = _mm512_add_epi32(x, key[ONE]);           \
  y = _mm512_add_epi32(_mm512_add_epi32(y, key[OTHER]), _mm512_set1_epi32(NUMBER));

static inline __m512i random_bits(const __m512i key[3], __m512i count) {
  __m512i x = key[0], y = _mm512_add_epi32(count, key[1]); /* the high word of the count is 0 */
  GROUP(13, 15, 26, 6, 1, 2, 1)
  GROUP(17, 29, 16, 24, 2, 0, 2)
  GROUP(13, 15, 26, 6, 0, 1, 3)
  GROUP(17, 29, 16, 24, 1, 2, 4)
  GROUP(13, 15, 26, 6, 2, 0, 5)
  return _mm512_xor_si512(x, y);
}

static const float MIDDLE[9] = {2.81022636e-08f, 3.43273939e-07f,  -3.5233877e-06f,
                                -4.39150654e-06f, 0.00021858087f,  -0.00125372503f,
                                -0.00417768164f,  0.246640727f,    1.50140941f};
static const float TAILS[9] = {-0.000200214257f, 0.000100950558f, 0.00134934322f,
                               -0.00367342844f,  0.00573950773f,  -0.0076224613f,
                               0.00943887047f,   1.00167406f,     2.83297682f};

static inline __m512 polynomial(const float coefficients[9], __m512 w) {
  __m512 p = _mm512_set1_ps(coefficients[0]);
  for (int i = 1; i < 9; i++) p = _mm512_fmadd_ps(p, w, _mm512_set1_ps(coefficients[i]));
  return p;
}

static inline __m512 normal_of(__m512i bits) {
  const __m512 one = _mm512_set1_ps(1);
  bits = _mm512_or_si512(_mm512_srli_epi32(bits, 9), _mm512_set1_epi32(0x3f800000));
  __m512 unit = _mm512_sub_ps(_mm512_castsi512_ps(bits), one); /* [0, 1) */
  __m512 x = _mm512_fmadd_ps(unit, _mm512_set1_ps(2), _mm512_set1_ps(-0x1.fffffep-1f));
  __m512 w = logarithm_and(_mm512_fnmadd_ps(x, x, one), _mm512_setzero_ps());
  w = _mm512_sub_ps(_mm512_setzero_ps(), w);
  __m512 p = polynomial(MIDDLE, _mm512_sub_ps(w, _mm512_set1_ps(2.5f)));
  __mmask16 far = _mm512_cmp_ps_mask(w, _mm512_set1_ps(5), _CMP_GE_OQ);
  if (far) { /* |x| > 0.9966 */
    __m512 root = _mm512_sub_ps(_mm512_sqrt_ps(w), _mm512_set1_ps(3));
    p = _mm512_mask_mov_ps(p, far, polynomial(TAILS, root));
  }
  return _mm512_mul_ps(_mm512_set1_ps(0x1.6a09e6p0f), _mm512_mul_ps(p, x)); /* √2 */
}

static void piece_of_normal(const void *what, long piece) {
  const Normal *n = what;
  long at = piece * n->stretches_per_piece, last = at + n->stretches_per_piece;
  for (; at < last && at < n->members * n->stretches; at++) {
    long member = at / n->stretches, i = at % n->stretches * STRETCH;
    const uint32_t *words = n->keys + 2 * member;
    __m512i key[3] = {_mm512_set1_epi32(words[0]), _mm512_set1_epi32(words[1]),
                      _mm512_set1_epi32(words[0] ^ words[1] ^ 0x1bd11bda)};
    long end = least(i + STRETCH, n->count);
    for (; i < end; i += 16) {
      __m512i bits = random_bits(key, _mm512_add_epi32(up_to_15(), _mm512_set1_epi32(i)));
      _mm512_mask_storeu_ps(n->normal + member * n->count + i, first_of_16(end - i),
                            normal_of(bits));
    }
  }
}

/* Operand: keys (..., 2). Result: normal numbers (..., count). */
XLA_FFI_Error *logvar_normal(XLA_FFI_CallFrame *call) {
  if (answered_metadata(call)) return NULL;
  if (call->args.size != 1 || call->rets.size != 1)
    return refused(call, "logvar's normal numbers take keys and give numbers");
  const XLA_FFI_Buffer *keys = operand(call, 0), *to = result(call, 0);
  long axes = to->rank - 1;
  if (axes < 0 || keys->rank != to->rank || keys->dims[axes] != 2 ||
      extent(keys, 0, axes) != extent(to, 0, axes) || to->dims[axes] > INT32_MAX)
    return refused(call, "logvar's normal numbers got keys and numbers that do not fit together");
  if (keys->dtype != XLA_FFI_DataType_U32 || to->dtype != XLA_FFI_DataType_F32)
    return refused(call, "logvar's normal numbers take words of 32 bits and give float32");
  Normal n = {keys->data, to->data, extent(to, 0, axes), to->dims[axes], 0, 0};
  n.stretches = ceiling(n.count, STRETCH);
  n.stretches_per_piece = WORTH / (least(n.count, STRETCH) + 1) + 1;
  in_pieces(call, threads_of(call), piece_of_normal, &n, sizeof n,
            ceiling(n.members * n.stretches, n.stretches_per_piece));
  return NULL;
}
