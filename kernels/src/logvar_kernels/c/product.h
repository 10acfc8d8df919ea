/* A product, and the two ways in which it is computed. */
#ifndef LOGVAR_PRODUCT_H
#define LOGVAR_PRODUCT_H

#include "parallel.h"

enum { SUMMED = 512 }; /* terms at most that are summed before the sum is added to the result */

typedef struct {
  long rows, columns, terms, batch;
  const float *left, *right;
  float *result;
  /* Distances, in numbers, between neighbours along an axis. */
  long left_row, left_term, right_term, right_column;
  long left_member, right_member, result_member; /* between the matrices of a batch */
  long summed; /* how many they are here */
  long block;  /* terms of a panel: some times as many */
  long rows_per_piece, panels_per_piece, row_pieces, panel_pieces;
} Product;

/* Computes the product if its left factor is zero in so many places that it pays to leave them out;
 * whether it did. */
int sparse_product(XLA_FFI_CallFrame *call, long threads, const Product *product);

#endif
