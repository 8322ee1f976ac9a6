/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STM32F405: 168 MHz from the crystal, and USART6 on PC6 (TX) and PC7 (RX). Registers: ST RM0090; chapters
 * are given below. QEMU models the USART but neither RCC, PWR, FLASH nor GPIO, which all read as 0 there: no wait is
 * endless.
 */
#include "litesight_port.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* RCC, 7.3 */
#define RCC_CR REGISTER(0x40023800u)
#define RCC_PLLCFGR REGISTER(0x40023804u)
#define RCC_CFGR REGISTER(0x40023808u)
#define RCC_AHB1ENR REGISTER(0x40023830u)
#define RCC_APB1ENR REGISTER(0x40023840u)
#define RCC_APB2ENR REGISTER(0x40023844u)
#define CR_HSEON (1u << 16)
#define CR_HSERDY (1u << 17)
#define CR_PLLON (1u << 24)
#define CR_PLLRDY (1u << 25)
#define PLLCFGR_SOURCE_HSE (1u << 22)
#define CFGR_SW_PLL 2u
#define CFGR_SWS_MASK (3u << 2)
#define CFGR_SWS_PLL (2u << 2)
#define CFGR_APB1_BY_4 (5u << 10)
#define CFGR_APB2_BY_2 (4u << 13)
#define AHB1ENR_GPIOC (1u << 2)
#define APB1ENR_PWR (1u << 28)
#define APB2ENR_USART6 (1u << 5)

/* FLASH_ACR, 3.9.1: prefetch, both caches, 5 wait states for 168 MHz at 2.7 to 3.6 V (table 10) */
#define FLASH_ACR REGISTER(0x40023C00u)
#define FLASH_ACR_168_MHZ ((1u << 8) | (1u << 9) | (1u << 10) | 5u)

/* PWR_CR, 5.4.1: the voltage scale that 168 MHz needs */
#define PWR_CR REGISTER(0x40007000u)
#define PWR_CR_VOS (1u << 14)

/* GPIOC, 8.4 */
#define GPIOC_MODER REGISTER(0x40020800u)
#define GPIOC_PUPDR REGISTER(0x4002080Cu)
#define GPIOC_AFRL REGISTER(0x40020820u)
#define AF_USART6 8u

/* USART, 30.6 */
typedef struct usart {
  volatile uint32_t status;
  volatile uint32_t data;
  volatile uint32_t baud;
  volatile uint32_t control;
} usart;

#define USART ((usart *)(uintptr_t)LITESIGHT_SERIAL_ADDRESS)
#define SR_RXNE (1u << 5)
#define SR_TXE (1u << 7)
#define CR1_RE (1u << 2)
#define CR1_TE (1u << 3)
#define CR1_UE (1u << 13)

#if LITESIGHT_SERIAL_ADDRESS != 0x40011400
#error "this port drives USART6 only"
#endif
#if LITESIGHT_CLOCK_HZ != 168000000 || LITESIGHT_CRYSTAL_HZ % 1000000 != 0
#error "this port makes 168 MHz from a crystal of whole MHz"
#endif

#define HSI_HZ 16000000u
/* Far longer than a crystal starts up (2 ms) at 16 MHz, and soon over on an emulator. */
#define PATIENCE 200000u

static int becomes(volatile uint32_t *address, uint32_t mask, uint32_t value) {
  for (uint32_t i = 0; i < PATIENCE; ++i) {
    if ((*address & mask) == value) {
      return 1;
    }
  }
  return 0;
}

/* Returns the clock of APB2. Where the crystal does not start the core stays at HSI, so that the board can still tell.
 */
static uint32_t start_clock(void) {
  RCC_APB1ENR |= APB1ENR_PWR;
  PWR_CR |= PWR_CR_VOS;
  RCC_CR |= CR_HSEON;
  if (!becomes(&RCC_CR, CR_HSERDY, CR_HSERDY)) {
    return HSI_HZ;
  }
  /* 1 MHz into the PLL, 336 MHz in it, half of that out (P = 2 is written as 0), 48 MHz for USB (Q = 7). */
  RCC_PLLCFGR = (7u << 24) | PLLCFGR_SOURCE_HSE | (336u << 6) | (LITESIGHT_CRYSTAL_HZ / 1000000u);
  RCC_CR |= CR_PLLON;
  FLASH_ACR = FLASH_ACR_168_MHZ;
  if (!becomes(&RCC_CR, CR_PLLRDY, CR_PLLRDY)) {
    return HSI_HZ;
  }
  RCC_CFGR = CFGR_APB1_BY_4 | CFGR_APB2_BY_2 | CFGR_SW_PLL;
  (void)becomes(&RCC_CFGR, CFGR_SWS_MASK, CFGR_SWS_PLL);
  return LITESIGHT_CLOCK_HZ / 2u;
}

void litesight_port_init(void) {
  const uint32_t apb2_hz = start_clock();
  RCC_AHB1ENR |= AHB1ENR_GPIOC;
  RCC_APB2ENR |= APB2ENR_USART6;
  GPIOC_AFRL = (GPIOC_AFRL & 0x00FFFFFFu) | (AF_USART6 << 24) | (AF_USART6 << 28);
  GPIOC_PUPDR = (GPIOC_PUPDR & 0xFFFF0FFFu) | (1u << 14); /* RX is pulled up, or an open pin would read as breaks */
  GPIOC_MODER = (GPIOC_MODER & 0xFFFF0FFFu) | (2u << 12) | (2u << 14);
  USART->baud = (apb2_hz + LITESIGHT_BAUD / 2u) / LITESIGHT_BAUD;
  USART->control = CR1_UE | CR1_TE | CR1_RE;
}

uint8_t litesight_port_read(void) {
  while ((USART->status & SR_RXNE) == 0u) {
  }
  return (uint8_t)USART->data;
}

void litesight_port_write(uint8_t byte) {
  while ((USART->status & SR_TXE) == 0u) {
  }
  USART->data = byte;
}
