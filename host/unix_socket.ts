/**
 * Local stream sockets that pass descriptors along with bytes.
 *
 * @module
 */
import {
  addressOf,
  closeDescriptor,
  cString,
  EADDRINUSE,
  EAGAIN,
  ECONNREFUSED,
  EINTR,
  lastErrno,
  libc,
  SystemError,
} from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CTRUNC = 8;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const BACKLOG = 16;
const PATH_MAX = 107;
const S_IFMT = 0o170000;
const S_IFSOCK = 0o140000;
const AT_FDCWD = -100;
const STX_MODE = 28;

// struct iovec, struct msghdr and struct cmsghdr of 64-bit Linux.
const IOVEC_SIZE = 16;
const IOV_LEN = 8;
const MSGHDR_SIZE = 56;
const MSG_IOV = 16;
const MSG_IOVLEN = 24;
const MSG_CONTROL = 32;
const MSG_CONTROLLEN = 40;
const MSG_FLAGS = 48;
const CMSG_LEVEL = 8;
const CMSG_TYPE = 12;
const CMSG_DATA = 16;
/** More descriptors than any message carries; what comes beyond these the kernel closes. */
const CONTROL_FDS = 64;

/** Nothing to read at present. */
export const WOULD_BLOCK: number = -1;

function socketAddress(path: string): Uint8Array<ArrayBuffer> {
  const name = cString(path);
  if (name.length - 1 > PATH_MAX || name.length === 1) {
    throw new TypeError(`A socket path takes 1 to ${PATH_MAX} bytes: "${path}" has ${name.length - 1}`);
  }
  const address = new Uint8Array(2 + PATH_MAX + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  return address;
}

function newSocket(): number {
  const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw new SystemError("make a socket");
  return fd;
}

function isSocket(path: string): boolean {
  const facts = new Uint8Array(256);
  return libc.statx(AT_FDCWD, cString(path), 0, 1, facts) === 0 &&
    (new DataView(facts.buffer).getUint16(STX_MODE, true) & S_IFMT) === S_IFSOCK;
}

/** Connects; the error number if nobody answers, 0 if somebody does. */
function tryConnect(fd: number, address: Uint8Array<ArrayBuffer>): number {
  return libc.connect(fd, address, address.length) === 0 ? 0 : lastErrno();
}

/** One end of a connection. Nothing here waits: a poll says when to come. */
export class UnixSocket implements Disposable {
  /** The descriptor. */
  readonly fd: number;
  readonly #iovec = new Uint8Array(IOVEC_SIZE);
  readonly #control = new Uint8Array(CMSG_DATA + 4 * CONTROL_FDS);
  readonly #header = new Uint8Array(MSGHDR_SIZE);
  #pinned: readonly unknown[] = [];
  #open = true;

  /** Takes over a connected socket. */
  constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * Connects to a listening socket.
   *
   * @returns The connection, or `undefined` if nobody listens there at present.
   * @throws {TypeError} If the path is too long for a socket.
   */
  static connect(path: string): UnixSocket | undefined {
    const address = socketAddress(path);
    const fd = newSocket();
    if (tryConnect(fd, address) === 0) return new UnixSocket(fd);
    closeDescriptor(fd);
    return undefined;
  }

  /** Two ends that are connected with each other. */
  static pair(): [UnixSocket, UnixSocket] {
    const fds = new Uint8Array(8);
    if (libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
      throw new SystemError("make a pair of sockets");
    }
    const view = new DataView(fds.buffer);
    return [new UnixSocket(view.getInt32(0, true)), new UnixSocket(view.getInt32(4, true))];
  }

  /**
   * Reads what is there.
   *
   * @param target Where to.
   * @param offset Where in it.
   * @param length How many bytes at most.
   * @param fds Descriptors that came along are added here, and are the caller's to close.
   * @returns How many bytes came; 0 if the peer has hung up; {@linkcode WOULD_BLOCK} if there are none now.
   * @throws {SystemError} If the connection is broken.
   * @throws {RangeError} If more descriptors came than any message has.
   */
  receive(target: Uint8Array<ArrayBuffer>, offset: number, length: number, fds: number[]): number {
    const header = this.#prepare(target, offset, length, this.#control);
    const flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
    const received = Number(libc.recvmsg(this.fd, this.#header, flags));
    if (received < 0) {
      const errno = lastErrno();
      if (errno === EAGAIN || errno === EINTR) return WOULD_BLOCK;
      throw new SystemError("read from the connection", errno);
    }
    const controlLength = Number(header.getBigUint64(MSG_CONTROLLEN, true));
    if (controlLength >= CMSG_DATA) this.#collect(fds);
    if (header.getInt32(MSG_FLAGS, true) & MSG_CTRUNC) {
      throw new RangeError(`Cannot take more than ${CONTROL_FDS} descriptors at once`);
    }
    return received;
  }

  /**
   * Sends bytes, and descriptors with them.
   *
   * @throws {SystemError} If the connection is broken, or the peer does not read what it is sent.
   */
  send(bytes: Uint8Array<ArrayBuffer>, fds: readonly number[] = []): void {
    let control: Uint8Array<ArrayBuffer> | undefined;
    if (fds.length > 0) {
      control = new Uint8Array(Math.ceil((CMSG_DATA + 4 * fds.length) / 8) * 8);
      const view = new DataView(control.buffer);
      view.setBigUint64(0, BigInt(CMSG_DATA + 4 * fds.length), true);
      view.setInt32(CMSG_LEVEL, SOL_SOCKET, true);
      view.setInt32(CMSG_TYPE, SCM_RIGHTS, true);
      fds.forEach((fd, i) => view.setInt32(CMSG_DATA + 4 * i, fd, true));
    }
    this.#prepare(bytes, 0, bytes.length, control);
    const sent = Number(libc.sendmsg(this.fd, this.#header, MSG_NOSIGNAL | MSG_DONTWAIT));
    if (sent < 0) throw new SystemError("write to the connection");
    if (sent < bytes.length) throw new SystemError("write to the connection", EAGAIN);
  }

  /** Hangs up. */
  close(): void {
    if (this.#open) closeDescriptor(this.fd);
    this.#open = false;
  }

  /** Hangs up at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #prepare(
    bytes: Uint8Array<ArrayBuffer>,
    offset: number,
    length: number,
    control: Uint8Array<ArrayBuffer> | undefined,
  ): DataView {
    const iovec = new DataView(this.#iovec.buffer);
    iovec.setBigUint64(0, addressOf(bytes) + BigInt(offset), true);
    iovec.setBigUint64(IOV_LEN, BigInt(length), true);
    const header = new DataView(this.#header.buffer);
    this.#header.fill(0);
    header.setBigUint64(MSG_IOV, addressOf(this.#iovec), true);
    header.setBigUint64(MSG_IOVLEN, 1n, true);
    // The call below reads these through bare addresses: they must not be collected before.
    this.#pinned = [bytes, control];
    if (control) {
      header.setBigUint64(MSG_CONTROL, addressOf(control), true);
      header.setBigUint64(MSG_CONTROLLEN, BigInt(control.length), true);
    }
    return header;
  }

  /** Linux puts all descriptors of a message into one control block. */
  #collect(fds: number[]): void {
    const control = new DataView(this.#control.buffer);
    const kind = control.getInt32(CMSG_LEVEL, true) === SOL_SOCKET &&
      control.getInt32(CMSG_TYPE, true) === SCM_RIGHTS;
    if (!kind) return;
    const length = Number(control.getBigUint64(0, true));
    for (let at = CMSG_DATA; at + 4 <= length; at += 4) fds.push(control.getInt32(at, true));
  }
}

/** A socket that waits for connections at a path. */
export class UnixListener implements Disposable {
  /** The descriptor: readable when somebody has connected. */
  readonly fd: number;
  /** Where it listens. */
  readonly path: string;
  #open = true;

  /**
   * Listens. A socket file that a dead process left behind is replaced.
   *
   * @throws {SystemError} If the path is taken or cannot be made.
   * @throws {TypeError} If the path is too long for a socket.
   */
  constructor(path: string) {
    const address = socketAddress(path);
    this.path = path;
    this.fd = newSocket();
    let action = `listen at "${path}"`;
    let errno = this.#bind(address);
    if (errno === EADDRINUSE && !isSocket(path)) {
      action += ", which is something else than a socket";
    } else if (errno === EADDRINUSE && tryConnect(this.fd, address) === ECONNREFUSED) {
      libc.unlink(cString(path));
      errno = this.#bind(address);
    } else if (errno === EADDRINUSE) {
      action += ", where another program listens";
    }
    if (errno === 0 && libc.listen(this.fd, BACKLOG) < 0) errno = lastErrno();
    if (errno !== 0) {
      closeDescriptor(this.fd);
      throw new SystemError(action, errno);
    }
  }

  /** The next connection, or `undefined` if nobody has connected. */
  accept(): UnixSocket | undefined {
    const fd = libc.accept4(this.fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return fd < 0 ? undefined : new UnixSocket(fd);
  }

  /** Stops listening and removes the socket file. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeDescriptor(this.fd);
    libc.unlink(cString(this.path));
  }

  /** Stops listening at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #bind(address: Uint8Array<ArrayBuffer>): number {
    return libc.bind(this.fd, address, address.length) === 0 ? 0 : lastErrno();
  }
}
