/**
 * A ring of one's own, the smallest that is complete. Each direction has a few slots in memory. A slot belongs to
 * the driver or to the device; who has done its part hands it over by writing `owner`.
 *
 *     ringpipe run --plugin ./examples/mailbox.ts -b mailbox in.pcap -w out.pcap --stats
 *
 * @module
 */
import * as rp from "@ringpipe/ringpipe";

/** The one structure: offsets, decoder and help come from here. */
export const mailbox_slot: rp.Struct = rp.struct("mailbox_slot", {
  summary: "Hands one buffer over",
  source: "examples/mailbox.ts",
  fields: [
    rp.u64("address", "Where the buffer is"),
    rp.u32("length", "Bytes of the frame; in an empty receive slot: of the buffer"),
    rp.u32("owner", "Who may touch slot and buffer", { values: { DRIVER: 0, DEVICE: 1 } }),
  ],
});
const ADDRESS = mailbox_slot.offsetOf("address");
const LENGTH = mailbox_slot.offsetOf("length");
const OWNER = mailbox_slot.offsetOf("owner");
const { DRIVER, DEVICE } = mailbox_slot.field("owner").values as { DRIVER: number; DEVICE: number };
const CAPACITY = 262144; // of every buffer, and so the longest frame

/** The driver owns the memory: it lays out slots and buffers, transmit slots first, then receive slots. */
class MailboxDriver implements rp.DriverHalf {
  readonly ring: rp.Allocation;
  readonly #buffers: rp.Allocation[];
  readonly #memory: rp.Memory;
  #tx = 0;
  #rx = 0;
  #fault?: rp.RingFault;
  constructor({ dma }: rp.Host, readonly slots: number) {
    this.#memory = dma.memory;
    this.ring = dma.allocate(2 * slots * mailbox_slot.size, 16);
    this.#buffers = Array.from({ length: 2 * slots }, () => dma.allocate(CAPACITY, 64));
    for (let slot = slots; slot < 2 * slots; slot++) this.#handOver(slot, CAPACITY);
  }

  transmit(bytes: Uint8Array, offset: number, length: number): number {
    const slot = this.#tx % this.slots;
    if (length > CAPACITY) return rp.OVERSIZE;
    if (!this.#isMine(slot)) return rp.FULL;
    this.#memory.copyFrom(this.#buffers[slot]!.offset, bytes, offset, length);
    this.#handOver(slot, length);
    this.#tx++;
    return 0; // the only transmit queue
  }

  flush(): void {} // the owner field has published the slot already, and this device needs no bell

  receive(sink: rp.FrameSink): number {
    if (this.#fault) throw this.#fault; // a ring with a fault stays stopped
    for (let moved = 0;; moved++) {
      const slot = this.slots + this.#rx % this.slots;
      if (!this.#isMine(slot)) return moved;
      const size = this.#memory.view.getUint32(this.#at(slot) + LENGTH, true); // read once, then checked
      if (size > CAPACITY) throw this.#fault = new rp.RingFault("driver", "rx", "bad-length", slot, { size });
      sink.piece(0, this.#memory.bytes, this.#buffers[slot]!.offset, size, false);
      this.#handOver(slot, CAPACITY);
      this.#rx++;
    }
  }

  counters = (): rp.Counters => ({ "tx.slots": this.#tx });
  inspect = (): Record<string, unknown> => ({ tx: this.#tx, rx: this.#rx });
  #at = (slot: number): number => this.ring.offset + slot * mailbox_slot.size;
  #isMine = (slot: number): boolean => this.#memory.view.getUint32(this.#at(slot) + OWNER, true) === DRIVER;
  #handOver(slot: number, length: number): void {
    this.#memory.view.setBigUint64(this.#at(slot) + ADDRESS, BigInt(this.#buffers[slot]!.address), true);
    this.#memory.view.setUint32(this.#at(slot) + LENGTH, length, true);
    this.#memory.view.setUint32(this.#at(slot) + OWNER, DEVICE, true);
  }
}

/** The device knows an address space and where in it the slots are: nothing else of the driver's. */
class MailboxDevice implements rp.DeviceHalf {
  readonly #ring: rp.Region;
  readonly #frame = new rp.Frame();
  #buffer = rp.NO_REGION;
  #offset = 0;
  #tx = 0;
  #rx = 0;
  #fault?: rp.RingFault;
  constructor(readonly space: rp.AddressSpace, readonly start: number, readonly slots: number) {
    this.#ring = space.contiguous(start, 2 * slots * mailbox_slot.size, rp.READ_WRITE) ?? rp.NO_REGION;
  }

  service(wire: rp.Wire): number {
    for (let moved = 0;; moved++) {
      const slot = this.#tx % this.slots;
      const length = this.#open(slot, rp.READ);
      if (length < 0) return moved;
      this.#frame.set(this.#buffer.memory.bytes, this.#offset, length);
      if (!wire.transmit(this.#frame, 0)) return moved; // not now: the slot stays the device's
      this.#ring.memory.view.setUint32(this.#at(slot) + OWNER, DRIVER, true);
      this.#tx++;
    }
  }

  deliver(frame: rp.Frame): number {
    const slot = this.slots + this.#rx % this.slots;
    const capacity = this.#open(slot, rp.WRITE);
    if (capacity < 0) return rp.NO_BUFFERS;
    if (frame.length > capacity) return rp.OVERSIZE;
    frame.copyTo(this.#buffer.memory, this.#offset, 0, frame.length);
    this.#ring.memory.view.setUint32(this.#at(slot) + LENGTH, frame.length, true);
    this.#ring.memory.view.setUint32(this.#at(slot) + OWNER, DRIVER, true);
    this.#rx++;
    return 0; // the only receive queue
  }

  counters = (): rp.Counters => ({});
  inspect = (): Record<string, unknown> => ({ tx: this.#tx, rx: this.#rx });
  #at = (slot: number): number => this.start + this.#ring.delta + slot * mailbox_slot.size;

  /** Finds the buffer of a slot: its length, or -1 if the slot is the driver's. */
  #open(slot: number, access: rp.Access): number {
    if (this.#fault) throw this.#fault;
    const { view } = this.#ring.memory;
    if (view.getUint32(this.#at(slot) + OWNER, true) !== DEVICE) return -1;
    const length = view.getUint32(this.#at(slot) + LENGTH, true);
    const address = Number(view.getBigUint64(this.#at(slot) + ADDRESS, true));
    this.#buffer = this.space.find(address, access) ?? rp.NO_REGION;
    this.#offset = address + this.#buffer.delta;
    if (this.#buffer.holds(address, length)) return length;
    throw this.#fault = new rp.RingFault("device", "mailbox", "bad-address", slot, { address, length });
  }
}

const plugin: rp.Plugin = {
  api: 1,
  name: "mailbox",
  summary: "A few slots each way, handed over by an owner field",
  options: [{ type: "integer", name: "slots", meaning: "slots each way", default: 2, min: 1, max: 64 }],
  counters: [{ name: "tx.slots", meaning: "Frames that the driver has put into slots" }],
  structures: [mailbox_slot],
  faults: [
    { code: "bad-address", half: "device", meaning: "A buffer is not mapped, or not to its end" },
    { code: "bad-length", half: "driver", meaning: "A received frame is longer than its buffer" },
  ],
  open(options, host) {
    const driver = new MailboxDriver(host, options.integer("slots"));
    return { driver, device: new MailboxDevice(host.space, driver.ring.address, driver.slots), batch: 2 };
  },
};
export default plugin;
