/** The C peer, built and run, and the packets that it and the tests make alike. */

import { FrameBatch } from "../../core/frame_batch.ts";
import type { XenDriver } from "../../plugins/xen/mod.ts";

const SOURCE = new URL("./c/peer.c", import.meta.url).pathname;

/** Compiles the peer against libxen-dev's headers. */
export async function buildPeer(): Promise<string> {
  const program = await Deno.makeTempFile({ prefix: "xen-peer" });
  const { success, stderr } = await new Deno.Command("gcc", {
    args: ["-O2", "-Wall", "-Werror", "-o", program, SOURCE],
  }).output();
  if (!success) throw new Error(`Cannot build the C peer: ${new TextDecoder().decode(stderr)}`);
  return program;
}

/** A running peer: one line there, one line back. */
export class Peer {
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(program: string, args: readonly (string | number)[]) {
    this.#process = new Deno.Command(program, {
      args: args.map(String),
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#reader = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next line, as words. */
  async read(): Promise<string[]> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#reader.read();
      if (done) throw new Error(`The C peer ended: ${this.#rest}`);
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    if (line.startsWith("fail")) throw new Error(`The C peer says: ${line}`);
    return line.split(" ");
  }

  /** Sends a command. */
  async write(command: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${command}\n`));
  }

  /** Sends a command and reads the numbers that answer it. */
  async ask(command: string): Promise<number[]> {
    await this.write(command);
    return (await this.read()).map(Number);
  }

  /** Ends the peer. */
  async close(): Promise<void> {
    await this.write("q");
    await this.read();
    await this.#writer.close();
    await this.#reader.cancel();
    await this.#process.status;
  }
}

/** The packets that the C peer makes from a seed: windows into a block of random bytes. */
export class PacketSource {
  readonly block = new Uint8Array(131072);
  length = 0;
  offset = 0;
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
    for (let i = 0; i < this.block.length; i++) this.block[i] = this.#next() >>> 24;
  }

  #next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }

  /** Makes the next packet: `length` bytes at `offset` of the block. */
  advance(): void {
    const kind = this.#next() % 1000;
    this.length = this.#next() % (kind < 300 ? 65536 : 1515);
    if (kind === 998) this.length = 0;
    if (kind === 999) this.length = 65535;
    this.offset = this.#next() % 65536;
  }

  /** Whether `length` bytes are those at `position` of a packet at `offset` of the block. */
  matches(bytes: Uint8Array, at: number, length: number, offset: number): boolean {
    return indexedEquals(this.block, offset, bytes, at, length);
  }
}

const one = new FrameBatch();

/**
 * Has a frontend send a packet as a batch if it can, so that the ways for batches and those for single frames,
 * which the other side of a comparison goes, must come to the same bytes. Whether it took it.
 */
export function sendAsBatch(driver: XenDriver, { block, offset, length }: PacketSource): boolean {
  one.bytes = block;
  one.offsets[0] = offset;
  one.lengths[0] = length;
  one.count = 1;
  return driver.transmitBatch(one, 0, 0) === 1 || driver.transmit(block, offset, length, 0) === 0;
}

function indexedEquals(a: Uint8Array, i: number, b: Uint8Array, j: number, length: number): boolean {
  for (; length > 0; length--) if (a[i++] !== b[j++]) return false;
  return true;
}
