/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_serial.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "litesight_engine.h"
#include "litesight_firmware.h"
#include "litesight_meter.h"
#include "litesight_model.h"
#include "litesight_port.h"
#include "litesight_score.h"
#include "litesight_serial_text.h"

enum {
  /* With its end; the longest command of the runner, "db " and 31 bytes, has 65 characters. */
  LINE_BYTES = 80,
  ROW_VALUES = LITESIGHT_INPUT_WIDTH * LITESIGHT_INPUT_CHANNELS,
  DEFAULT_WARMUPS = 10
};

#define LITESIGHT_READY "m-ready" LITESIGHT_LINE_END

static char line[LINE_BYTES];
static bool is_ready;
static bool has_output;
static int8_t output[LITESIGHT_CLASSES];
/* What the runner sends are pixels; the golden vectors are inputs as the network takes them. */
static bool bytes_are_pixels = true;

static void print(const char *text) { litesight_port_print(text); }

static void print_error(const char *text) {
  print("e-[");
  print(text);
  print("]" LITESIGHT_LINE_END);
}

static void print_mismatch(const char *place, size_t expected, const char *things, size_t found) {
  print("e-[");
  print(place);
  print("expected ");
  litesight_text_write_number(expected);
  print(things);
  print(", found ");
  if (found == LITESIGHT_NOT_HEX) {
    print("other characters");
  } else {
    litesight_text_write_number(found);
  }
  print("]" LITESIGHT_LINE_END);
}

static int8_t quantized(uint8_t byte, size_t channel) {
  if (!bytes_are_pixels) {
    return (int8_t)byte;
  }
  const int8_t *table = LITESIGHT_INPUT_TABLE;
  return table == NULL ? (int8_t)(byte ^ 0x80u) : table[channel * 256u + byte];
}

/* In millionths; of scores from which the network has not made a probability, the softmax. */
static uint32_t probability(size_t index, int8_t best, uint64_t sum) {
  const uint32_t value = LITESIGHT_OUTPUT_IS_PROBABILITY
                             ? litesight_probability_table[output[index] - INT8_MIN]
                             : litesight_softmax(output[index], best, sum, litesight_probability_table);
  return (uint32_t)((value * UINT64_C(1000000) + LITESIGHT_PROBABILITY_ONE / 2u) / LITESIGHT_PROBABILITY_ONE);
}

static void print_results(void) {
  if (!has_output) {
    print_error("No inference yet");
    return;
  }
  const uint64_t sum = LITESIGHT_OUTPUT_IS_PROBABILITY
                           ? 0u
                           : litesight_softmax_sum(output, LITESIGHT_CLASSES, litesight_probability_table);
  const int8_t best = output[litesight_next_best(output, LITESIGHT_CLASSES, NULL)];
  print("m-results-[");
  for (size_t i = 0; i < LITESIGHT_CLASSES; ++i) {
    uint32_t rest = probability(i, best, sum);
    print(i == 0 ? "" : ",");
    litesight_text_write_number(rest / 1000000u);
    print(".");
    for (uint32_t unit = 100000u; unit != 0u; unit /= 10u) {
      litesight_text_write_number(rest / unit % 10u);
    }
  }
  print("]" LITESIGHT_LINE_END);
}

static void print_output(void) {
  if (!has_output) {
    print_error("No inference yet");
    return;
  }
  print("m-output-[");
  for (size_t i = 0; i < LITESIGHT_CLASSES; ++i) {
    litesight_text_write_hex((uint8_t)output[i]);
  }
  print("]" LITESIGHT_LINE_END);
}

static void print_timestamp(void) {
  print("m-lap-us-");
  litesight_text_write_number(litesight_meter_microseconds());
  print(LITESIGHT_LINE_END);
}

static void print_status(litesight_status status) {
  print("e-[The engine failed: status ");
  litesight_text_write_number((uint64_t)status);
  print("]" LITESIGHT_LINE_END);
}

/* One inference, measured; whether it came to its end. */
static bool infer(litesight_input_rows next_row, void *context) {
  litesight_meter_start();
  const litesight_status status = litesight_engine_run(next_row, context, output);
  litesight_meter_stop();
  has_output = status == LITESIGHT_OK;
  if (!has_output && status != LITESIGHT_ERROR_SOURCE) {
    print_status(status);
  }
  return has_output;
}

#if LITESIGHT_FIRMWARE_ROWS

/* Each request for a row ends with "m-ready", so that to the other side a row is a command like any other. */
static litesight_status row_from_line(void *context, int8_t *row) {
  uint32_t *index = (uint32_t *)context;
  litesight_meter_pause();
  print("m-row-");
  litesight_text_write_number(*index);
  print(LITESIGHT_LINE_END LITESIGHT_READY);
  const size_t digits = litesight_text_read_hex(row, ROW_VALUES);
  if (digits != 2u * ROW_VALUES) {
    print_mismatch("Row: ", 2u * ROW_VALUES, " hex digits", digits);
    return LITESIGHT_ERROR_SOURCE;
  }
  for (size_t i = 0; i < ROW_VALUES; ++i) {
    row[i] = quantized((uint8_t)row[i], i % LITESIGHT_INPUT_CHANNELS);
  }
  ++*index;
  litesight_meter_resume();
  return LITESIGHT_OK;
}

static void command_rows(void) {
  uint32_t index = 0;
  if (infer(row_from_line, &index)) {
    print("m-rows-done" LITESIGHT_LINE_END);
    print_results();
  }
}

static bool input_command(const char *name, char *arguments) {
  (void)arguments;
  if (litesight_text_equal(name, "rows")) {
    command_rows();
  } else if (litesight_text_equal(name, "db") || litesight_text_equal(name, "infer")) {
    print_error("This firmware has no frame in RAM; 'rows' asks for one row after another");
  } else {
    return false;
  }
  return true;
}

#else

static int8_t frame[LITESIGHT_INPUT_BYTES];
static size_t frame_bytes;
static bool is_loading;

static litesight_status row_from_frame(void *context, int8_t *row) {
  const int8_t **next = (const int8_t **)context;
  memcpy(row, *next, ROW_VALUES);
  *next += ROW_VALUES;
  return LITESIGHT_OK;
}

static void db_load(char *arguments) {
  const char *word = litesight_text_word(&arguments);
  uint32_t count = 0;
  /* Even if it is refused: who passes over the error must not get the answer to the input before. */
  frame_bytes = 0;
  is_loading = false;
  if (word == NULL || !litesight_text_number(word, &count)) {
    print_error("Command 'db load' requires the # of bytes");
  } else if (count != LITESIGHT_INPUT_BYTES) {
    print_mismatch("Input: ", LITESIGHT_INPUT_BYTES, " bytes", count);
  } else {
    is_loading = true;
    print("m-[Expecting ");
    litesight_text_write_number(count);
    print(" bytes]" LITESIGHT_LINE_END);
  }
}

/* The input as the network takes it, that is after its quantisation. */
static void db_print(void) {
  enum { BYTES_PER_LINE = 8 };
  for (size_t i = 0; i < frame_bytes; ++i) {
    print(i % BYTES_PER_LINE == 0 ? "m-buffer-" : "-");
    litesight_text_write_hex((uint8_t)frame[i]);
    if (i % BYTES_PER_LINE == BYTES_PER_LINE - 1 || i + 1 == frame_bytes) {
      print(LITESIGHT_LINE_END);
    }
  }
}

static void db_bytes(const char *digits) {
  /* First all of them are looked at: a line is taken as a whole or, so that it can be sent again, not at all. */
  size_t length = 0;
  while (litesight_text_hex_digit(digits[length]) >= 0) {
    ++length;
  }
  if (!is_loading) {
    print_error("No 'db load' before these bytes");
    return;
  }
  if (digits[length] != '\0') {
    print_error("Invalid hex digit");
    return;
  }
  if (length % 2 != 0) {
    print_error("Insufficient number of hex digits");
    return;
  }
  if (length / 2 > LITESIGHT_INPUT_BYTES - frame_bytes) {
    print_mismatch("Input: ", LITESIGHT_INPUT_BYTES, " bytes", frame_bytes + length / 2);
    return;
  }
  for (size_t i = 0; i < length; i += 2) {
    const int value = litesight_text_hex_digit(digits[i]) * 16 + litesight_text_hex_digit(digits[i + 1]);
    frame[frame_bytes] = quantized((uint8_t)value, frame_bytes % LITESIGHT_INPUT_CHANNELS);
    ++frame_bytes;
  }
  if (frame_bytes == LITESIGHT_INPUT_BYTES) {
    is_loading = false;
    print("m-load-done" LITESIGHT_LINE_END);
  }
}

static void command_db(char *arguments) {
  const char *word = litesight_text_word(&arguments);
  if (word == NULL) {
    print_error("Command 'db' requires a subcommand");
  } else if (litesight_text_equal(word, "load")) {
    db_load(arguments);
  } else if (litesight_text_equal(word, "print")) {
    db_print();
  } else {
    db_bytes(word);
  }
}

static bool infer_frame(uint32_t count) {
  for (; count != 0; --count) {
    const int8_t *next = frame;
    if (!infer(row_from_frame, &next)) {
      return false;
    }
    (void)litesight_meter_clock(); /* or a long run of inferences would hide a wrap of the counter */
  }
  return true;
}

static void print_marker(const char *label, uint32_t count) {
  print(label);
  litesight_text_write_number(count);
  print(LITESIGHT_LINE_END);
}

static void command_infer(char *arguments) {
  const char *word = litesight_text_word(&arguments);
  uint32_t count = 1;
  uint32_t warmups = DEFAULT_WARMUPS;
  if (word != NULL && (!litesight_text_number(word, &count) || count == 0)) {
    print_error("Inference iterations must be >0");
    return;
  }
  word = word == NULL ? NULL : litesight_text_word(&arguments);
  if (word != NULL && !litesight_text_number(word, &warmups)) {
    print_error("Inference warmup must be >=0");
    return;
  }
  if (frame_bytes != LITESIGHT_INPUT_BYTES) {
    print_mismatch("Input: ", LITESIGHT_INPUT_BYTES, " bytes", frame_bytes);
    return;
  }
  print_marker("m-warmup-start-", warmups);
  if (!infer_frame(warmups)) {
    return;
  }
  print("m-warmup-done" LITESIGHT_LINE_END);
  print_marker("m-infer-start-", count);
  print_timestamp();
  if (!infer_frame(count)) {
    return;
  }
  print_timestamp();
  print("m-infer-done" LITESIGHT_LINE_END);
  print_results();
}

static bool input_command(const char *name, char *arguments) {
  if (litesight_text_equal(name, "db")) {
    command_db(arguments);
  } else if (litesight_text_equal(name, "infer")) {
    command_infer(arguments);
  } else if (litesight_text_equal(name, "rows")) {
    print_error("This firmware has a frame in RAM; 'db' fills it");
  } else {
    return false;
  }
  return true;
}

#endif

static void print_name(void) { print("m-name-dut-[litesight " LITESIGHT_BOARD "]" LITESIGHT_LINE_END); }

static void print_profile(void) {
  print("m-profile-[litesight-serial/1]" LITESIGHT_LINE_END "m-model-[");
  litesight_text_write_foreign(LITESIGHT_MODEL_NAME);
  print("]" LITESIGHT_LINE_END "m-sha256-[" LITESIGHT_MODEL_SHA256 "]" LITESIGHT_LINE_END);
}

static void print_memory(void) {
  litesight_text_write_fact("m-input-bytes-", LITESIGHT_INPUT_BYTES);
  litesight_text_write_fact("m-row-bytes-", ROW_VALUES);
  litesight_text_write_fact("m-frame-bytes-", LITESIGHT_FIRMWARE_ROWS ? 0u : LITESIGHT_INPUT_BYTES);
  litesight_text_write_fact("m-output-bytes-", LITESIGHT_CLASSES);
  litesight_text_write_fact("m-arena-bytes-", litesight_engine_arena_used());
  litesight_text_write_fact("m-stack-size-", litesight_port_stack_size());
}

static void command_bytes(char *arguments) {
  const char *word = litesight_text_word(&arguments);
  if (word != NULL && litesight_text_equal(word, "pixels")) {
    bytes_are_pixels = true;
  } else if (word != NULL && litesight_text_equal(word, "int8")) {
    bytes_are_pixels = false;
  } else {
    print_error("Command 'bytes' requires 'pixels' or 'int8'");
  }
}

static void print_help(void) {
  static const char text[] =
      "help          this list" LITESIGHT_LINE_END "name profile  who is there" LITESIGHT_LINE_END
      "timestamp     microseconds" LITESIGHT_LINE_END
      "bytes FORM    what is sent: pixels (at the start) or int8" LITESIGHT_LINE_END
#if LITESIGHT_FIRMWARE_ROWS
      "rows          an inference that asks for each row: HH..%" LITESIGHT_LINE_END
#else
      "db load N     then db HH.. until N bytes are there" LITESIGHT_LINE_END
      "db print      the input" LITESIGHT_LINE_END "infer N [W]   N inferences after W" LITESIGHT_LINE_END
#endif
      "results       probabilities" LITESIGHT_LINE_END "output        the network's bytes" LITESIGHT_LINE_END
      "ticks steps   time of the latest inference" LITESIGHT_LINE_END
      "paint         forget the stack's depth" LITESIGHT_LINE_END "stack         deepest stack since" LITESIGHT_LINE_END
      "memory        sizes" LITESIGHT_LINE_END;
  print(text);
}

static bool plain_command(const char *name) {
  if (litesight_text_equal(name, "name")) {
    print_name();
  } else if (litesight_text_equal(name, "profile")) {
    print_profile();
  } else if (litesight_text_equal(name, "timestamp")) {
    print_timestamp();
  } else if (litesight_text_equal(name, "results")) {
    print_results();
  } else if (litesight_text_equal(name, "output")) {
    print_output();
  } else if (litesight_text_equal(name, "ticks")) {
    litesight_text_write_fact("m-ticks-", litesight_meter_ticks());
  } else if (litesight_text_equal(name, "steps")) {
    litesight_meter_print_steps();
  } else if (litesight_text_equal(name, "paint")) {
    litesight_port_paint_stack();
  } else if (litesight_text_equal(name, "stack")) {
    litesight_text_write_fact("m-stack-", litesight_port_stack_used());
  } else if (litesight_text_equal(name, "memory")) {
    print_memory();
  } else if (litesight_text_equal(name, "help")) {
    print_help();
  } else {
    return false;
  }
  return true;
}

static void execute(char *rest) {
  const char *name = litesight_text_word(&rest);
  if (name == NULL) {
    return; /* the runner sends a lone '%' to end whatever was on the line before */
  }
  if (litesight_text_equal(name, "bytes")) {
    command_bytes(rest);
  } else if (!plain_command(name) && (!is_ready || !input_command(name, rest))) {
    print("e-[Unknown command: ");
    litesight_text_write_foreign(name);
    print("]" LITESIGHT_LINE_END);
  }
}

_Noreturn void litesight_serial_run(void) {
  const litesight_status status = litesight_engine_init();
  is_ready = status == LITESIGHT_OK;
  if (is_ready) {
    print("m-init-done" LITESIGHT_LINE_END);
  } else {
    print_status(status);
  }
  for (;;) {
    print(LITESIGHT_READY);
    if (litesight_text_read(line, sizeof line)) {
      execute(line);
    } else {
      print_error("Command too long");
    }
  }
}
