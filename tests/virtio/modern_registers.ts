/**
 * The modern registers by the offsets that virtio 1.4, 4.1.4 prints, for tests that play the driver.
 *
 * @module
 */
import type { Registers } from "../../core/plugin.ts";

/** Offset and width of each common register. */
export const COMMON = {
  device_feature_select: [0, 4],
  device_feature: [4, 4],
  driver_feature_select: [8, 4],
  driver_feature: [12, 4],
  config_msix_vector: [16, 2],
  num_queues: [18, 2],
  device_status: [20, 1],
  config_generation: [21, 1],
  queue_select: [22, 2],
  queue_size: [24, 2],
  queue_msix_vector: [26, 2],
  queue_enable: [28, 2],
  queue_notify_off: [30, 2],
  queue_desc_lo: [32, 4],
  queue_desc_hi: [36, 4],
  queue_driver_lo: [40, 4],
  queue_driver_hi: [44, 4],
  queue_device_lo: [48, 4],
  queue_device_hi: [52, 4],
  queue_notif_config_data: [56, 2],
  queue_reset: [58, 2],
  admin_queue_index: [60, 2],
  admin_queue_num: [62, 2],
} as const satisfies Readonly<Record<string, readonly [number, number]>>;
/** Name of a common register. */
export type CommonRegister = keyof typeof COMMON;

/** Where a capability says that its window lies. */
export interface Window {
  readonly type: number;
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
  /** Place of the capability in configuration space, and its length. */
  readonly at: number;
  readonly capLength: number;
}

/** The windows in the order of the capability list; capabilities that are not virtio's own are left out. */
export function windows(config: Uint8Array): Window[] {
  const view = new DataView(config.buffer);
  const found: Window[] = [];
  for (let at = config[0x34]!; at !== 0; at = config[at + 1]!) {
    if (config[at] !== 9) continue;
    found.push({
      type: config[at + 3]!,
      bar: config[at + 4]!,
      offset: view.getUint32(at + 8, true),
      length: view.getUint32(at + 12, true),
      at,
      capLength: config[at + 2]!,
    });
  }
  return found;
}

/** A driver's hand on the registers. */
export class ModernRegisters {
  readonly bar: Registers;
  readonly common: number;
  readonly isr: number;
  readonly device: number;
  readonly notify: number;

  /** Finds the windows. */
  constructor(config: Uint8Array, bar: Registers) {
    this.bar = bar;
    const offset = (type: number) => windows(config).find((window) => window.type === type)!.offset;
    this.common = offset(1);
    this.notify = offset(2);
    this.isr = offset(3);
    this.device = offset(4);
  }

  /** Reads a common register. */
  get(name: CommonRegister): number {
    const [offset, width] = COMMON[name];
    return this.bar.read(this.common + offset, width);
  }

  /** Writes a common register. */
  set(name: CommonRegister, value: number): void {
    const [offset, width] = COMMON[name];
    this.bar.write(this.common + offset, width, value);
  }

  /** Writes the accepted features. */
  accept(features: bigint): void {
    for (let select = 0; select < 4; select++) {
      this.set("driver_feature_select", select);
      this.set("driver_feature", Number(features >> BigInt(32 * select) & 0xffff_ffffn));
    }
  }

  /** Reads the offered features. */
  offered(): bigint {
    let features = 0n;
    for (let select = 0; select < 4; select++) {
      this.set("device_feature_select", select);
      features |= BigInt(this.get("device_feature")) << BigInt(32 * select);
    }
    return features;
  }

  /** Resets, says hello, accepts features and asks whether they are fine. */
  negotiate(features: bigint): boolean {
    this.set("device_status", 0);
    this.set("device_status", 1);
    this.set("device_status", 3);
    this.accept(features);
    this.set("device_status", 11);
    return this.get("device_status") === 11;
  }

  /** Sets a queue up and starts it. */
  startQueue(index: number, size: number, desc: number, driver: number, device: number): boolean {
    this.set("queue_select", index);
    this.set("queue_size", size);
    for (const [name, address] of [["desc", desc], ["driver", driver], ["device", device]] as const) {
      this.set(`queue_${name}_lo`, address % 2 ** 32);
      this.set(`queue_${name}_hi`, Math.floor(address / 2 ** 32));
    }
    this.set("queue_enable", 1);
    return this.get("queue_enable") === 1;
  }

  /** Rings a queue's bell. */
  ring(index: number): void {
    this.bar.write(this.notify, 2, index);
  }
}
