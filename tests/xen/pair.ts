/** Both halves over memory of their own, with all that stands between them open to tests. */
import type { Frame } from "../../core/frame.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { LocalHost } from "../../core/host.ts";
import type { Memory } from "../../core/memory.ts";
import { type OptionValue, OptionValues } from "../../core/options.ts";
import type { Wire } from "../../core/plugin.ts";
import { grant_entry_v1, grant_entry_v2_full_page } from "../../plugins/xen/grant_layout.ts";
import plugin, {
  FRONTEND_PATH,
  openXenPair,
  readNumber,
  type XenPair,
  type XenStore,
} from "../../plugins/xen/mod.ts";

export interface TestPair extends XenPair {
  readonly host: LocalHost;
  /** Reasons of the frames that the device dropped. */
  readonly dropped: string[];
  /** Loops back; what `refuse` says is not taken. */
  readonly wire: Wire & { refuse: boolean };
  /** Offset in the host's memory of the page that a reference grants. */
  page(ref: number): number;
  /** Offset of a ring page. */
  ring(name: RingName): number;
  /** A copy of a ring page. */
  ringBytes(name: RingName): Uint8Array;
  /** Takes what was received, as copies. */
  receive(): Uint8Array[];
  /** Sends a frame and publishes it: the queue, or why not. */
  send(frame: Uint8Array): number;
}

/** The frame that an entry of a grant table names. */
export function grantedFrame(memory: Memory, table: number, version: 1 | 2, ref: number): number {
  const entry = version === 1 ? grant_entry_v1 : grant_entry_v2_full_page;
  return Number(entry.decode(memory.bytes, table + ref * entry.size, entry.size).frame);
}

export type RingName = "tx" | "rx" | "ctrl";
const KEYS: Readonly<Record<RingName, string>> = {
  tx: "tx-ring-ref",
  rx: "rx-ring-ref",
  ctrl: "ctrl-ring-ref",
};

/** Opens a pair with the given options. */
export function openPair(options: Readonly<Record<string, OptionValue>> = {}): TestPair {
  const host = new LocalHost({ captureSize: 1 << 20, privateSize: 1 << 20 });
  const pair = openXenPair(new OptionValues(plugin.options, options), host);
  const { driver, device, store } = pair;
  const dropped: string[] = [];
  const delta = host.dma.region.delta;
  const page = (ref: number): number => {
    return grantedFrame(host.memory, driver.grants.address + delta, driver.grants.version, ref) * 4096 +
      delta;
  };
  const ring = (name: RingName) => page(ringRef(store, name));
  return {
    ...pair,
    host,
    dropped,
    wire: {
      refuse: false,
      transmit(frame: Frame) {
        return !this.refuse && device.deliver(frame) >= 0;
      },
      transmitBatch(frames: FrameBatch) {
        return this.refuse ? 0 : device.deliverBatch(frames, 0);
      },
      drop: (_queue, reason) => void dropped.push(reason),
    },
    page,
    ring,
    ringBytes: (name) => host.memory.bytes.slice(ring(name), ring(name) + 4096),
    receive() {
      const frames: Uint8Array[] = [];
      let parts: number[] = [];
      driver.receive({
        piece(_queue, bytes, offset, length, more) {
          for (const byte of bytes.subarray(offset, offset + length)) parts.push(byte);
          if (more) return;
          frames.push(Uint8Array.from(parts));
          parts = [];
        },
      });
      return frames;
    },
    send(frame) {
      const result = driver.transmit(frame, 0, frame.length, 0);
      driver.flush();
      return result;
    },
  };
}

/** The reference of a ring page of a frontend with one queue. */
export function ringRef(store: XenStore, name: RingName): number {
  const ref = readNumber(store, `${FRONTEND_PATH}/${KEYS[name]}`);
  if (ref === undefined) throw new Error(`There is no ${name} ring`);
  return ref;
}
