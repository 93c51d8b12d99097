/**
 * The tables that the vhost-vdpa face keeps of what its user has mapped, one per address space, and the messages that
 * change them.
 *
 * These are not the device's tables: a reset may clean the device's, while these live until the face is closed.
 *
 * @module
 */
import type { Counters } from "../../core/counters.ts";
import type { VdpaConfigOps } from "./config_ops.ts";
import { ERRNO } from "./ioctls.ts";
import { Iotlb, type IotlbEntry, LAST_ADDRESS, pagesOf, rangeSize } from "./iotlb.ts";
import { VHOST_IOTLB } from "./layout.ts";
import type { ProcessMemory } from "./process_memory.ts";

const SPACE = 1n << 64n;
/** A page of the kernel, which pins whole ones. A larger page is pinned as so many of these. */
const PINNED_PAGE = 4096n;

/** One message, taken out of its bytes. */
export interface IotlbMessage {
  /** First address as the device sees it. */
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** First address as the process sees it. */
  readonly uaddr: bigint;
  /** What the device may do. */
  readonly perm: number;
  /** `VHOST_IOTLB`. */
  readonly type: number;
}

/** What a kernel that pins pages makes of a range: as many whole pages as its device addresses touch. */
function wholePages({ iova, size, uaddr }: IotlbMessage): Pick<IotlbMessage, "iova" | "size" | "uaddr"> {
  const before = iova % PINNED_PAGE;
  const pages = (before + size + PINNED_PAGE - 1n) / PINNED_PAGE;
  return { iova: iova - before, size: pages * PINNED_PAGE, uaddr: uaddr - uaddr % PINNED_PAGE };
}

/** What was changed in one address space. */
class SpaceCounters {
  maps = 0;
  unmaps = 0;
  pagesMapped = 0;
  pagesUnmapped = 0;
  bytesMapped = 0;
}

/** See the module. */
export class VhostTables {
  /** Messages handled. */
  messages = 0;
  /** Batches begun. */
  batches = 0;
  readonly #ops: VdpaConfigOps;
  readonly #process: ProcessMemory;
  readonly #pageSize: number;
  readonly #tables: Map<number, Iotlb> = new Map();
  readonly #counters: Map<number, SpaceCounters> = new Map([0, 1].map((asid) => [asid, new SpaceCounters()]));
  #batchAsid = -1;

  /** Makes tables for a device; none exists before its first mapping. */
  constructor(ops: VdpaConfigOps, process: ProcessMemory, pageSize: number) {
    this.#ops = ops;
    this.#process = process;
    this.#pageSize = pageSize;
  }

  /** The table of an address space, if anything was ever mapped there. */
  table(asid: number): Iotlb | undefined {
    return this.#tables.get(asid);
  }

  /** Carries out a message. Returns 0 or a negative error number, which a writer of messages does not get to see. */
  handle(asid: number, message: IotlbMessage): number {
    this.messages++;
    const { type, iova, size } = message;
    if (type === VHOST_IOTLB.UPDATE || type === VHOST_IOTLB.BATCH_BEGIN) this.#create(asid);
    const table = this.#tables.get(asid);
    if (!table || (this.#batchAsid >= 0 && this.#batchAsid !== asid)) return -ERRNO.EINVAL;
    switch (type) {
      case VHOST_IOTLB.UPDATE:
        return this.#update(asid, table, message);
      case VHOST_IOTLB.INVALIDATE:
        // What the kernel computes with a size of 0 wraps, and finds what stands around the address.
        this.#remove(asid, table, iova, (iova + size - 1n + SPACE) % SPACE);
        return 0;
      case VHOST_IOTLB.BATCH_BEGIN:
        this.batches++;
        this.#batchAsid = asid;
        return 0;
      case VHOST_IOTLB.BATCH_END:
        if (this.#batchAsid >= 0) this.#ops.set_map?.(asid, table.entries);
        this.#batchAsid = -1;
        return 0;
      default:
        return -ERRNO.EINVAL;
    }
  }

  #create(asid: number): void {
    if (asid >= this.#ops.nas || this.#tables.has(asid)) return;
    this.#tables.set(asid, new Iotlb());
    if (!this.#counters.has(asid)) this.#counters.set(asid, new SpaceCounters());
  }

  #update(asid: number, table: Iotlb, message: IotlbMessage): number {
    const { iova, size, perm } = message;
    const { first, last } = this.#ops.get_iova_range?.() ?? { first: 0n, last: LAST_ADDRESS };
    const end = iova + size - 1n;
    if (size === 0n || iova < first || end > LAST_ADDRESS || end > last) return -ERRNO.EINVAL;
    if (table.overlaps(iova, end)) return -ERRNO.EEXIST;
    const range = this.#ops.use_va ? message : wholePages(message);
    const pieces = this.#process.pin(range.uaddr, range.size);
    if (!pieces) return -ERRNO.EFAULT;
    for (const piece of pieces) {
      const start = range.iova + piece.start - range.uaddr;
      const entry = { start, last: start + rangeSize(piece.start, piece.last) - 1n, addr: piece.start, perm };
      const result = this.#add(asid, table, entry);
      if (result < 0) {
        this.#remove(asid, table, iova, end);
        return result;
      }
    }
    return 0;
  }

  #add(asid: number, table: Iotlb, { start, last, addr, perm }: IotlbEntry): number {
    const refused = table.add(start, last, addr, perm);
    if (refused) return -ERRNO[refused];
    const counters = this.#counters.get(asid)!;
    counters.maps++;
    counters.pagesMapped += pagesOf(start, last, this.#pageSize);
    counters.bytesMapped += Number(rangeSize(start, last));
    if (this.#ops.dma_map) return this.#ops.dma_map(asid, start, rangeSize(start, last), addr, perm);
    return this.#batchAsid >= 0 ? 0 : this.#ops.set_map?.(asid, table.entries) ?? 0;
  }

  /** Removes every entry that the range touches, whole. */
  #remove(asid: number, table: Iotlb, start: bigint, last: bigint): void {
    const counters = this.#counters.get(asid)!;
    for (const entry of table.remove(start, last)) {
      counters.unmaps++;
      counters.pagesUnmapped += pagesOf(entry.start, entry.last, this.#pageSize);
      this.#ops.dma_unmap?.(asid, entry.start, rangeSize(entry.start, entry.last));
    }
    if (this.#batchAsid < 0) this.#ops.set_map?.(asid, table.entries);
  }

  /** Removes everything, as closing the file does. */
  close(): void {
    this.#batchAsid = -1;
    for (const [asid, table] of this.#tables) {
      this.#remove(asid, table, 0n, LAST_ADDRESS);
      this.#ops.reset_map?.(asid);
    }
    this.#tables.clear();
  }

  /** Counters, documented in `counters.ts`. */
  counters(): Counters {
    const result: Counters = { "iotlb.messages": this.messages, "iotlb.batches": this.batches };
    for (const [asid, counters] of this.#counters) {
      result[`as${asid}.maps`] = counters.maps;
      result[`as${asid}.unmaps`] = counters.unmaps;
      result[`as${asid}.pages.mapped`] = counters.pagesMapped;
      result[`as${asid}.pages.unmapped`] = counters.pagesUnmapped;
      result[`as${asid}.bytes.mapped`] = counters.bytesMapped;
    }
    return result;
  }
}
