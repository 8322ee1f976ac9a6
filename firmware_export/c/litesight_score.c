/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_score.h"

#include <stdbool.h>

/* Whether class i comes before class j. */
static bool is_before(const int8_t *scores, size_t i, size_t j) {
  return scores[i] > scores[j] || (scores[i] == scores[j] && i < j);
}

uint16_t litesight_next_best(const int8_t *scores, size_t n, const uint16_t *previous) {
  size_t best = n;
  for (size_t i = 0; i < n; ++i) {
    bool is_left = previous == NULL || is_before(scores, *previous, i);
    if (is_left && (best == n || is_before(scores, i, best))) {
      best = i;
    }
  }
  return (uint16_t)(best == n ? 0u : best);
}

uint64_t litesight_softmax_sum(const int8_t *scores, size_t n, const uint32_t *exp_table) {
  int8_t best = INT8_MIN;
  for (size_t i = 0; i < n; ++i) {
    best = scores[i] > best ? scores[i] : best;
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < n; ++i) {
    sum += exp_table[best - scores[i]];
  }
  return sum;
}

uint32_t litesight_softmax(int8_t score, int8_t best, uint64_t sum, const uint32_t *exp_table) {
  uint64_t numerator = (uint64_t)exp_table[best - score] * LITESIGHT_PROBABILITY_ONE;
  return (uint32_t)((numerator + sum / 2) / sum);
}
