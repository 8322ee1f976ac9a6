/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a camera frame to labels. The same header for every engine: an application does not change when the engine does.
 *
 * No heap, no recursion, and not for two threads at once: there is one network with one static arena. What it needs is
 * in litesight_model.h as constants.
 */
#ifndef LITESIGHT_H
#define LITESIGHT_H

#include <stddef.h>
#include <stdint.h>

#include "litesight_model.h"
#include "litesight_preprocess.h"
#include "litesight_score.h"
#include "litesight_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct litesight_result {
  const char *label;    /* UTF-8 */
  uint16_t index;       /* of the class, 0 to LITESIGHT_CLASSES - 1 */
  int8_t score;         /* the network's output as it is */
  uint32_t probability; /* 0 to LITESIGHT_PROBABILITY_ONE */
} litesight_result;

/* Prepares the engine. Call it once; a second call does nothing. */
litesight_status litesight_init(void);

/*
 * Classifies a frame in memory.
 *
 * `stride_bytes` is the distance between two rows; `pixels` points at the top left one. The frame is cropped to the
 * network's aspect ratio and resized, as in training. Writes the `count` best classes, best first; `count` is 1 to
 * LITESIGHT_CLASSES.
 */
litesight_status litesight_classify(litesight_pixel_format format, int32_t width, int32_t height, int32_t stride_bytes,
                                    const uint8_t *pixels, litesight_result *results, size_t count);

/*
 * The same for a frame whose rows are delivered one by one by frame->source (see litesight_preprocess.h), so that it
 * need never be in memory as a whole.
 */
litesight_status litesight_classify_rows(const litesight_frame *frame, litesight_result *results, size_t count);

/*
 * Runs the network on an input that is quantised already: LITESIGHT_INPUT_BYTES values, rows from the top, channels
 * together. The outputs are then in litesight_output.
 */
litesight_status litesight_run(const int8_t *input);

/* The LITESIGHT_CLASSES outputs of the latest run that succeeded. */
const int8_t *litesight_output(void);

/* Writes the `count` best of LITESIGHT_CLASSES outputs; `count` is 1 to LITESIGHT_CLASSES. */
litesight_status litesight_rank(const int8_t *output, litesight_result *results, size_t count);

/* Bytes of the arena in use after litesight_init; an engine may need a little more while it prepares itself. */
size_t litesight_arena_used(void);

/* A short English text without a full stop. */
const char *litesight_status_text(litesight_status status);

#ifdef __cplusplus
}
#endif

#endif
