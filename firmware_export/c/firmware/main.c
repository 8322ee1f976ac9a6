/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_serial.h"

int main(void) { litesight_serial_run(); }
