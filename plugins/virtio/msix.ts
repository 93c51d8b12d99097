/**
 * MSI-X on the device's side: a table of messages, and a pending bit for each message that is masked.
 *
 * A vector is an entry of the table: an address, and the data that the device writes there to interrupt.
 *
 * @module
 */
import { pci_msix_cap, pci_msix_entry } from "./pci_layout.ts";

/** What an event is mapped to that interrupts nobody. */
export const VIRTIO_MSI_NO_VECTOR: number = 0xffff;
/** Most vectors that virtio uses: 4.1.5.1.2. */
export const MOST_VECTORS: number = 0x800;
/** The message control register within the capability. */
export const MSIX_CONTROL: number = pci_msix_cap.offsetOf("enable");

const CAP_ID = pci_msix_cap.offsetOf("cap_id");
const TABLE = pci_msix_cap.offsetOf("table_bir");
const PENDING = pci_msix_cap.offsetOf("pba_bir");
const ENABLE = pci_msix_cap.maskOf("enable");
const FUNCTION_MASK = pci_msix_cap.maskOf("function_mask");
/** Bits of the message control register that the driver writes. */
export const MSIX_WRITABLE: number = ENABLE | FUNCTION_MASK;

const LOWER_ADDR = pci_msix_entry.offsetOf("lower_addr");
const UPPER_ADDR = pci_msix_entry.offsetOf("upper_addr");
const ENTRY_SIZE = pci_msix_entry.size;
const DATA = pci_msix_entry.offsetOf("data");
const VECTOR_CTRL = pci_msix_entry.offsetOf("vector_ctrl");
const MASKBIT = pci_msix_entry.field("vector_ctrl").flags!.MASKBIT!;
const BITS = 32;
const HIGH = 2 ** 32;

/** Takes a message: what is written, and where. */
export type MessageTaker = (data: number, address: number) => void;

/** See the module. */
export class MsixTable {
  /** How many vectors there are. */
  readonly vectors: number;
  /** Bytes of the table. */
  readonly size: number;
  /** Bytes of the pending bits: whole 64-bit words. */
  readonly pendingSize: number;
  /** Whether the driver has turned MSI-X on. */
  enabled = false;
  #masked = false;
  readonly #view: DataView;
  readonly #pending: Uint32Array;
  readonly #deliver: MessageTaker;

  /**
   * Makes a table whose vectors are all masked, as after a reset of the bus.
   *
   * @param vectors How many, 1..2048.
   * @param deliver Takes the messages.
   */
  constructor(vectors: number, deliver: MessageTaker) {
    this.vectors = vectors;
    this.size = vectors * ENTRY_SIZE;
    this.pendingSize = Math.ceil(vectors / 64) * 8;
    this.#view = new DataView(new ArrayBuffer(this.size));
    this.#pending = new Uint32Array(this.pendingSize / 4);
    this.#deliver = deliver;
    for (let at = VECTOR_CTRL; at < this.size; at += ENTRY_SIZE) this.#view.setUint32(at, MASKBIT, true);
  }

  /**
   * The capability's bytes.
   *
   * @param id Its number.
   * @param bar BAR of the table and the pending bits.
   * @param table Where in it the table starts: a multiple of 8.
   * @param pending Where the pending bits start: likewise.
   */
  capability(id: number, bar: number, table: number, pending: number): Uint8Array {
    const view = new DataView(new ArrayBuffer(pci_msix_cap.size));
    view.setUint8(CAP_ID, id);
    view.setUint16(MSIX_CONTROL, this.vectors - 1, true);
    // The low bits of an offset, which are 0, are the BAR's place.
    view.setUint32(TABLE, table | bar, true);
    view.setUint32(PENDING, pending | bar, true);
    return new Uint8Array(view.buffer);
  }

  /** Takes over what the driver wrote to the message control register. */
  setControl(control: number): void {
    this.enabled = (control & ENABLE) !== 0;
    this.#masked = (control & FUNCTION_MASK) !== 0;
    this.#release();
  }

  /** What reading 4 aligned bytes of the table gives; other accesses are undefined by PCI, and read as all ones. */
  read(offset: number, width: number): number {
    if (width !== 4 || offset % 4 !== 0) return 2 ** (8 * width) - 1;
    return this.#view.getUint32(offset, true);
  }

  /** Writes 4 aligned bytes of the table; other accesses are ignored. */
  write(offset: number, width: number, value: number): void {
    if (width !== 4 || offset % 4 !== 0) return;
    const control = offset % ENTRY_SIZE === VECTOR_CTRL;
    this.#view.setUint32(offset, control ? value & MASKBIT : value, true);
    if (control) this.#release();
  }

  /** Reads 4 aligned pending bits' bytes. */
  readPending(offset: number, width: number): number {
    return width === 4 && offset % 4 === 0 ? this.#pending[offset / 4]! : 2 ** (8 * width) - 1;
  }

  /** Forgets messages that wait. */
  clear(): void {
    this.#pending.fill(0);
  }

  /** Sends the message of a vector, now or when it is no longer masked. */
  send(vector: number): void {
    if (vector >= this.vectors) return;
    if (this.#isMasked(vector)) {
      this.#pending[Math.floor(vector / BITS)]! |= 1 << vector % BITS;
      return;
    }
    const at = vector * ENTRY_SIZE;
    const address = this.#view.getUint32(at + UPPER_ADDR, true) * HIGH +
      this.#view.getUint32(at + LOWER_ADDR, true);
    this.#deliver(this.#view.getUint32(at + DATA, true), address);
  }

  #isMasked(vector: number): boolean {
    return this.#masked || (this.#view.getUint32(vector * ENTRY_SIZE + VECTOR_CTRL, true) & MASKBIT) !== 0;
  }

  /** Sends what waits and is not masked any more. */
  #release(): void {
    if (!this.enabled) return;
    for (let word = 0; word < this.#pending.length; word++) {
      for (let bit = 0; this.#pending[word]! >>> bit !== 0 && bit < BITS; bit++) {
        const vector = word * BITS + bit;
        if ((this.#pending[word]! >>> bit & 1) === 0 || this.#isMasked(vector)) continue;
        this.#pending[word]! &= ~(1 << bit);
        this.send(vector);
      }
    }
  }
}
