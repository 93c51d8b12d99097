/**
 * Writes a synthetic capture for the benchmarks: `deno run --allow-write bench/gen_pcap.ts OUT COUNT imix|SIZE [SEED]`.
 *
 * imix mixes frames of 64, 576 and 1500 bytes at 7:4:1; a number makes all frames that long (60 to 65535). The same
 * arguments give the same bytes. Every frame is one of 512 flows of its size, the busy ones far more often than the
 * rest, with Ethernet, IPv4 or IPv6, TCP or UDP headers, one in ten with a VLAN tag, and valid checksums, so that
 * tools which look inside find nothing to complain about.
 *
 * @module
 */

const FLOWS = 512;
const CHUNK = 1 << 20;
const SNAPLEN = 262144;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_IPV6 = 0x86dd;
const TCP = 6;
const UDP = 17;

/** Marsaglia's xorshift32: fast, and the same everywhere. */
function xorshift(seed: number): () => number {
  let x = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>>= 0;
  };
}

function sum16(bytes: Uint8Array, from: number, to: number, sum = 0): number {
  for (let i = from; i < to; i += 2) sum += (bytes[i]! << 8) | (i + 1 < to ? bytes[i + 1]! : 0);
  return sum;
}

function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** One frame of a flow, addresses from the documentation ranges. */
function buildFrame(size: number, random: () => number): Uint8Array {
  const frame = new Uint8Array(size);
  const view = new DataView(frame.buffer);
  const host = random();
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, host & 0xff]);
  let at = 12;
  if (random() % 10 === 0) {
    view.setUint16(at, ETHERTYPE_VLAN);
    view.setUint16(at + 2, 1 + random() % 4094);
    at += 4;
  }
  const protocol = random() % 100 < 75 ? TCP : UDP;
  const transport = protocol === TCP ? 20 : 8;
  const v6 = random() % 5 === 0 && at + 2 + 40 + transport <= size;
  view.setUint16(at, v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  const ip = at + 2;
  const l4 = ip + (v6 ? 40 : 20);
  const segment = size - l4;
  let pseudo: number;
  if (v6) {
    view.setUint32(ip, 0x60000000);
    view.setUint16(ip + 4, segment);
    frame[ip + 6] = protocol;
    frame[ip + 7] = 64;
    view.setUint32(ip + 8, 0x20010db8);
    frame[ip + 23] = 1;
    view.setUint32(ip + 24, 0x20010db8);
    view.setUint16(ip + 38, host);
    pseudo = sum16(frame, ip + 8, ip + 40);
  } else {
    view.setUint16(ip, 0x4500);
    view.setUint16(ip + 2, size - ip);
    view.setUint16(ip + 4, random());
    view.setUint16(ip + 6, 0x4000);
    frame[ip + 8] = 64;
    frame[ip + 9] = protocol;
    frame.set([192, 0, 2, 1 + host % 254, 198, 51, 100, 1 + (host >>> 8) % 254], ip + 12);
    view.setUint16(ip + 10, fold(sum16(frame, ip, l4)));
    pseudo = sum16(frame, ip + 12, l4);
  }
  view.setUint16(l4, 1024 + random() % 64000);
  view.setUint16(l4 + 2, [5001, 5201, 7777, 50000][random() % 4]!);
  for (let i = l4 + transport; i < size; i++) frame[i] = random() >>> 24;
  let checksum: number;
  if (protocol === TCP) {
    view.setUint32(l4 + 4, random());
    view.setUint32(l4 + 8, random());
    view.setUint16(l4 + 12, 0x5010);
    view.setUint16(l4 + 14, 64240);
    checksum = l4 + 16;
  } else {
    view.setUint16(l4 + 4, segment);
    checksum = l4 + 6;
  }
  const value = fold(sum16(frame, l4, size, pseudo + protocol + segment));
  view.setUint16(checksum, value || 0xffff);
  return frame;
}

/** The parts of a capture, in chunks of about a mebibyte; each is only good until the next one is taken. */
function* capture(count: number, sizes: readonly number[], seed: number): Generator<Uint8Array> {
  const random = xorshift(seed);
  const flows = new Map<number, Uint8Array[]>();
  for (const size of new Set(sizes)) {
    flows.set(size, Array.from({ length: FLOWS }, () => buildFrame(size, random)));
  }
  const slots = sizes.map((size) => flows.get(size)!);
  const chunk = new Uint8Array(CHUNK);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, SNAPLEN, true);
  view.setUint32(20, 1, true);
  let used = 24;
  let seconds = 1_700_000_000;
  let microseconds = 0;
  for (let i = 0; i < count; i++) {
    const frames = slots[random() % slots.length]!;
    // The product of two uniform numbers crowds towards the first flows, as traffic does.
    const draw = random();
    const frame = frames[((draw & 0xffff) * (draw >>> 16)) / 0x100000000 * FLOWS | 0]!;
    if (used + 16 + frame.length > CHUNK) {
      yield chunk.subarray(0, used);
      used = 0;
    }
    microseconds += 1 + (draw & 7);
    if (microseconds >= 1_000_000) {
      microseconds -= 1_000_000;
      seconds++;
    }
    view.setUint32(used, seconds, true);
    view.setUint32(used + 4, microseconds, true);
    view.setUint32(used + 8, frame.length, true);
    view.setUint32(used + 12, frame.length, true);
    chunk.set(frame, used + 16);
    used += 16 + frame.length;
  }
  yield chunk.subarray(0, used);
}

/** Frame sizes, one per slot to draw from. */
function sizesOf(text: string): number[] {
  if (text === "imix") return [64, 64, 64, 64, 64, 64, 64, 576, 576, 576, 576, 1500];
  const size = Number(text);
  if (!Number.isInteger(size) || size < 60 || size > 65535) {
    throw new RangeError(`Size must be imix or 60..65535: ${text}`);
  }
  return [size];
}

/** Writes a capture of this many frames. */
export function writeCapture(path: string, count: number, mix: string, seed: number): void {
  const sizes = sizesOf(mix);
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  for (const chunk of capture(count, sizes, seed)) {
    for (let done = 0; done < chunk.length;) done += file.writeSync(chunk.subarray(done));
  }
}

if (import.meta.main) {
  const [path, count, mix, seed = "1"] = Deno.args;
  if (path === undefined || mix === undefined || !Number.isInteger(Number(count))) {
    Deno.stderr.writeSync(new TextEncoder().encode("usage: gen_pcap.ts OUT COUNT imix|SIZE [SEED]\n"));
    Deno.exit(2);
  }
  writeCapture(path, Number(count), mix, Number(seed));
}
