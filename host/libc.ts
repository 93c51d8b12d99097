/**
 * The C library, as far as serving a foreign peer needs it: sockets that pass descriptors, mappings, eventfds and
 * poll, none of which Deno offers. Everything that calls native code is in this directory, and only the other files
 * of this directory use this one.
 *
 * Importing it asks for `--allow-ffi`. It works on Linux alone: elsewhere every call throws.
 *
 * @module
 */

/** What is taken from the library. Sizes are those of 64-bit Linux; no structure here depends on the processor. */
const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  readlink: { parameters: ["buffer", "buffer", "usize"], result: "isize" },
  unlink: { parameters: ["buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32" },
  poll_blocking: {
    name: "poll",
    parameters: ["buffer", "u64", "i32"],
    result: "i32",
    nonblocking: true,
  },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  strerror: { parameters: ["i32"], result: "pointer" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions, callable. */
export type Libc = Deno.StaticForeignLibraryInterface<typeof SYMBOLS>;

function open(): Libc {
  if (Deno.build.os === "linux") return Deno.dlopen("libc.so.6", SYMBOLS).symbols;
  return new Proxy({} as Libc, {
    get: () => {
      throw new Deno.errors.NotSupported(`Cannot serve a foreign peer on ${Deno.build.os}: it takes Linux`);
    },
  });
}

/** The functions of the C library. */
export const libc: Libc = open();

/** Error numbers that callers tell apart. */
export const EAGAIN: number = 11;
/** A call was interrupted by a signal. */
export const EINTR: number = 4;
/** Nobody listens. */
export const ECONNREFUSED: number = 111;
/** The address is taken. */
export const EADDRINUSE: number = 98;

/** A call into the C library failed. */
export class SystemError extends Error {
  /** Always `"SystemError"`. */
  override readonly name = "SystemError";
  /** The error number. */
  readonly errno: number;

  /** Takes what was tried, and reads the reason unless it is given. */
  constructor(action: string, errno: number = lastErrno()) {
    super(`Cannot ${action}: ${describe(errno)}`);
    this.errno = errno;
  }
}

/** The number of the last error. It holds right after a failed call, not after a blocking one. */
export function lastErrno(): number {
  return new Deno.UnsafePointerView(libc.__errno_location()!).getInt32();
}

function describe(errno: number): string {
  const text = libc.strerror(errno);
  return text ? new Deno.UnsafePointerView(text).getCString() : `error ${errno}`;
}

/** A text as the C library takes it. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new TypeError(`Cannot use ${JSON.stringify(text)} as it contains a NUL`);
  return new TextEncoder().encode(`${text}\0`);
}

/** The address of a buffer's first byte, for structures that point at one. The buffer must outlive its use. */
export function addressOf(buffer: Uint8Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer)));
}

/** Closes a descriptor. */
export function closeDescriptor(fd: number): void {
  libc.close(fd);
}
