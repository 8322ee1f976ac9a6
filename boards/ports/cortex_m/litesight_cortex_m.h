/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of the System Control Space that the port uses (Armv7-M ARM, DDI 0403E, B3.2; Armv8-M ARM, DDI 0553B,
 * D1.2). */
#ifndef LITESIGHT_CORTEX_M_H
#define LITESIGHT_CORTEX_M_H

#include <stdint.h>

#define LITESIGHT_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define LITESIGHT_SYST_CSR LITESIGHT_REGISTER(0xE000E010u)
#define LITESIGHT_SYST_RVR LITESIGHT_REGISTER(0xE000E014u)
#define LITESIGHT_SYST_CVR LITESIGHT_REGISTER(0xE000E018u)
#define LITESIGHT_ICSR LITESIGHT_REGISTER(0xE000ED04u)
#define LITESIGHT_VTOR LITESIGHT_REGISTER(0xE000ED08u)
#define LITESIGHT_CCR LITESIGHT_REGISTER(0xE000ED14u)
#define LITESIGHT_CFSR LITESIGHT_REGISTER(0xE000ED28u)
#define LITESIGHT_HFSR LITESIGHT_REGISTER(0xE000ED2Cu)
#define LITESIGHT_BFAR LITESIGHT_REGISTER(0xE000ED38u)
#define LITESIGHT_CPACR LITESIGHT_REGISTER(0xE000ED88u)
#define LITESIGHT_MPU_TYPE LITESIGHT_REGISTER(0xE000ED90u)
#define LITESIGHT_MPU_CTRL LITESIGHT_REGISTER(0xE000ED94u)
#define LITESIGHT_MPU_RNR LITESIGHT_REGISTER(0xE000ED98u)
#define LITESIGHT_MPU_RBAR LITESIGHT_REGISTER(0xE000ED9Cu)
#define LITESIGHT_MPU_RASR LITESIGHT_REGISTER(0xE000EDA0u)

/*
 * From the linker script: the stack grows from top down to limit, and nothing lies between guard and limit (4096 bytes,
 * or none); .data is copied, .bss is cleared.
 */
extern uint32_t litesight_stack_guard[];
extern uint32_t litesight_stack_limit[];
extern uint32_t litesight_stack_top[];
extern const uint32_t litesight_data_load[];
extern uint32_t litesight_data_start[];
extern uint32_t litesight_data_end[];
extern uint32_t litesight_bss_start[];
extern uint32_t litesight_bss_end[];

/* The vector table's entries. */
_Noreturn void litesight_reset(void);
void litesight_fault(void);
void litesight_systick(void);

/* From here on an overflow of the stack is a fault. */
void litesight_guard_stack(void);

/* Starts the counter; interrupts must be enabled for it to pass 2^24. */
void litesight_counter_start(void);

#endif
