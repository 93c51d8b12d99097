/**
 * Event descriptors: how a driver kicks a device in another process, and how the device calls back.
 *
 * @module
 */
import { cString, EAGAIN, lastErrno, libc, SystemError } from "./libc.ts";

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const WIDTH = 8n;

const one = new Uint8Array(8);
one[0] = 1;
const scratch = new Uint8Array(8);
const link = new Uint8Array(64);

/** Whether a descriptor is an eventfd, which /proc tells even of one that came from elsewhere. */
function isEventFd(fd: number): boolean {
  const length = Number(libc.readlink(cString(`/proc/self/fd/${fd}`), link, BigInt(link.length)));
  return length > 0 && new TextDecoder().decode(link.subarray(0, length)) === "anon_inode:[eventfd]";
}

/** A counter in the kernel that one side raises and the other waits for. */
export class EventFd implements Disposable {
  /** The descriptor. */
  readonly fd: number;
  #open = true;

  /**
   * Makes one, or takes over one that came from elsewhere.
   *
   * One that came from elsewhere is made non-blocking: its owner could otherwise fill the counter, or empty it between
   * our poll and our read, and hold this process for ever.
   *
   * @param fd The descriptor to own; it stays the caller's if this throws.
   * @throws {TypeError} If it is not an eventfd.
   * @throws {SystemError} If the kernel refuses.
   */
  constructor(fd?: number) {
    if (fd === undefined) {
      this.fd = libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
      if (this.fd < 0) throw new SystemError("make an eventfd");
      return;
    }
    if (!isEventFd(fd)) throw new TypeError(`Descriptor ${fd} is not an eventfd`);
    const flags = libc.fcntl(fd, F_GETFL, 0);
    if (flags < 0 || libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
      throw new SystemError("make an eventfd non-blocking");
    }
    this.fd = fd;
  }

  /** Raises the counter. A counter that is full has been raised already: that is no error. */
  signal(): void {
    if (this.#open) libc.write(this.fd, one, WIDTH);
  }

  /** Puts the counter back to zero; says whether it had been raised. */
  clear(): boolean {
    if (Number(libc.read(this.fd, scratch, WIDTH)) > 0) return true;
    const errno = lastErrno();
    if (errno !== EAGAIN) throw new SystemError("read an eventfd", errno);
    return false;
  }

  /** Closes the descriptor; later calls do nothing. */
  close(): void {
    if (this.#open) libc.close(this.fd);
    this.#open = false;
  }

  /** Closes it at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
