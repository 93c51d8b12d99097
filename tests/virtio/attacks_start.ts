/**
 * What a driver may get wrong when it sets a queue up; all profiles agree.
 *
 * @module
 */
import { NOWHERE, RAM, RAM_SIZE, READ_ONLY, WRITE_ONLY } from "./raw_net.ts";

/** Each with the fault's code, the size, and the addresses of the three parts. */
export const STARTS:
  readonly (readonly [name: string, code: string, size: number, areas: [number, number, number]])[] = [
    ["a queue size that is no power of two", "bad-queue-size", 6, [RAM, RAM + 0x1000, RAM + 0x2000]],
    ["a queue size of 0", "bad-queue-size", 0, [RAM, RAM + 0x1000, RAM + 0x2000]],
    ["a queue size above the device's", "bad-queue-size", 16, [RAM, RAM + 0x1000, RAM + 0x2000]],
    ["D16: a descriptor table at 8 modulo 16", "misaligned-ring", 8, [RAM + 8, RAM + 0x1000, RAM + 0x2000]],
    ["D16: an available ring at an odd address", "misaligned-ring", 8, [RAM, RAM + 0x1001, RAM + 0x2000]],
    ["D16: a used ring at 2 modulo 4", "misaligned-ring", 8, [RAM, RAM + 0x1000, RAM + 0x2002]],
    ["a descriptor table that is not mapped", "bad-ring-address", 8, [NOWHERE, RAM, RAM + 0x2000]],
    ["a used ring that cannot be written", "bad-ring-address", 8, [RAM, RAM + 0x1000, READ_ONLY]],
    ["a used ring that cannot be read", "bad-ring-address", 8, [RAM, RAM + 0x1000, WRITE_ONLY]],
    ["a ring part across memories", "bad-ring-address", 8, [RAM + RAM_SIZE - 64, RAM, RAM + 0x2000]],
    ["an available ring that ends behind its mapping", "bad-ring-address", 8, [
      RAM,
      READ_ONLY + 0xff0,
      RAM + 0x2000,
    ]],
  ];
