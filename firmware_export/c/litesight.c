/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight.h"

#include <stdbool.h>
#include <string.h>

#include "litesight_engine.h"

enum { ROW_VALUES = LITESIGHT_INPUT_WIDTH * LITESIGHT_INPUT_CHANNELS };

static bool is_ready;
static int8_t latest_output[LITESIGHT_CLASSES];
static litesight_preprocess_state preprocess;
/* 16-bit elements for the alignment that the preprocessing asks for. */
static uint16_t
    workspace[(LITESIGHT_PREPROCESS_WORKSPACE_BYTES(LITESIGHT_INPUT_WIDTH, LITESIGHT_INPUT_CHANNELS) + 1u) / 2u];

litesight_status litesight_init(void) {
  if (is_ready) {
    return LITESIGHT_OK;
  }
  litesight_status status = litesight_engine_init();
  is_ready = status == LITESIGHT_OK;
  return status;
}

static litesight_status run(litesight_input_rows next_row, void *context) {
  /* A run that fails half-way must not leave a mixture of two outputs. */
  static int8_t output[LITESIGHT_CLASSES];
  litesight_status status = litesight_engine_run(next_row, context, output);
  if (status == LITESIGHT_OK) {
    memcpy(latest_output, output, sizeof latest_output);
  }
  return status;
}

static litesight_status preprocessed_row(void *context, int8_t *row) {
  switch (litesight_preprocess_row((litesight_preprocess_state *)context, row)) {
    case LITESIGHT_PREPROCESS_OK:
      return LITESIGHT_OK;
    case LITESIGHT_PREPROCESS_SOURCE_FAILED:
      return LITESIGHT_ERROR_SOURCE;
    default:
      return LITESIGHT_ERROR_INVOKE;
  }
}

litesight_status litesight_classify_rows(const litesight_frame *frame, litesight_result *results, size_t count) {
  const litesight_input_spec spec = {LITESIGHT_INPUT_WIDTH, LITESIGHT_INPUT_HEIGHT, LITESIGHT_INPUT_COLOR,
                                     LITESIGHT_INPUT_TABLE};
  if (frame == NULL || results == NULL || count == 0 || count > LITESIGHT_CLASSES) {
    return LITESIGHT_ERROR_ARGUMENT;
  }
  if (!is_ready) {
    return LITESIGHT_ERROR_STATE;
  }
  if (litesight_preprocess_init(&preprocess, &spec, frame, workspace, sizeof workspace) != LITESIGHT_PREPROCESS_OK) {
    return LITESIGHT_ERROR_ARGUMENT;
  }
  litesight_status status = run(preprocessed_row, &preprocess);
  return status == LITESIGHT_OK ? litesight_rank(latest_output, results, count) : status;
}

/* Bytes of a row without padding; 0 for a format or a width that cannot be. */
static int32_t row_bytes(litesight_pixel_format format, int32_t width) {
  if (width < 1 || width > LITESIGHT_PREPROCESS_MAX_FRAME_SIDE) {
    return 0;
  }
  switch (format) {
    case LITESIGHT_RGB888:
    case LITESIGHT_BGR888:
      return 3 * width;
    case LITESIGHT_GREY8:
      return width;
    case LITESIGHT_RGB565:
    case LITESIGHT_RGB565_BE:
    case LITESIGHT_YUYV:
      return 2 * width;
    default:
      return 0;
  }
}

litesight_status litesight_classify(litesight_pixel_format format, int32_t width, int32_t height, int32_t stride_bytes,
                                    const uint8_t *pixels, litesight_result *results, size_t count) {
  int32_t least = row_bytes(format, width);
  /* Rows that overlap would be a stride given in pixels; a negative one shows the frame upside down. */
  if (pixels == NULL || least == 0 || (stride_bytes < least && stride_bytes > -least)) {
    return LITESIGHT_ERROR_ARGUMENT;
  }
  litesight_memory_frame memory = {pixels, stride_bytes};
  const litesight_frame frame = {width, height, format, litesight_memory_row, &memory};
  return litesight_classify_rows(&frame, results, count);
}

static litesight_status quantized_row(void *context, int8_t *row) {
  const int8_t **next = (const int8_t **)context;
  memcpy(row, *next, ROW_VALUES);
  *next += ROW_VALUES;
  return LITESIGHT_OK;
}

litesight_status litesight_run(const int8_t *input) {
  if (input == NULL) {
    return LITESIGHT_ERROR_ARGUMENT;
  }
  if (!is_ready) {
    return LITESIGHT_ERROR_STATE;
  }
  return run(quantized_row, &input);
}

const int8_t *litesight_output(void) { return latest_output; }

litesight_status litesight_rank(const int8_t *output, litesight_result *results, size_t count) {
  if (output == NULL || results == NULL || count == 0 || count > LITESIGHT_CLASSES) {
    return LITESIGHT_ERROR_ARGUMENT;
  }
  /* Scores from which the network has made probabilities already need no sum. */
  const uint64_t sum = LITESIGHT_OUTPUT_IS_PROBABILITY
                           ? 0u
                           : litesight_softmax_sum(output, LITESIGHT_CLASSES, litesight_probability_table);
  const int8_t best = output[litesight_next_best(output, LITESIGHT_CLASSES, NULL)];
  for (size_t rank = 0; rank < count; ++rank) {
    const uint16_t index = litesight_next_best(output, LITESIGHT_CLASSES, rank == 0 ? NULL : &results[rank - 1].index);
    const int8_t score = output[index];
    results[rank].label = litesight_labels[index];
    results[rank].index = index;
    results[rank].score = score;
    results[rank].probability = LITESIGHT_OUTPUT_IS_PROBABILITY
                                    ? litesight_probability_table[score - INT8_MIN]
                                    : litesight_softmax(score, best, sum, litesight_probability_table);
  }
  return LITESIGHT_OK;
}

size_t litesight_arena_used(void) { return litesight_engine_arena_used(); }

const char *litesight_status_text(litesight_status status) {
  switch (status) {
    case LITESIGHT_OK:
      return "no error";
    case LITESIGHT_ERROR_ARGUMENT:
      return "an argument is out of range";
    case LITESIGHT_ERROR_STATE:
      return "litesight_init was not called, or failed";
    case LITESIGHT_ERROR_SOURCE:
      return "the source delivered no row";
    case LITESIGHT_ERROR_MODEL:
      return "the engine cannot run this model";
    case LITESIGHT_ERROR_ARENA:
      return "the arena is too small: raise LITESIGHT_ARENA_BYTES";
    case LITESIGHT_ERROR_INVOKE:
      return "the engine failed while it ran";
    case LITESIGHT_ERROR_GOLDEN:
      return "the output differs from the golden vector";
    default:
      return "unknown status";
  }
}
