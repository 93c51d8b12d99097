/**
 * The system's libpcap, called directly: what it makes of a capture is what ours is held against.
 *
 * @module
 */

/** A packet as libpcap delivers it, or as it is to be compared with that. */
export interface Packet {
  /** Seconds; libpcap before 1.11 takes those of pcap as signed. */
  readonly seconds: bigint;
  /** Nanoseconds, or whatever the record said. */
  readonly nanoseconds: number;
  /** Bytes that were on the wire. */
  readonly length: number;
  /** The captured bytes. */
  readonly bytes: Uint8Array;
}

/** What libpcap made of a capture. */
export interface Reading {
  /** The packets before the error, if there was one. */
  readonly packets: Packet[];
  /** Why it stopped before the end. */
  readonly error: string | undefined;
}

const SYMBOLS = {
  // Of the C library, which comes with it.
  fmemopen: { parameters: ["buffer", "usize", "buffer"], result: "pointer" },
  fclose: { parameters: ["pointer"], result: "i32" },
  pcap_fopen_offline_with_tstamp_precision: { parameters: ["pointer", "u32", "buffer"], result: "pointer" },
  pcap_next_ex: { parameters: ["pointer", "buffer", "buffer"], result: "i32" },
  pcap_geterr: { parameters: ["pointer"], result: "pointer" },
  pcap_close: { parameters: ["pointer"], result: "void" },
} as const;

function open(): Deno.DynamicLibrary<typeof SYMBOLS> | undefined {
  for (const name of ["libpcap.so.0.8", "libpcap.so.1"]) {
    try {
      return Deno.dlopen(name, SYMBOLS);
    } catch {
      // Not that one.
    }
  }
  return undefined;
}

const library = open();

/** Like `needPeers`, for the library. */
export function needLibpcap(): { ignore: boolean } {
  if (library) return { ignore: false };
  if (Deno.env.get("CI")) throw new Error("Tests need libpcap: not found");
  Deno.stderr.writeSync(new TextEncoder().encode("tests left out: libpcap not found\n"));
  return { ignore: true };
}

function pointerAt(bytes: Uint8Array): Deno.PointerValue {
  return Deno.UnsafePointer.create(new DataView(bytes.buffer).getBigUint64(0, true));
}

/** Reads a capture with libpcap, with times in nanoseconds. It must not be empty. */
export function readWithLibpcap(capture: Uint8Array<ArrayBuffer>): Reading {
  const { symbols } = library!;
  const message = new Uint8Array(256);
  const packets: Packet[] = [];
  const file = symbols.fmemopen(capture, BigInt(capture.length), new TextEncoder().encode("rb\0"));
  const handle = symbols.pcap_fopen_offline_with_tstamp_precision(file, 1, message);
  if (handle === null) {
    symbols.fclose(file);
    return { packets, error: new TextDecoder().decode(message.subarray(0, message.indexOf(0))) };
  }
  const header = new Uint8Array(8);
  const data = new Uint8Array(8);
  try {
    for (;;) {
      const status = symbols.pcap_next_ex(handle, header, data);
      if (status === -2) return { packets, error: undefined };
      if (status !== 1) {
        return { packets, error: Deno.UnsafePointerView.getCString(symbols.pcap_geterr(handle)!) };
      }
      const view = new Deno.UnsafePointerView(pointerAt(header)!);
      const captured = view.getUint32(16);
      const bytes = new Uint8Array(captured);
      if (captured > 0) Deno.UnsafePointerView.copyInto(pointerAt(data)!, bytes);
      packets.push({
        seconds: view.getBigInt64(0),
        nanoseconds: Number(BigInt.asUintN(32, view.getBigInt64(8))),
        length: view.getUint32(20),
        bytes,
      });
    }
  } finally {
    symbols.pcap_close(handle);
  }
}
