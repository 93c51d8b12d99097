/** A backend that writes raw bytes: what a test wants to provoke, and nothing else. */
import { AddressSpace } from "../../core/address_space.ts";
import { ManualClock } from "../../core/clock.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import { type OptionValue, OptionValues } from "../../core/options.ts";
import plugin, {
  BACKEND_PATH,
  type BackendFeatures,
  createVif,
  FRONTEND_PATH,
  frontendOptions,
  grant_entry_v1,
  netif_rx_request,
  netif_tx_request,
  sring_header,
  writeBackendFeatures,
  writeState,
  xen_netif_ctrl_request,
  XenbusState,
  XenDriver,
  XenStore,
} from "../../plugins/xen/mod.ts";
import { type RingName, ringRef } from "./pair.ts";

const SLOT = { tx: netif_tx_request.size, rx: netif_rx_request.size, ctrl: xen_netif_ctrl_request.size };

/** A driver that is alone with raw bytes. */
export class RawBackend {
  readonly memory = new Memory(16 * 1024 * 1024);
  readonly store = new XenStore();
  readonly clock = new ManualClock();
  readonly driver: XenDriver;
  /** Frames that the driver received. */
  readonly frames: Uint8Array[] = [];
  /** Ports at which the driver finds an event. */
  readonly pending = new Set<number>();
  #parts: number[] = [];

  constructor(options: Readonly<Record<string, OptionValue>> = {}, features: Partial<BackendFeatures> = {}) {
    const space = new AddressSpace();
    const dma = new DmaMemory(space, this.memory, 0, this.memory.size, 0);
    createVif(this.store);
    let port = 1;
    this.driver = new XenDriver({
      dma,
      store: this.store,
      path: FRONTEND_PATH,
      events: {
        allocate: () => port++,
        bind: (remote) => remote,
        send: () => {},
        take: (wanted) => this.pending.delete(wanted),
        close: () => {},
      },
      clock: this.clock,
      options: frontendOptions(new OptionValues(plugin.options, options)),
    });
    writeBackendFeatures(this.store, BACKEND_PATH, {
      maxQueues: 1,
      sg: true,
      gso: true,
      splitEventChannels: true,
      multicastControl: false,
      controlRing: true,
      ...features,
    });
    writeState(this.store, BACKEND_PATH, XenbusState.InitWait);
    this.driver.connect();
    writeState(this.store, BACKEND_PATH, XenbusState.Connected);
    this.driver.connect();
  }

  /** Where a ring page starts. */
  ring(name: RingName): number {
    const entry = this.#entry(ringRef(this.store, name));
    return this.memory.view.getUint32(entry + grant_entry_v1.offsetOf("frame"), true) * 4096;
  }

  #entry(ref: number): number {
    return this.driver.grants.address + ref * grant_entry_v1.size;
  }

  /** Where a slot starts. */
  slot(name: RingName, index: number): number {
    const size = name === "ctrl" ? 128 : 256;
    return this.ring(name) + sring_header.size + (index % size) * SLOT[name];
  }

  /** Writes bytes over a slot. */
  write(name: RingName, index: number, bytes: Uint8Array): void {
    this.memory.bytes.set(bytes, this.slot(name, index));
  }

  /** Sets the response index. */
  publish(name: RingName, index: number): void {
    this.memory.view.setUint32(this.ring(name) + sring_header.offsetOf("rsp_prod"), index, true);
  }

  /** A header word of a ring. */
  word(name: RingName, word: string): number {
    return this.memory.view.getUint32(this.ring(name) + sring_header.offsetOf(word), true);
  }

  /** The page posted in a receive slot. */
  posted(index: number): Uint8Array {
    const at = this.slot("rx", index) + netif_rx_request.offsetOf("gref");
    const ref = this.memory.view.getUint32(at, true);
    const frame = this.memory.view.getUint32(this.#entry(ref) + grant_entry_v1.offsetOf("frame"), true);
    return this.memory.bytes.subarray(frame * 4096, frame * 4096 + 4096);
  }

  /** Sets bits in the flags of an entry. */
  mark(ref: number, bits: number): void {
    const at = this.#entry(ref) + grant_entry_v1.offsetOf("flags");
    this.memory.view.setUint16(at, this.memory.view.getUint16(at, true) | bits, true);
  }

  /** Sends a frame of so many bytes, each its own number. */
  send(length: number): number {
    const result = this.driver.transmit(Uint8Array.from({ length }, (_, i) => i), 0, length, 0);
    this.driver.flush();
    return result;
  }

  /** Lets the driver look at its rings. */
  receive(): number {
    return this.driver.receive({
      piece: (_queue, bytes, offset, length, more) => {
        for (const byte of bytes.subarray(offset, offset + length)) this.#parts.push(byte);
        if (more) return;
        this.frames.push(Uint8Array.from(this.#parts));
        this.#parts = [];
      },
    });
  }
}
