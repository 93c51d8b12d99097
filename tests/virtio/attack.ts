/**
 * How a driver attacks a device by what it writes: the lists of attacks stand in `attacks_*.ts`.
 *
 * @module
 */
import type { Profile } from "../../plugins/virtio/faults.ts";
import type { Feature } from "../../plugins/virtio/features.ts";
import { BUFFERS, type RawNet } from "./raw_net.ts";
import { writeDesc } from "./raw_ring.ts";

/** All of them. */
export const PROFILES: readonly Profile[] = ["strict", "linux", "qemu", "dpdk"];
/** What most frames hold. */
export const PAYLOAD = Uint8Array.from({ length: 20 }, (_, i) => i + 1);
/** Where indirect tables lie. */
export const TABLE = BUFFERS + 0x4000;
/** Where further buffers lie. */
export const MORE = BUFFERS + 0x1000;
/** The chain was carried out. */
export const PASSES = "passes";

/** What a driver may do to a device, and what becomes of it. */
export interface Attack {
  /** What the driver does; starts with the check's number in the list of device checks, where it has one. */
  readonly name: string;
  /** What becomes of it: a fault's code or {@linkcode PASSES}, for all profiles or by profile. */
  readonly verdict: string | Readonly<Record<Profile, string>>;
  readonly size?: number;
  readonly features?: readonly Feature[];
  /** Writes the rings of queue 1 (transmit) unless `queue` says otherwise. */
  readonly attack: (net: RawNet) => void;
  /** The queue attacked: receive 0, transmit 1, control 2. */
  readonly queue?: number;
  /** The frame that goes to the wire if it passes. */
  readonly frame?: readonly number[];
}

/** One chain on the transmit ring, its descriptors one behind the other from 0. */
export function transmitChain(net: RawNet, ...buffers: Parameters<RawNet["tx"]["chain"]>[1][]): void {
  net.tx.offer(net.tx.chain(0, ...buffers));
}

/** Header and payload apart: two readable buffers. */
export function parts(net: RawNet): [{ addr: number; len: number }, { addr: number; len: number }] {
  net.packet(BUFFERS, []);
  net.put(MORE, PAYLOAD);
  return [{ addr: BUFFERS, len: 12 }, { addr: MORE, len: PAYLOAD.length }];
}

/** Writes an indirect table. */
export function table(net: RawNet, at: number, ...entries: Parameters<typeof writeDesc>[2][]): void {
  entries.forEach((entry, i) => writeDesc(net.memory.view, net.at(at) + 16 * i, entry));
}

/** A verdict of the strict profile, and that of the others. */
export const only = (strict: string, others: string = PASSES) => ({
  strict,
  linux: others,
  qemu: others,
  dpdk: others,
});
