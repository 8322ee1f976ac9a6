/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_self_test.h"

#include "litesight.h"
#include "litesight_golden.h"

litesight_status litesight_self_test(size_t *mismatched_bytes) {
  size_t mismatched = 0;
  for (size_t vector = 0; vector < LITESIGHT_GOLDEN_COUNT; ++vector) {
    litesight_status status = litesight_run(litesight_golden_inputs[vector]);
    if (status != LITESIGHT_OK) {
      return status;
    }
    const int8_t *output = litesight_output();
    for (size_t i = 0; i < LITESIGHT_CLASSES; ++i) {
      mismatched += output[i] != litesight_golden_outputs[vector][i] ? 1u : 0u;
    }
  }
  if (mismatched_bytes != NULL) {
    *mismatched_bytes = mismatched;
  }
  return mismatched == 0 ? LITESIGHT_OK : LITESIGHT_ERROR_GOLDEN;
}
