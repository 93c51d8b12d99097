/**
 * Captures of every kind, good and bad, made from their description, with what libpcap 1.10.3 and Wireshark 4.0.17 make
 * of each.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";
import { gzipSync } from "node:zlib";

/** A capture, and what readers make of it. */
export interface Specimen {
  /** Its name: `p` is pcap, `n` is pcapng. */
  readonly name: string;
  /** The capture. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Packets that libpcap delivers; -1 if it refuses the file. */
  readonly libpcap: number;
  /** Records that tshark shows. */
  readonly wireshark: number;
  /** Packets that ringpipe is to deliver. */
  readonly packets: number;
  /** What its error is to say; none if it is to read the file as good. */
  readonly error?: RegExp;
  /** What it is to warn of. */
  readonly warning?: RegExp;
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes in the byte order of one writer. */
class Order {
  readonly little: boolean;

  constructor(little: boolean) {
    this.little = little;
  }

  u16(...values: readonly number[]): Bytes {
    const view = new DataView(new ArrayBuffer(2 * values.length));
    values.forEach((value, i) => view.setUint16(2 * i, value, this.little));
    return new Uint8Array(view.buffer);
  }

  u32(...values: readonly number[]): Bytes {
    const view = new DataView(new ArrayBuffer(4 * values.length));
    values.forEach((value, i) => view.setUint32(4 * i, value, this.little));
    return new Uint8Array(view.buffer);
  }

  u64(value: bigint): Bytes {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt.asUintN(64, value), this.little);
    return new Uint8Array(view.buffer);
  }
}

const LE = new Order(true);
const BE = new Order(false);
const NO_BYTES = new Uint8Array(0);
const SECONDS = 1700000000;

/** A frame that is easy to recognise. */
function frame(length: number): Bytes {
  const head = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x52, 0x54, 0x00, 0xab, 0xcd, 0xef, 0x08, 0x00];
  return Uint8Array.from({ length }, (_, i) => head[i] ?? (i * 7) & 0xff);
}

const THREE = [frame(60), frame(100), frame(1514)];
const TWO = [frame(60), frame(100)];
const ONE = [frame(60)];

interface Header {
  readonly order?: Order;
  readonly magic?: number;
  readonly version?: readonly [number, number];
  readonly old?: readonly [number, number];
  readonly snaplen?: number;
  readonly link?: number;
}

function header(options: Header = {}): Bytes {
  const { order = LE, magic = 0xa1b2c3d4, version = [2, 4], old = [0, 0], snaplen = 262144, link = 1 } =
    options;
  return concat([order.u32(magic), order.u16(...version), order.u32(...old, snaplen, link)]);
}

interface Rec {
  readonly seconds?: number;
  readonly fraction?: number;
  readonly captured?: number;
  readonly length?: number;
  readonly interchanged?: boolean;
  readonly extra?: Bytes;
  readonly order?: Order;
}

function record(data: Uint8Array, options: Rec = {}): Bytes {
  const { seconds = SECONDS, fraction = 123456, captured = data.length, length = data.length } = options;
  const { interchanged = false, extra = NO_BYTES, order = LE } = options;
  const lengths = interchanged ? [length, captured] : [captured, length];
  return concat([order.u32(seconds, fraction, ...lengths), extra, data]);
}

function classic(head: Header, frames: readonly Uint8Array[], options: Rec = {}): Bytes {
  const order = head.order ?? LE;
  return concat([header(head), ...frames.map((data) => record(data, { order, ...options }))]);
}

function padded(data: Uint8Array): Bytes {
  return concat([data, new Uint8Array(-data.length & 3)]);
}

function option(order: Order, code: number, value: Uint8Array, length = value.length): Bytes {
  return concat([order.u16(code, length), padded(value)]);
}

function block(order: Order, type: number, body: Uint8Array, total?: number, trailer?: number): Bytes {
  const size = total ?? body.length + 12;
  return concat([order.u32(type, size), body, order.u32(trailer ?? size)]);
}

interface Section {
  readonly order?: Order;
  readonly version?: readonly [number, number];
  readonly length?: bigint;
  readonly magic?: number;
  readonly total?: number;
}

function shb(options: Section = {}): Bytes {
  const { order = LE, version = [1, 0], length = -1n, magic = 0x1a2b3c4d, total } = options;
  return block(
    order,
    0x0a0d0d0a,
    concat([order.u32(magic), order.u16(...version), order.u64(length)]),
    total,
  );
}

interface Interface {
  readonly order?: Order;
  readonly link?: number;
  readonly reserved?: number;
  readonly snaplen?: number;
  readonly options?: readonly Uint8Array[];
}

function idb(given: Interface = {}): Bytes {
  const { order = LE, link = 1, reserved = 0, snaplen = 262144, options = [] } = given;
  return block(order, 1, concat([order.u16(link, reserved), order.u32(snaplen), ...options]));
}

/** An interface with one `if_tsresol`. */
function resolution(value: number): Bytes {
  return idb({ options: [option(LE, 9, Uint8Array.of(value)), LE.u32(0)] });
}

interface Packet {
  readonly order?: Order;
  readonly id?: number;
  readonly time?: bigint;
  readonly captured?: number;
  readonly length?: number;
  readonly options?: readonly Uint8Array[];
  readonly total?: number;
  readonly trailer?: number;
}

function epb(data: Uint8Array, given: Packet = {}): Bytes {
  const { order = LE, id = 0, time = BigInt(SECONDS) * 1000000n + 123456n, total, trailer } = given;
  const { captured = data.length, length = data.length, options = [] } = given;
  const times = [Number(time >> 32n), Number(time & 0xffffffffn)];
  const body = concat([order.u32(id, ...times, captured, length), padded(data), ...options]);
  return block(order, 6, body, total, trailer);
}

function pb(data: Uint8Array): Bytes {
  const time = BigInt(SECONDS) * 1000000n;
  const times = [Number(time >> 32n), Number(time & 0xffffffffn)];
  return block(LE, 2, concat([LE.u16(0, 0xffff), LE.u32(...times, data.length, data.length), padded(data)]));
}

function spb(data: Uint8Array, length = data.length): Bytes {
  return block(LE, 3, concat([LE.u32(length), padded(data)]));
}

const text = (value: string) => new TextEncoder().encode(value);
const START = [shb(), idb()];

function ng(...blocks: readonly Uint8Array[]): Bytes {
  return concat(blocks);
}

/** Blocks that hold no packets: names, statistics, secrets, custom ones, unknown ones. */
const SIDE_BLOCKS = [
  block(LE, 4, concat([LE.u16(1, 9), padded(Uint8Array.of(10, 0, 0, 1, ...text("host\0"))), LE.u32(0)])),
  block(LE, 5, concat([LE.u32(0, 0, 0), option(LE, 4, LE.u64(7n)), LE.u32(0)])),
  block(LE, 10, concat([LE.u32(0x544c534b, 5), padded(text("hello"))])),
  block(LE, 0xbad, concat([LE.u32(32473), text("custom!!")])),
  block(LE, 0x40000bad, concat([LE.u32(32473), text("do not copy.")])),
  block(LE, 0x1234, text("unknown type")),
  block(LE, 0x80000001, text("local type..")),
];

const EVERY_OPTION = [
  option(LE, 1, text("a comment")),
  option(LE, 2, LE.u32(0x00000105)),
  option(LE, 3, Uint8Array.of(2, 1, 2, 3, 4)),
  option(LE, 4, LE.u64(3n)),
  option(LE, 5, LE.u64(99n)),
  option(LE, 6, LE.u32(2)),
  option(LE, 7, Uint8Array.of(0, 1)),
  option(LE, 8, LE.u64(4242n)),
  option(LE, 2988, concat([LE.u32(32473), text("text")])),
  LE.u32(0),
];

const patched24 = (order: Order) => concat([order.u32(2), order.u16(8), Uint8Array.of(0, 0)]);
const patched28 = concat([patched24(LE).subarray(0, 7), Uint8Array.of(0, 0, 0, 0, 0)]);

type Row = readonly [
  string,
  Bytes,
  libpcap: number,
  wireshark: number,
  packets: number,
  error?: RegExp | undefined,
  warning?: RegExp,
];

const CLASSIC: readonly Row[] = [
  ["p00-empty", NO_BYTES, -1, 0, 0, /got an empty file$/],
  ["p01-3bytes", header().slice(0, 3), -1, 1, 0, /got 3 bytes$/],
  [
    "p02-magic-only",
    header().slice(0, 4),
    -1,
    0,
    0,
    /^truncated file header at byte 0: wanted 24 bytes, got 4$/,
  ],
  ["p03-header-23", header().slice(0, 23), -1, 0, 0, /wanted 24 bytes, got 23$/],
  ["p04-header-only", header(), 0, 0, 0],
  ["p05-le-usec", classic({}, THREE), 3, 3, 3],
  ["p06-be-usec", classic({ order: BE }, THREE), 3, 3, 3],
  ["p07-le-nsec", classic({ magic: 0xa1b23c4d }, THREE), 3, 3, 3],
  ["p08-be-nsec", classic({ order: BE, magic: 0xa1b23c4d }, THREE), 3, 3, 3],
  ["p09-modified-le", classic({ magic: 0xa1b2cd34 }, THREE, { extra: patched24(LE) }), 3, 3, 3],
  ["p10-modified-be", classic({ order: BE, magic: 0xa1b2cd34 }, THREE, { extra: patched24(BE) }), 3, 3, 3],
  ["p11-modified-ss990915", classic({ magic: 0xa1b2cd34 }, THREE, { extra: patched28 }), 1, 3, 3],
  ["p12-oldmagic-ss990417", classic({}, THREE, { extra: patched24(LE) }), 1, 3, 3],
  ["p13-magic-fmesquita", classic({ magic: 0xa1b234cd }, THREE), -1, 0, 0, /a1b234cd/],
  ["p14-magic-navtel", classic({ magic: 0xa12b3c4d }, THREE), -1, 0, 0, /a Navtel capture/],
  ["p15-ixia-hw", classic({ magic: 0x1c0001ac }, THREE), -1, 3, 0, /an Ixia lcap capture/],
  ["p16-ixia-sw", classic({ magic: 0x1c0001ab }, THREE), -1, 3, 0, /an Ixia lcap capture/],
  ["p17-cbpf-magic", classic({ magic: 0xa1b2c3cb }, THREE), -1, 0, 0, /a BPF program file/],
  ["p18-v2.3-normal", classic({ version: [2, 3] }, THREE), 3, 3, 3],
  [
    "p19-v2.3-swapped",
    classic({ version: [2, 3] }, TWO, { length: 1514, interchanged: true }),
    2,
    2,
    2,
  ],
  ["p20-v2.2", classic({ version: [2, 2] }, TWO, { length: 1514, interchanged: true }), 2, 2, 2],
  ["p21-v543.0", classic({ version: [543, 0] }, ONE, { length: 1514, interchanged: true }), 1, 1, 1],
  ["p22-v2.5", classic({ version: [2, 5] }, THREE), -1, 3, 0, /^unsupported version at byte 4: .*got 2\.5$/],
  ["p23-v1.4", classic({ version: [1, 4] }, THREE), -1, 0, 0, /got 1\.4$/],
  ["p24-v3.0", classic({ version: [3, 0] }, THREE), -1, 3, 0, /got 3\.0$/],
  ["p25-thiszone-sigfigs", classic({ old: [-3600, 7] }, THREE), 3, 3, 3],
  ["p26-snaplen0", classic({ snaplen: 0 }, THREE), 3, 3, 3],
  ["p27-snaplen-ffffffff", classic({ snaplen: 0xffffffff }, THREE), 3, 3, 3],
  ["p28-snaplen64-caplen1514", classic({ snaplen: 64 }, THREE), 3, 3, 3],
  ["p29-linktype-9999", classic({ link: 9999 }, THREE), 3, 0, 3],
  ["p30-linktype-147-user0", classic({ link: 147 }, THREE), 3, 3, 3],
  ["p31-linktype-fcs4", classic({ link: 0x24000001 }, THREE), 3, 3, 3],
  ["p32-linktype-reserved", classic({ link: 0x00010001 }, THREE), 3, 0, 3],
  ["p33-linktype-rbit", classic({ link: 0x08000001 }, THREE), 3, 3, 3],
  ["p34-caplen0-len0", classic({}, [NO_BYTES, frame(60)]), 2, 2, 2],
  ["p35-caplen0-len60", concat([header(), record(NO_BYTES, { length: 60 }), record(frame(60))]), 2, 2, 2],
  ["p36-caplen-gt-len", classic({}, [frame(100), frame(60)], { length: 60 }), 2, 2, 2],
  ["p37-caplen-262144", classic({}, [frame(262144), frame(60)]), 2, 2, 2],
  [
    "p38-caplen-262145",
    classic({}, [frame(262145), frame(60)]),
    0,
    0,
    0,
    /^bad captured length at byte 24: /,
  ],
  ["p39-caplen-262145-snap1M", classic({ snaplen: 1 << 20 }, [frame(262145)]), 0, 0, 0, /got 262145$/],
  [
    "p40-caplen-ffffffff",
    concat([header(), record(frame(60)), record(frame(60), { captured: 0xffffffff })]),
    1,
    2,
    1,
    /^bad captured length at byte 100: wanted at most 262144 bytes, got 4294967295$/,
  ],
  [
    "p41-caplen-7fffffff",
    concat([header(), record(frame(60)), record(frame(60), { captured: 0x7fffffff })]),
    1,
    1,
    1,
    /got 2147483647$/,
  ],
  [
    "p42-trunc-rechdr",
    concat([classic({}, THREE), record(frame(60)).slice(0, 8)]),
    3,
    3,
    3,
    /^truncated record header at byte 1746: wanted 16 bytes, got 8$/,
  ],
  [
    "p43-trunc-data",
    concat([classic({}, THREE), record(frame(60)).slice(0, 36)]),
    3,
    3,
    3,
    /^truncated record at byte 1746: wanted 60 captured bytes, got 20$/,
  ],
  [
    "p44-usec-1000000",
    concat([header(), record(frame(60), { fraction: 1e6 }), record(frame(60), { fraction: 0xffffffff })]),
    2,
    2,
    2,
  ],
  ["p45-nsec-1e9", classic({ magic: 0xa1b23c4d }, ONE, { fraction: 1e9 }), 1, 1, 1],
  [
    "p46-sec-0-and-max",
    concat([
      header(),
      ...[0, 0x7fffffff, 0x80000000, 0xffffffff].map((seconds) => record(frame(60), { seconds })),
    ]),
    4,
    4,
    4,
  ],
  ["p47-out-of-order", concat([header(), record(frame(60)), record(frame(60), { seconds: 1 })]), 2, 2, 2],
  ["p48-trailing-3", concat([classic({}, THREE), new Uint8Array(3)]), 3, 3, 3, /wanted 16 bytes, got 3$/],
  ["p49-trailing-zeros16", concat([classic({}, THREE), new Uint8Array(16)]), 4, 4, 4],
  [
    "p50-concat",
    concat([classic({}, THREE), classic({}, THREE)]),
    4,
    4,
    4,
    /^bad captured length at byte 1762: .*got 1700000000$/,
  ],
  ["p51-gz", gzipped(classic({}, THREE)), -1, 3, 3],
  ["p52-gz-trunc", gzipped(classic({}, THREE)).slice(0, -12), -1, 2, 2, /^truncated gzip data /],
  [
    "p53-gz-2members",
    concat([gzipped(classic({}, TWO)), gzipped(record(frame(1514)))]),
    -1,
    3,
    3,
  ],
  [
    "p54-crlf-damaged",
    concat([header(), Uint8Array.of(0x0d), record(frame(60), { captured: 60 })]),
    0,
    0,
    0,
    /^truncated record at byte 24: wanted 15360 captured bytes, got 61$/,
  ],
  ["p55-frame-1byte", classic({}, [frame(1), frame(13), frame(60)]), 3, 3, 3],
  ["p56-jumbo-9018", classic({}, [frame(9018), frame(65535)]), 2, 2, 2],
];

const NG: readonly Row[] = [
  ["n00-shb-only", ng(shb()), -1, 0, 0],
  ["n01-shb-idb", ng(...START), 0, 0, 0],
  ["n02-good-le", ng(...START, ...TWO.map((data) => epb(data))), 2, 2, 2],
  [
    "n03-good-be",
    ng(shb({ order: BE }), idb({ order: BE }), ...TWO.map((data) => epb(data, { order: BE }))),
    2,
    2,
    2,
  ],
  [
    "n04-epb-before-idb",
    ng(shb(), epb(frame(60)), idb()),
    -1,
    0,
    0,
    /^packet of an unknown interface at byte 28: wanted an interface description before it, got interface 0$/,
  ],
  [
    "n05-epb-ifid-7",
    ng(...START, epb(frame(60)), epb(frame(60), { id: 7 })),
    1,
    1,
    1,
    /^packet of an unknown interface at byte 140: wanted one of 1, got interface 7$/,
  ],
  ["n06-spb", ng(...START, ...TWO.map((data) => spb(data))), 2, 2, 2],
  ["n07-spb-snaplen64", ng(shb(), idb({ snaplen: 64 }), spb(frame(64), 100)), 1, 1, 1],
  ["n08-spb-snaplen0", ng(shb(), idb({ snaplen: 0 }), spb(frame(100))), 1, 1, 1],
  ["n09-pb-obsolete", ng(...START, ...TWO.map((data) => pb(data))), 2, 2, 2],
  [
    "n10-nrb-isb-dsb-cb-unknown",
    ng(...START, epb(frame(60)), ...SIDE_BLOCKS, epb(frame(100))),
    2,
    4,
    2,
  ],
  [
    "n11-len-not-mult4",
    ng(...START, epb(frame(60), { total: 33 })),
    0,
    0,
    0,
    /^bad block length at byte 48: wanted a multiple of 4, got 33$/,
  ],
  [
    "n12-trailer-mismatch",
    ng(...START, epb(frame(60), { trailer: 96 })),
    0,
    0,
    0,
    /^block length at its end at byte 136: wanted 92 as at its start, got 96$/,
  ],
  ["n13-len-8", ng(...START, epb(frame(60), { total: 8 })), 0, 0, 0, /wanted at least 12, got 8$/],
  [
    "n14-len-huge",
    ng(...START, epb(frame(60)), epb(frame(60), { total: 0xfffffff0 })),
    1,
    1,
    1,
    /wanted at most 16777216, got 4294967280$/,
  ],
  ["n15-bad-bom", ng(shb({ magic: 0xdeadbeef }), idb()), -1, 0, 0, /^bad byte-order magic at byte 8: /],
  ["n16-v1.1", ng(shb({ version: [1, 1] }), idb(), epb(frame(60))), -1, 0, 0, /wanted 1\.0, got 1\.1$/],
  ["n17-v1.2", ng(shb({ version: [1, 2] }), idb(), epb(frame(60))), 1, 1, 1],
  ["n18-v2.0", ng(shb({ version: [2, 0] }), idb(), epb(frame(60))), -1, 0, 0, /wanted 1\.0, got 2\.0$/],
  ["n19-2sections", ng(...START, epb(frame(60)), ...START, epb(frame(100))), 2, 2, 2],
  [
    "n20-2sections-mixed-endian",
    ng(
      ...START,
      epb(frame(60)),
      shb({ order: BE }),
      idb({ order: BE }),
      epb(frame(100), { order: BE }),
    ),
    1,
    2,
    2,
  ],
  [
    "n21-2if-diff-linktype",
    ng(shb(), idb(), idb({ link: 101 }), epb(frame(60)), epb(frame(40), { id: 1 })),
    0,
    2,
    2,
  ],
  [
    "n22-2if-diff-snaplen",
    ng(shb(), idb(), idb({ snaplen: 96 }), epb(frame(60)), epb(frame(60), { id: 1 })),
    0,
    2,
    2,
  ],
  [
    "n23-2if-diff-tsresol",
    ng(shb(), idb(), resolution(9), epb(frame(60)), epb(frame(60), { id: 1, time: 1700000000123456789n })),
    2,
    2,
    2,
  ],
  ...([[0, 1], [3, 1], [9, 1], [12, 1], [19, 1], [20, -1], [0x8a, 1], [0xbf, 1], [0xc0, -1]] as const).map((
    [value, libpcap],
  ): Row => [
    `n24-tsresol-${value < 128 ? value : `b${value & 127}`}`,
    ng(shb(), resolution(value), epb(frame(60))),
    libpcap,
    1,
    1,
  ]),
  [
    "n25-tsoffset",
    ng(shb(), idb({ options: [option(LE, 14, LE.u64(1700000000n))] }), epb(frame(60), { time: 1n })),
    1,
    1,
    1,
  ],
  [
    "n26-tsoffset-neg",
    ng(shb(), idb({ options: [option(LE, 14, LE.u64(-86400n))] }), epb(frame(60))),
    1,
    1,
    1,
  ],
  [
    "n27-tsresol-dup",
    ng(
      shb(),
      idb({ options: [option(LE, 9, Uint8Array.of(6)), option(LE, 9, Uint8Array.of(9))] }),
      epb(frame(60)),
    ),
    -1,
    1,
    1,
  ],
  ["n28-tsresol-len4", ng(shb(), idb({ options: [option(LE, 9, LE.u32(6))] }), epb(frame(60))), -1, 1, 1],
  ["n29-no-endofopt", ng(shb(), idb({ options: [option(LE, 2, text("eth0"))] }), epb(frame(60))), 1, 1, 1],
  [
    "n30-opt-overrun",
    ng(shb(), idb({ options: [option(LE, 2, text("eth0"), 200)] }), epb(frame(60))),
    -1,
    0,
    0,
    /^option reaches beyond its block at byte 44: wanted at most 8 bytes with its head, got 204$/,
  ],
  [
    "n31-epb-opt-overrun",
    ng(...START, epb(frame(60), { options: [option(LE, 1, text("oops"), 200)] }), epb(frame(60))),
    2,
    0,
    2,
    undefined,
    /^option of a packet reaches beyond its block at byte 136; such blocks pass as they are$/,
  ],
  ["n32-endofopt-len4", ng(shb(), idb({ options: [option(LE, 0, LE.u32(0))] }), epb(frame(60))), -1, 1, 1],
  [
    "n33-epb-caplen-gt-block",
    ng(...START, epb(frame(60), { captured: 500 })),
    0,
    0,
    0,
    /^bad captured length at byte 48: wanted at most 60 bytes in this block, got 500$/,
  ],
  ["n34-epb-caplen-gt-snaplen", ng(shb(), idb({ snaplen: 64 }), ...TWO.map((data) => epb(data))), 1, 2, 2],
  ["n35-epb-snaplen0", ng(shb(), idb({ snaplen: 0 }), epb(frame(60))), 1, 1, 1],
  ["n36-epb-caplen-gt-len", ng(...START, epb(frame(100), { length: 60 })), 1, 1, 1],
  ["n37-epb-caplen0", ng(...START, epb(NO_BYTES, { length: 60 }), epb(frame(60))), 2, 2, 2],
  [
    "n38-seclen-right",
    ng(shb({ length: 112n }), idb(), epb(frame(60)), shb({ length: 112n }), idb(), epb(frame(60))),
    2,
    2,
    2,
  ],
  ["n39-seclen-wrong", ng(shb({ length: 5n }), idb(), epb(frame(60))), 1, 1, 1],
  [
    "n40-trunc-block",
    ng(...START, epb(frame(60)), epb(frame(100)).slice(0, 92)),
    1,
    1,
    1,
    /^truncated block at byte 140: wanted 132 bytes, got 92$/,
  ],
  [
    "n41-trunc-blockhdr",
    ng(...START, epb(frame(60)), epb(frame(100)).slice(0, 4)),
    1,
    1,
    1,
    /^truncated block header at byte 140: wanted 8 bytes, got 4$/,
  ],
  [
    "n42-trailing-garbage",
    ng(...START, epb(frame(60)), text("garbage!!")),
    1,
    1,
    1,
    /^bad block length at byte 140/,
  ],
  ["n43-epb-all-opts", ng(...START, epb(frame(61), { options: EVERY_OPTION })), 1, 1, 1],
  ["n44-linktype-9999", ng(shb(), idb({ link: 9999 }), epb(frame(60))), 1, 1, 1],
  ["n45-gz", gzipped(ng(...START, epb(frame(60)))), -1, 1, 1],
  ["n46-idb-late", ng(...START, epb(frame(60)), idb(), epb(frame(100), { id: 1 })), 2, 2, 2],
  ["n47-ts-max", ng(...START, epb(frame(60), { time: 0xffffffffffffffffn })), 1, 1, 1],
  ["n48-idb-reserved", ng(shb(), idb({ reserved: 0xbeef }), epb(frame(60))), 1, 1, 1],
  ["n49-2sections-diff-lt", ng(...START, epb(frame(60)), shb(), idb({ link: 101 }), epb(frame(40))), 1, 2, 2],
  [
    "n50-shb-too-long",
    concat([shb({ total: 2 << 20 }), new Uint8Array(96)]),
    -1,
    1,
    0,
    /^truncated block at byte 0: wanted 2097152 bytes, got 124$/,
  ],
];

function gzipped(bytes: Uint8Array): Bytes {
  return new Uint8Array(gzipSync(bytes));
}

/** All of them. */
export const specimens: readonly Specimen[] = [...CLASSIC, ...NG].map((
  [name, bytes, libpcap, wireshark, packets, error, warning],
) => ({ name, bytes, libpcap, wireshark, packets, ...error && { error }, ...warning && { warning } }));

/** Whether a capture is compressed. */
export function isGzip({ bytes }: Specimen): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}
