/**
 * A device that steers by RSS, opposite a driver of which there is only memory and a hand on the registers.
 *
 * @module
 */
import { assert } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { LocalHost } from "../../core/host.ts";
import { MICROSOFT_RSS_KEY } from "../../core/toeplitz.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { ethernet, ipv4, tcp } from "../core/packets.ts";
import { ModernRegisters } from "./modern_registers.ts";
import { frameOf } from "./raw_net.ts";
import { RawRing, WRITE } from "./raw_ring.ts";

/** Microsoft, "Verifying the RSS Hash Calculation": IPv4 with TCP ports, and the addresses alone. */
export const FLOWS = [
  ["66.9.149.187", 2794, "161.142.100.80", 1766, 0x51ccc178, 0x323e8fc2],
  ["199.92.111.2", 14230, "65.69.140.83", 4739, 0xc626b0ea, 0xd718262a],
  ["24.19.198.95", 12898, "12.22.207.184", 38024, 0x5c2b394a, 0xd2d0a5de],
  ["38.27.205.30", 48228, "209.142.163.6", 2217, 0xafc7327f, 0x82989176],
  ["153.39.163.191", 44251, "202.188.127.2", 1303, 0x10e828a2, 0x5d1809c5],
] as const;
/** A frame of each. */
export const FRAMES = FLOWS.map(([source, from, destination, to]) =>
  concat([ethernet(0x0800), ipv4(6, tcp(from, to), { source, destination })])
);
/** A frame without a flow. */
export const ARP = ethernet(0x0806);
/** Answers to commands. */
export const OK = 0;
/** See {@linkcode OK}. */
export const ERR = 1;
/** Queue pairs of the device. */
export const PAIRS = 3;

/** virtio 1.4, 5.1.6.5.7: the command as it goes over the wire, little endian. */
export function rssConfig(
  { types = 0x1ff, mask, unclassified = 0, table = [0], pairs = PAIRS, key = MICROSOFT_RSS_KEY, keyLength }: {
    readonly types?: number;
    readonly mask?: number;
    readonly unclassified?: number;
    readonly table?: readonly number[];
    readonly pairs?: number;
    readonly key?: readonly number[];
    readonly keyLength?: number;
  },
): number[] {
  const u16 = (value: number) => [value & 0xff, value >> 8];
  return [
    ...[4, 1],
    ...[types & 0xff, types >> 8 & 0xff, types >> 16 & 0xff, types >>> 24],
    ...u16(mask ?? table.length - 1),
    ...u16(unclassified),
    ...table.flatMap(u16),
    ...u16(pairs),
    keyLength ?? key.length,
    ...key,
  ];
}

/** A device of three pairs whose receive queues hold buffers, and a driver of which there are only bytes. */
export function openRss(...names: Feature[]) {
  const host = new LocalHost({ dmaSize: 1 << 17 });
  const features = featureMask("VERSION_1", "CTRL_VQ", ...names);
  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    queuePairs: PAIRS,
    maxQueueSize: 64,
  });
  const pci = new ModernPciDevice(device);
  const registers = new ModernRegisters(pci.config.bytes, pci);
  assert(registers.negotiate(features));
  const base = host.dma.region.start;
  const start = (index: number) => {
    const at = index * 0x2000;
    host.memory.bytes.fill(0, at, at + 0x2000);
    assert(registers.startQueue(index, 64, base + at, base + at + 0x800, base + at + 0x1000));
    const ring = new RawRing(host.memory.view, 64, at, at + 0x800, at + 0x1000);
    if (index % 2 === 1 || index === 2 * PAIRS) return ring;
    for (let i = 0; i < 64; i++) ring.offer(ring.chain(i, { addr: base + 0x10000, len: 200, flags: WRITE }));
    return ring;
  };
  const rings = Array.from({ length: 2 * PAIRS + 1 }, (_, index) => start(index));
  const control = rings[2 * PAIRS]!;
  registers.set("device_status", 15);
  const command = (bytes: readonly number[]) => {
    host.memory.bytes.set([...bytes, 0xee], 0x12000);
    const ack = { addr: base + 0x12000 + bytes.length, len: 1, flags: WRITE };
    control.offer(control.chain(0, { addr: base + 0x12000, len: bytes.length }, ack));
    registers.ring(6);
    return host.memory.bytes[0x12000 + bytes.length];
  };
  const deliver = (...frames: readonly Uint8Array[]) => frames.map((frame) => device.deliver(frameOf(frame)));
  return { host, device, pci, registers, rings, start, command, deliver };
}
