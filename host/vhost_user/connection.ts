/**
 * A vhost-user connection: bytes come in pieces, messages go to the back end, replies go back.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { requestName } from "./layout.ts";
import { type Header, HEADER_SIZE, MAX_FDS, MAX_PAYLOAD, parseHeader, ProtocolError } from "./message.ts";

/** What a connection needs of a socket; it is that of `host/unix_socket.ts`. */
export interface ByteSocket {
  /** Reads what is there: the number of bytes, 0 at the end, -1 if there are none now. */
  receive(target: Uint8Array<ArrayBuffer>, offset: number, length: number, fds: number[]): number;
  /** Sends all bytes at once. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
}

/** Most messages that are worked off before the rings get their turn again. */
const BURST = 64;

/**
 * How long a message may take to become whole. Somebody who passes us the other end of the connection with the first half
 * of a message would else keep it alive from within, and everybody else waiting.
 */
const PATIENCE_MS = 1000;

/** One connection. */
export class Connection {
  readonly #socket: ByteSocket;
  readonly #backend: Backend;
  readonly #closeFd: (fd: number) => void;
  readonly #bytes = new Uint8Array(HEADER_SIZE + MAX_PAYLOAD);
  readonly #fds: number[] = [];
  #have = 0;
  #header: Header | undefined;
  #partialSince: number | undefined;

  /**
   * Connects a socket with a back end.
   *
   * @param socket Where bytes come from.
   * @param backend Where messages go.
   * @param closeFd Closes a descriptor that came with a message that never became whole.
   */
  constructor(socket: ByteSocket, backend: Backend, closeFd: (fd: number) => void) {
    this.#socket = socket;
    this.#backend = backend;
    this.#closeFd = closeFd;
  }

  /**
   * Works off what has arrived.
   *
   * @returns False if the front end has hung up.
   * @throws {ProtocolError} If it broke the protocol.
   */
  receive(): boolean {
    for (let messages = 0; messages < BURST;) {
      const wanted = HEADER_SIZE + (this.#header?.size ?? 0);
      if (this.#have < wanted) {
        const got = this.#socket.receive(this.#bytes, this.#have, wanted - this.#have, this.#fds);
        if (got < 0) return true;
        if (got === 0) return this.#end();
        this.#have += got;
        // However small the pieces in which a message comes, each can bring some.
        if (this.#fds.length > MAX_FDS) {
          throw new ProtocolError(`${this.#fds.length} descriptors came with ${this.#underWay()}`);
        }
        if (this.#have < wanted) continue;
      }
      if (!this.#header) {
        this.#header = parseHeader(this.#bytes.subarray(0, HEADER_SIZE));
        if (this.#header.size > 0) continue;
      }
      const { request, needReply, size } = this.#header;
      const payload = this.#bytes.subarray(HEADER_SIZE, HEADER_SIZE + size);
      const fds = this.#fds.splice(0);
      this.#have = 0;
      this.#header = this.#partialSince = undefined;
      const answer = this.#backend.handle({ request, needReply, payload, fds });
      if (answer) this.#socket.send(answer);
      messages++;
    }
    return true;
  }

  /**
   * How long it may still take until the rest of a message is there.
   *
   * @param now Milliseconds since some fixed moment.
   * @returns Milliseconds; `Infinity` if no message is under way.
   * @throws {ProtocolError} If the time is over.
   */
  patience(now: number): number {
    if (this.#have === 0) return Infinity;
    this.#partialSince ??= now;
    const left = this.#partialSince + PATIENCE_MS - now;
    if (left <= 0) throw new ProtocolError(`the front end stopped in the middle of ${this.#underWay()}`);
    return left;
  }

  /** Closes descriptors of a message that did not become whole. */
  close(): void {
    for (const fd of this.#fds.splice(0)) this.#closeFd(fd);
  }

  #end(): false {
    if (this.#have > 0) {
      throw new ProtocolError(`the front end hung up in the middle of ${this.#underWay()}`);
    }
    return false;
  }

  #underWay(): string {
    return this.#header ? requestName(this.#header.request) : "a header";
  }
}
