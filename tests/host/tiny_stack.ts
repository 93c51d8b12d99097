/**
 * The other end of a guest's network: answers ARP, ping and one TCP connection at a time, and checks every checksum.
 *
 * @module
 */
import { finishChecksum, foldSum, onesSum, pseudoHeaderSum } from "../../core/checksum.ts";
import { FlowParser, L3_IPV4, L4_TCP } from "../../core/flow.ts";
import { Frame } from "../../core/frame.ts";
import { Memory } from "../../core/memory.ts";
import type { Port } from "../../host/vhost_user/server.ts";
import type { VirtioNetDevice } from "../../plugins/virtio/device.ts";

/** Our addresses. The guest is 10.0.0.2. */
export const OUR_IP: readonly number[] = [10, 0, 0, 1];
const OUR_MAC = [0x02, 0, 0, 0, 0, 1];
/** To this port the guest sends, and we check. */
export const SINK_PORT = 9;
/** From this port the guest receives. */
export const SOURCE_PORT = 19;

const FIN = 1;
const SYN = 2;
const ACK = 16;
const WINDOW_SCALE = 7;
const WINDOW = 0xffff;
/** Bytes under way at most. */
const IN_FLIGHT = 512 * 1024;

/** The byte at `position` of the stream that is sent either way. */
export function streamByte(position: number): number {
  return (Math.imul(position ^ (position >>> 9), 0x9e3779b1) >>> 21) & 0xff;
}

/** What the stack has seen. */
export class StackReport {
  arps = 0;
  pings = 0;
  /** Frames in which a checksum was wrong. */
  bad = 0;
  longest = 0;
  /** Stream bytes taken, and whether all were the right ones. */
  sunk = 0;
  sunkRight = true;
  sourced = 0;
  retransmissions = 0;
  frames = 0;
  drops: Record<string, number> = {};
}

/** One TCP connection. */
class Tcp {
  peerPort = 0;
  ourPort = 0;
  /** Sequence number of the first stream byte we send, and how many were acknowledged and sent. */
  base = 0;
  acked = 0;
  sent = 0;
  finSent = false;
  /** The next sequence number we expect. */
  expected = 0;
  window = 0;
  shift = 0;
  mss = 1460;
  progress = 0;
  established = false;
}

/** A port with a network of one host behind it. */
export class TinyStack implements Port {
  readonly report = new StackReport();
  blocked = false;
  done = false;
  /** Sees every frame of the guest. */
  onFrame: (frame: Frame) => void = () => {};
  readonly #streamLength: number;
  readonly #in = new Memory(0x20000);
  readonly #out: Uint8Array<ArrayBuffer>[] = [];
  readonly #flow = new FlowParser();
  readonly #frame = new Frame();
  readonly #stream: Uint8Array;
  #tcp = new Tcp();

  /** Sends and expects so many bytes per connection. */
  constructor(streamLength = 0) {
    this.#streamLength = streamLength;
    this.#stream = Uint8Array.from({ length: streamLength }, (_, i) => streamByte(i));
  }

  /** The stream that goes either way. */
  get stream(): Uint8Array {
    return this.#stream;
  }

  transmit(frame: Frame): boolean {
    this.report.frames++;
    this.onFrame(frame);
    const bytes = this.#in.bytes;
    const length = frame.length;
    frame.copyTo(this.#in, 0, 0, length);
    this.report.longest = Math.max(this.report.longest, length);
    const type = bytes[12]! << 8 | bytes[13]!;
    if (type === 0x0806) this.#arp(length);
    else if (type === 0x0800) this.#ipv4(length);
    return true;
  }

  drop(_pair: number, reason: string): void {
    this.report.drops[reason] = (this.report.drops[reason] ?? 0) + 1;
  }

  feed(device: VirtioNetDevice): number {
    if (!device.queues[0]!.running) return 0;
    this.#produce();
    let fed = 0;
    while (this.#out.length > 0 && fed < 64) {
      const bytes = this.#out[0]!;
      this.#frame.clear();
      this.#frame.push(bytes, 0, bytes.length);
      if (device.deliver(this.#frame) === -1) {
        this.blocked = true;
        return fed;
      }
      this.#out.shift();
      fed++;
    }
    this.blocked = false;
    return fed;
  }

  due(): number {
    const tcp = this.#tcp;
    return tcp.established && tcp.acked < tcp.sent ? 300 : Infinity;
  }

  rest(): void {}

  #arp(length: number): void {
    const bytes = this.#in.bytes;
    if (bytes[21] !== 1 || OUR_IP.some((byte, i) => bytes[38 + i] !== byte)) return;
    this.report.arps++;
    const answer = bytes.slice(0, Math.max(length, 60));
    answer.copyWithin(0, 6, 12);
    answer.set(OUR_MAC, 6);
    answer[21] = 2;
    answer.set(bytes.subarray(22, 32), 32);
    answer.set(OUR_MAC, 22);
    answer.set(OUR_IP, 28);
    this.#out.push(answer);
  }

  #ipv4(length: number): void {
    const bytes = this.#in.bytes;
    const flow = this.#flow;
    flow.parse(bytes, 0, length);
    if (flow.l3 !== L3_IPV4 || flow.fragmented) return;
    if (OUR_IP.some((byte, i) => bytes[flow.destinationOffset + i] !== byte)) return;
    const header = flow.l4Offset - flow.l3Offset;
    const size = flow.end - flow.l4Offset;
    let sum = onesSum(bytes, flow.l4Offset, size);
    if (flow.protocol !== 1) sum = foldSum(sum + pseudoHeaderSum(flow, size));
    if (onesSum(bytes, flow.l3Offset, header) !== 0xffff || sum !== 0xffff) {
      this.report.bad++;
      return;
    }
    if (flow.protocol === 1 && bytes[flow.l4Offset] === 8) this.#ping(flow.end);
    else if (flow.l4 === L4_TCP) this.#segment();
  }

  #ping(end: number): void {
    this.report.pings++;
    const answer = this.#in.bytes.slice(0, end);
    answer.copyWithin(0, 6, 12);
    answer.set(OUR_MAC, 6);
    answer.set(this.#in.bytes.subarray(26, 30), 30);
    answer.set(OUR_IP, 26);
    answer[34] = 0;
    answer[36] = answer[37] = 0;
    finishChecksum(answer, 34, 36, end);
    this.#out.push(answer);
  }

  #segment(): void {
    const bytes = this.#in.bytes;
    const view = this.#in.view;
    const { l4Offset: at, payloadOffset, end } = this.#flow;
    const flags = bytes[at + 13]!;
    const port = view.getUint16(at + 2);
    const tcp = this.#tcp;
    if (flags & SYN) {
      const fresh = this.#tcp = new Tcp();
      fresh.ourPort = port;
      fresh.peerPort = view.getUint16(at);
      fresh.expected = (view.getUint32(at + 4) + 1) >>> 0;
      fresh.base = 1000;
      this.#readOptions(fresh, at + 20, payloadOffset);
      this.report.sunk = port === SINK_PORT ? 0 : this.report.sunk;
      // MSS and window scale.
      const mss = fresh.mss;
      this.#send(SYN | ACK, fresh.base - 1, [2, 4, mss >> 8, mss & 255, 1, 3, 3, WINDOW_SCALE], 0, 0);
      return;
    }
    if (port !== tcp.ourPort || view.getUint16(at) !== tcp.peerPort) return;
    tcp.established = true;
    const sequence = view.getUint32(at + 4);
    const payload = end - payloadOffset;
    if (flags & ACK) {
      const acknowledged = (view.getUint32(at + 8) - tcp.base) >>> 0;
      tcp.window = view.getUint16(at + 14) << tcp.shift;
      if (acknowledged > tcp.acked && acknowledged <= tcp.sent + 1) {
        tcp.acked = Math.min(acknowledged, this.#streamLength);
        tcp.progress = performance.now();
      }
    }
    if (payload > 0 || flags & FIN) {
      if (sequence === tcp.expected) {
        if (port === SINK_PORT) this.#sink(payloadOffset, payload);
        tcp.expected = (tcp.expected + payload + (flags & FIN)) >>> 0;
      }
      const ours = port === SOURCE_PORT ? tcp.sent + (tcp.finSent ? 1 : 0) : 0;
      const close = flags & FIN && port === SINK_PORT ? FIN : 0;
      this.#send(ACK | close, tcp.base + ours, [], 0, 0);
    }
  }

  #readOptions(tcp: Tcp, at: number, end: number): void {
    const bytes = this.#in.bytes;
    while (at < end && bytes[at] !== 0) {
      if (bytes[at] === 1) {
        at++;
        continue;
      }
      if (bytes[at] === 2) tcp.mss = bytes[at + 2]! << 8 | bytes[at + 3]!;
      if (bytes[at] === 3) tcp.shift = bytes[at + 2]!;
      at += Math.max(2, bytes[at + 1]!);
    }
  }

  #sink(offset: number, length: number): void {
    const { report } = this;
    for (let i = 0; i < length; i++) {
      if (this.#in.bytes[offset + i] !== this.#stream[report.sunk + i]) report.sunkRight = false;
    }
    report.sunk += length;
  }

  /** Sends what the window allows; starts over from the last acknowledged byte if nothing has been heard for long. */
  #produce(): void {
    const tcp = this.#tcp;
    if (!tcp.established || tcp.ourPort !== SOURCE_PORT) return;
    const unacknowledged = tcp.sent > tcp.acked || tcp.finSent && tcp.acked < this.#streamLength;
    if (unacknowledged && performance.now() - tcp.progress > 300) {
      tcp.sent = tcp.acked;
      tcp.finSent = false;
      tcp.progress = performance.now();
      this.report.retransmissions++;
    }
    const limit = Math.min(tcp.acked + Math.min(tcp.window, IN_FLIGHT), this.#streamLength);
    while (tcp.sent < limit && this.#out.length < 128) {
      const length = Math.min(tcp.mss - 12, limit - tcp.sent);
      if (tcp.sent === tcp.acked) tcp.progress = performance.now();
      this.#send(ACK, tcp.base + tcp.sent, [], tcp.sent, length);
      tcp.sent += length;
      this.report.sourced = Math.max(this.report.sourced, tcp.sent);
    }
    if (tcp.sent === this.#streamLength && !tcp.finSent) {
      tcp.finSent = true;
      this.#send(ACK | FIN, tcp.base + tcp.sent, [], 0, 0);
    }
  }

  #send(flags: number, sequence: number, options: readonly number[], position: number, length: number): void {
    const tcp = this.#tcp;
    const header = 34 + 20 + options.length;
    const bytes = new Uint8Array(Math.max(60, header + length));
    const view = new DataView(bytes.buffer);
    bytes.set(this.#in.bytes.subarray(6, 12));
    bytes.set(OUR_MAC, 6);
    view.setUint16(12, 0x0800);
    view.setUint16(14, 0x4500);
    view.setUint16(16, header - 14 + length);
    bytes.set([64, 6, 0, 0, ...OUR_IP, 10, 0, 0, 2], 22);
    view.setUint16(24, ~onesSum(bytes, 14, 20));
    view.setUint16(34, tcp.ourPort);
    view.setUint16(36, tcp.peerPort);
    view.setUint32(38, sequence);
    view.setUint32(42, tcp.expected);
    bytes[46] = (20 + options.length) << 2;
    bytes[47] = flags;
    view.setUint16(48, WINDOW);
    bytes.set(options, 54);
    bytes.set(this.#stream.subarray(position, position + length), header);
    const segment = header - 34 + length;
    view.setUint16(50, foldSum(onesSum(bytes, 26, 8) + 6 + segment));
    finishChecksum(bytes, 34, 50, 34 + segment);
    this.#out.push(bytes);
  }
}
