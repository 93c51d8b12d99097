/**
 * A split ring as nothing but bytes: tests write and read it without any code of the plugin's halves, so the offsets
 * stand here as virtio 1.4, 2.7 prints them.
 *
 * @module
 */

/** The chain goes on. */
export const NEXT = 1;
/** The device writes. */
export const WRITE = 2;
/** A table of descriptors. */
export const INDIRECT = 4;

/** A descriptor as it lies in memory. */
export interface Desc {
  /** Address of the buffer. */
  readonly addr: number | bigint;
  /** Its length. */
  readonly len: number;
  /** {@linkcode NEXT}, {@linkcode WRITE}, {@linkcode INDIRECT}. */
  readonly flags?: number;
  /** Next descriptor. */
  readonly next?: number;
}

/** Writes a descriptor at an offset. */
export function writeDesc(view: DataView, at: number, { addr, len, flags = 0, next = 0 }: Desc): void {
  view.setBigUint64(at, BigInt(addr), true);
  view.setUint32(at + 8, len, true);
  view.setUint16(at + 12, flags, true);
  view.setUint16(at + 14, next, true);
}

/** One ring, for whichever side a test plays. */
export class RawRing {
  /** The memory it lies in. */
  readonly view: DataView;
  /** Number of entries. */
  readonly size: number;
  /** Offset of the descriptor table. */
  readonly desc: number;
  /** Offset of the available ring. */
  readonly avail: number;
  /** Offset of the used ring. */
  readonly used: number;

  constructor(view: DataView, size: number, desc: number, avail: number, used: number) {
    this.view = view;
    this.size = size;
    this.desc = desc;
    this.avail = avail;
    this.used = used;
  }

  /** Writes a descriptor of the table. */
  setDesc(index: number, desc: Desc): void {
    writeDesc(this.view, this.desc + 16 * index, desc);
  }

  /** Reads a descriptor of the table. */
  getDesc(index: number): Required<Desc> & { readonly addr: number } {
    const at = this.desc + 16 * index;
    return {
      addr: Number(this.view.getBigUint64(at, true)),
      len: this.view.getUint32(at + 8, true),
      flags: this.view.getUint16(at + 12, true),
      next: this.view.getUint16(at + 14, true),
    };
  }

  /** Writes descriptors from `first` on, each linked to the following one, and returns the head. */
  chain(first: number, ...buffers: readonly Desc[]): number {
    buffers.forEach((buffer, i) => {
      const more = i < buffers.length - 1;
      this.setDesc(first + i, {
        ...buffer,
        flags: (buffer.flags ?? 0) | (more ? NEXT : 0),
        next: more ? first + i + 1 : 0,
      });
    });
    return first;
  }

  /** Makes chains available, one index step each. */
  offer(...heads: readonly number[]): void {
    for (const head of heads) {
      const idx = this.availIdx;
      this.view.setUint16(this.avail + 4 + 2 * (idx % this.size), head, true);
      this.availIdx = (idx + 1) & 0xffff;
    }
  }

  /** Gives a chain back, as a device does. */
  use(id: number, len: number): void {
    const idx = this.usedIdx;
    const at = this.used + 4 + 8 * (idx % this.size);
    this.view.setUint32(at, id, true);
    this.view.setUint32(at + 4, len, true);
    this.usedIdx = (idx + 1) & 0xffff;
  }

  /** The used element in a slot: id and length. */
  usedElem(slot: number): [id: number, len: number] {
    const at = this.used + 4 + 8 * slot;
    return [this.view.getUint32(at, true), this.view.getUint32(at + 4, true)];
  }

  /** The head in a slot of the available ring. */
  availHead(slot: number): number {
    return this.view.getUint16(this.avail + 4 + 2 * slot, true);
  }

  get availFlags(): number {
    return this.view.getUint16(this.avail, true);
  }
  set availFlags(value: number) {
    this.view.setUint16(this.avail, value, true);
  }
  get availIdx(): number {
    return this.view.getUint16(this.avail + 2, true);
  }
  set availIdx(value: number) {
    this.view.setUint16(this.avail + 2, value, true);
  }
  get usedEvent(): number {
    return this.view.getUint16(this.avail + 4 + 2 * this.size, true);
  }
  set usedEvent(value: number) {
    this.view.setUint16(this.avail + 4 + 2 * this.size, value, true);
  }
  get usedFlags(): number {
    return this.view.getUint16(this.used, true);
  }
  set usedFlags(value: number) {
    this.view.setUint16(this.used, value, true);
  }
  get usedIdx(): number {
    return this.view.getUint16(this.used + 2, true);
  }
  set usedIdx(value: number) {
    this.view.setUint16(this.used + 2, value, true);
  }
  get availEvent(): number {
    return this.view.getUint16(this.used + 4 + 8 * this.size, true);
  }
  set availEvent(value: number) {
    this.view.setUint16(this.used + 4 + 8 * this.size, value, true);
  }
}
