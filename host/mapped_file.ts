/**
 * Files of another process as memory: mapped, measured, and taken away again without a trace.
 *
 * @module
 */
import { Memory } from "../core/memory.ts";
import { cString, libc, SystemError } from "./libc.ts";

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_NORESERVE = 0x4000;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 2;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
const STATX_SIZE = 256;
const STX_BLKSIZE = 4;
const STX_MODE = 28;
const STX_FILE_SIZE = 40;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const PAGE = 4096;
/** `MAP_FAILED` as the pointer value it is. */
const FAILED = 0xffff_ffff_ffff_ffffn;

const EMPTY = cString("");

/** A file is not what its sender said: too small, or no file at all. */
export class MappingError extends Error {
  /** Always `"MappingError"`. */
  override readonly name = "MappingError";
}

interface FileFacts {
  readonly size: number;
  readonly block: number;
  readonly regular: boolean;
}

function examine(fd: number): FileFacts {
  const bytes = new Uint8Array(STATX_SIZE);
  if (libc.statx(fd, EMPTY, AT_EMPTY_PATH, STATX_BASIC_STATS, bytes) < 0) {
    throw new SystemError("look at a descriptor");
  }
  const view = new DataView(bytes.buffer);
  return {
    size: Number(view.getBigUint64(STX_FILE_SIZE, true)),
    block: view.getUint32(STX_BLKSIZE, true),
    regular: (view.getUint16(STX_MODE, true) & S_IFMT) === S_IFREG,
  };
}

/**
 * Whether a descriptor is that of a regular file.
 *
 * @throws {SystemError} If it is none at all.
 */
export function isRegularFile(fd: number): boolean {
  return examine(fd).regular;
}

/** Some of the bytes of a {@linkcode MappedFile}. */
export interface MappedPart {
  /** Where they are. It starts at a page border. */
  readonly memory: Memory;
  /** Where the first of them stands in it. */
  readonly offset: number;
}

/**
 * Bytes of a file, shared with whoever else maps it. To map any number of them costs nothing; to look at them costs
 * milliseconds for each gigabyte, as the engine takes it for memory of its own and cleans up to make room.
 */
export class MappedFile implements Disposable {
  /** Whether the file is sealed against shrinking: if not, its owner can make any access here fatal. */
  readonly sealed: boolean;
  readonly #pointer: Deno.PointerObject;
  readonly #length: number;
  /** Where the first byte asked for stands in what is mapped. */
  readonly #first: number;
  readonly #size: number;
  readonly #views: Memory[] = [];
  #open = true;

  /**
   * Maps `size` bytes from `offset` of a file for reading and writing. The descriptor stays the caller's, who may
   * close it at once.
   *
   * @throws {MappingError} If the descriptor is no file, or the file ends before the last byte.
   * @throws {SystemError} If the kernel refuses.
   */
  constructor(fd: number, offset: number, size: number) {
    const file = examine(fd);
    if (!file.regular) throw new MappingError("Cannot map memory as the descriptor is not a file");
    if (!(size > 0) || !Number.isSafeInteger(offset + size) || offset + size > file.size) {
      throw new MappingError(
        `Cannot map memory as its file is too small: wanted ${offset}+${size}, has ${file.size}`,
      );
    }
    // Huge page files can only be mapped in their own page size, which they report as their block size.
    const unit = Math.max(PAGE, file.block);
    const start = Math.floor(offset / unit) * unit;
    this.#first = offset - start;
    this.#size = size;
    this.#length = Math.ceil((this.#first + size) / unit) * unit;
    const flags = MAP_SHARED | MAP_NORESERVE;
    const pointer = libc.mmap(null, BigInt(this.#length), PROT_READ_WRITE, flags, fd, BigInt(start));
    if (pointer === null || BigInt(Deno.UnsafePointer.value(pointer)) === FAILED) {
      throw new SystemError(`map ${this.#length} bytes of memory`);
    }
    this.#pointer = pointer;
    const seals = libc.fcntl(fd, F_GET_SEALS, 0);
    this.sealed = seals >= 0 && (seals & F_SEAL_SHRINK) !== 0;
  }

  /**
   * Looks at some of the bytes, by default at all.
   *
   * @param offset Where they start, from the first that was asked for.
   * @throws {RangeError} If they are not all mapped, or too many for one `Memory`.
   */
  part(offset = 0, size: number = this.#size): MappedPart {
    if (!(this.#open && offset >= 0 && size > 0 && offset + size <= this.#size)) {
      throw new RangeError(`Cannot look at ${offset}+${size} of ${this.#size} mapped bytes`);
    }
    const first = this.#first + offset;
    const inPage = first % PAGE;
    // The last page may reach behind the end of the file, where every access is fatal: it is not shown.
    const buffer = Deno.UnsafePointerView.getArrayBuffer(this.#pointer, inPage + size, first - inPage);
    const memory = new Memory(buffer);
    this.#views.push(memory);
    return { memory, offset: inPage };
  }

  /** Takes the memory away: its views become empty. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // An access through a view that is still around must find an empty buffer, not a hole in the address space.
    for (const { bytes } of this.#views) {
      const buffer = bytes.buffer as ArrayBuffer;
      structuredClone(buffer, { transfer: [buffer] });
    }
    libc.munmap(this.#pointer, BigInt(this.#length));
  }

  /** Takes it away at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Makes a nameless file of `size` bytes of zeros that can be passed to another process.
 *
 * @param size Its size in bytes.
 * @param seal Whether it can never shrink again.
 * @returns Its descriptor.
 * @throws {SystemError} If the kernel refuses.
 */
export function makeMemoryFile(size: number, seal = true): number {
  const fd = libc.memfd_create(cString("ringpipe"), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw new SystemError("make a memory file");
  if (libc.ftruncate(fd, BigInt(size)) < 0) throw new SystemError(`make a memory file of ${size} bytes`);
  if (seal && libc.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) throw new SystemError("seal a memory file");
  return fd;
}
