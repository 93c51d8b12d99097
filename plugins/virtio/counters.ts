/**
 * What each counter of the virtio plugin counts.
 *
 * @module
 */
import type { CounterSpec } from "../../core/counters.ts";

function direction(prefix: string, what: string): CounterSpec[] {
  return [
    { name: `${prefix}.chains`, meaning: `Chains that the driver made available on ${what} queues` },
    {
      name: `${prefix}.descriptors`,
      meaning: `Descriptors that it wrote for them, those of indirect tables included`,
    },
    { name: `${prefix}.indirect_tables`, meaning: `Indirect tables among them` },
    { name: `${prefix}.kicks`, meaning: `Doorbell writes for ${what} queues` },
    {
      name: `${prefix}.kicks_suppressed`,
      meaning: `Times that chains were published and the device wanted no kick`,
    },
  ];
}

function device(prefix: string, what: string): CounterSpec[] {
  return [
    { name: `${prefix}.chains`, meaning: `Chains that the device took from ${what} queues` },
    {
      name: `${prefix}.descriptors`,
      meaning: `Buffers of those chains: a descriptor that says where an indirect table is does not count`,
    },
    { name: `${prefix}.indirect_tables`, meaning: `Indirect tables that it followed for them` },
    { name: `${prefix}.interrupts`, meaning: `Interrupts that it sent for ${what} queues` },
    {
      name: `${prefix}.interrupts_suppressed`,
      meaning: `Times that it published used chains and the driver wanted no interrupt`,
    },
  ];
}

/** All counters. */
export const counters: readonly CounterSpec[] = [
  ...direction("tx", "transmit"),
  { name: "tx.dma_maps", meaning: "Transmitted frames that descriptors point at where they lie" },
  {
    name: "tx.bounce_bytes",
    meaning: "Frame bytes that the driver copied first, as the device cannot see them",
  },
  { name: "tx.full", meaning: "Times that a frame found too few free descriptors and had to wait" },
  ...direction("rx", "receive"),
  {
    name: "rx.dma_maps",
    meaning: "Receive buffers mapped for the device; each is mapped once and used again",
  },
  { name: "rx.frames", meaning: "Frames received" },
  {
    name: "rx.buffers",
    meaning: "Receive buffers that they filled: more than rx.frames where frames were merged",
  },
  { name: "rx.hashed", meaning: "Frames received with a hash report" },
  { name: "driver.interrupts", meaning: "Interrupts that reached the driver" },
  { name: "ring.bytes", meaning: "Bytes of the three parts of all transmit and receive rings" },
  { name: "ring.padding.flexible", meaning: "Padding between them in the flexible three-part layout" },
  {
    name: "ring.padding.legacy",
    meaning: "Padding that the legacy contiguous layout has in its whole pages",
  },
  {
    name: "device.bytes_copied",
    meaning: "Bytes that the device wrote into receive buffers, net headers included",
  },
  ...device("device.tx", "transmit"),
  ...device("device.rx", "receive"),
];
