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

/** Bytes of a file, shared with whoever else maps it. */
export class MappedFile implements Disposable {
  /** The mapping. It starts at a page border, so the bytes asked for stand at {@linkcode offset}. */
  readonly memory: Memory;
  /** Where the first byte asked for stands in `memory`. */
  readonly offset: number;
  /** Whether the file is sealed against shrinking: if not, its owner can make any access here fatal. */
  readonly sealed: boolean;
  readonly #pointer: Deno.PointerValue;
  readonly #length: number;
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
    this.#length = Math.ceil((offset + size - start) / unit) * unit;
    const flags = MAP_SHARED | MAP_NORESERVE;
    const pointer = libc.mmap(null, BigInt(this.#length), PROT_READ_WRITE, flags, fd, BigInt(start));
    if (pointer === null || BigInt(Deno.UnsafePointer.value(pointer)) === FAILED) {
      throw new SystemError(`map ${this.#length} bytes of memory`);
    }
    this.#pointer = pointer;
    this.offset = offset - start;
    try {
      // The last page may reach behind the end of the file, where every access is fatal: it is not shown.
      this.memory = new Memory(Deno.UnsafePointerView.getArrayBuffer(pointer, this.offset + size));
    } catch (error) {
      libc.munmap(pointer, BigInt(this.#length));
      if (error instanceof RangeError) {
        throw new MappingError(`Cannot map memory as ${size} bytes in one piece are too many`);
      }
      throw error;
    }
    const seals = libc.fcntl(fd, F_GET_SEALS, 0);
    this.sealed = seals >= 0 && (seals & F_SEAL_SHRINK) !== 0;
  }

  /** Takes the memory away: its views become empty. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // An access through a view that is still around must find an empty buffer, not a hole in the address space.
    const buffer = this.memory.bytes.buffer as ArrayBuffer;
    structuredClone(buffer, { transfer: [buffer] });
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
