/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LITESIGHT_CLAMP_ROW_H
#define LITESIGHT_CLAMP_ROW_H

#include <stdint.h>

#include "litesight_layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The kernels saturate at -128 and 127. Activations with other bounds are rare enough for a second pass. */
static inline void litesight_clamp_row(const litesight_feature *feature, int8_t *row, int8_t minimum, int8_t maximum) {
  if (minimum == INT8_MIN && maximum == INT8_MAX) {
    return;
  }
  const uint32_t count = (uint32_t)feature->width * feature->channels;
  for (uint32_t i = 0; i < count; ++i) {
    const int8_t raised = row[i] < minimum ? minimum : row[i];
    row[i] = raised > maximum ? maximum : raised;
  }
}

static inline void litesight_clamp_conv_row(const litesight_layer *layer, int8_t *row) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  litesight_clamp_row(layer->output, row, conv->channels.minimum, conv->channels.maximum);
}

#ifdef __cplusplus
}
#endif

#endif
