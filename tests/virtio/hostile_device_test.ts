import { assertEquals } from "@std/assert";
import { DRIVER_FAULTS } from "../../plugins/virtio/faults.ts";
import type { Feature } from "../../plugins/virtio/features.ts";
import { assertFault } from "./faults.ts";
import { RawPeer } from "./raw_peer.ts";
import { NEXT, WRITE } from "./raw_ring.ts";

const PAYLOAD = Uint8Array.from({ length: 20 }, (_, i) => i + 1);
const BUFFER = 256;

interface Attack {
  /** What the device does. */
  readonly name: string;
  readonly code: string;
  readonly ring: "rx0" | "tx0";
  readonly features?: readonly Feature[];
  /** Writes rings and buffers. */
  readonly attack: (peer: RawPeer) => void;
  /** Frames that are the driver's all the same: they came before the rule was broken. */
  readonly delivered?: number;
}

const attacks: readonly Attack[] = [
  {
    name: "used.idx of the receive ring is one more than chains are outstanding",
    code: "used-idx-jump",
    ring: "rx0",
    attack: (peer) => peer.rx.usedIdx = 9,
  },
  {
    name: "used.idx of the receive ring goes backwards",
    code: "used-idx-jump",
    ring: "rx0",
    attack: (peer) => peer.rx.usedIdx = 0xffff,
  },
  {
    name: "a transmit chain is used that was never sent",
    code: "used-idx-jump",
    ring: "tx0",
    attack: (peer) => peer.tx.use(0, 0),
  },
  {
    name: "a transmit chain is used that is not published yet",
    code: "used-idx-jump",
    ring: "tx0",
    attack: (peer) => {
      peer.driver.transmit(PAYLOAD, 0, PAYLOAD.length, 0);
      peer.tx.use(0, 0);
    },
  },
  {
    name: "an id names no descriptor",
    code: "used-id-out-of-range",
    ring: "rx0",
    attack: (peer) => peer.rx.use(8, 32),
  },
  {
    name: "an id is an outstanding head but for bits above the 16th",
    code: "used-id-out-of-range",
    ring: "rx0",
    attack: (peer) => peer.rx.use(0x10000, 32),
  },
  {
    name: "an id comes twice in one batch",
    code: "used-id-not-outstanding",
    ring: "rx0",
    attack: (peer) => {
      peer.rx.use(3, peer.fill(3, PAYLOAD));
      peer.rx.use(3, 32);
    },
    delivered: 1,
  },
  {
    name: "an id names a free descriptor",
    code: "used-id-not-outstanding",
    ring: "tx0",
    attack: (peer) => {
      peer.send(PAYLOAD);
      peer.tx.use(1, 0);
    },
  },
  {
    name: "with IN_ORDER, another chain than the oldest is used alone",
    code: "used-out-of-order",
    ring: "tx0",
    features: ["IN_ORDER"],
    attack: (peer) => {
      peer.send(PAYLOAD);
      peer.send(PAYLOAD);
      peer.tx.use(1, 0);
    },
  },
  {
    name: "more was written than the receive buffer holds",
    code: "used-length",
    ring: "rx0",
    attack: (peer) => peer.rx.use(0, BUFFER + 1),
  },
  {
    name: "something was written into a transmit chain",
    code: "used-length",
    ring: "tx0",
    attack: (peer) => {
      peer.send(PAYLOAD);
      peer.tx.use(0, 1);
    },
  },
  {
    name: "a receive buffer comes back shorter than the net header",
    code: "used-short",
    ring: "rx0",
    attack: (peer) => peer.rx.use(0, 11),
  },
  {
    name: "num_buffers is 0",
    code: "num-buffers",
    ring: "rx0",
    features: ["MRG_RXBUF"],
    attack: (peer) => peer.rx.use(0, peer.fill(0, PAYLOAD, 0)),
  },
  {
    name: "num_buffers is more than was published",
    code: "num-buffers",
    ring: "rx0",
    features: ["MRG_RXBUF"],
    attack: (peer) => peer.rx.use(0, peer.fill(0, new Uint8Array(BUFFER - 12), 2)),
  },
  {
    name: "num_buffers is more than the ring has",
    code: "num-buffers",
    ring: "rx0",
    features: ["MRG_RXBUF"],
    attack: (peer) => peer.rx.use(0, peer.fill(0, new Uint8Array(BUFFER - 12), 0xffff)),
  },
  {
    name: "a merged buffer other than the last is not full",
    code: "merged-not-full",
    ring: "rx0",
    features: ["MRG_RXBUF"],
    attack: (peer) => {
      peer.fill(0, new Uint8Array(BUFFER - 12), 2);
      peer.rx.use(0, BUFFER - 1);
      peer.rx.use(1, 5);
    },
  },
  {
    name: "a received header has flags that were not negotiated",
    code: "frame-header",
    ring: "rx0",
    attack: (peer) => {
      peer.rx.use(0, peer.fill(0, PAYLOAD));
      peer.host.memory.bytes[peer.buffer(0)] = 2;
    },
  },
  {
    name: "a received header has a gso_type that was not negotiated",
    code: "frame-header",
    ring: "rx0",
    attack: (peer) => {
      peer.rx.use(0, peer.fill(0, PAYLOAD));
      peer.host.memory.bytes[peer.buffer(0) + 1] = 1;
    },
  },
  {
    name: "a good frame comes before a bad one",
    code: "used-short",
    ring: "rx0",
    delivered: 1,
    attack: (peer) => {
      peer.rx.use(5, peer.fill(5, PAYLOAD));
      peer.rx.use(2, 3);
      peer.rx.use(1, peer.fill(1, PAYLOAD));
    },
  },
  {
    name: "used.flags has a bit that does not exist",
    code: "used-flags",
    ring: "tx0",
    attack: (peer) => peer.tx.usedFlags = 2,
  },
  {
    name: "used.flags is not 0 with EVENT_IDX",
    code: "used-flags",
    ring: "tx0",
    features: ["EVENT_IDX"],
    attack: (peer) => peer.tx.usedFlags = 1,
  },
];

for (const { name, code, ring, features = [], attack, delivered = 0 } of attacks) {
  Deno.test(`driver half: ${name}`, () => {
    const peer = new RawPeer({ features, rxBuffer: BUFFER });
    attack(peer);
    const provoke = code === "used-flags" ? () => peer.send(PAYLOAD) : () => peer.receive();
    const fault = assertFault(provoke, "driver", code);
    assertEquals(fault.ring, ring);
    assertEquals(peer.frames, new Array(delivered).fill(PAYLOAD));
    // The ring is stopped: whatever the device does now, the same fault comes again.
    const raw = ring === "rx0" ? peer.rx : peer.tx;
    raw.usedIdx = 0;
    raw.usedFlags = 0;
    if (code !== "used-flags") {
      assertEquals(assertFault(() => peer.receive(), "driver", code), fault);
    }
    if (ring === "tx0") assertEquals(assertFault(() => peer.send(PAYLOAD), "driver", code), fault);
    assertEquals(peer.frames.length, delivered);
  });
}

/** Answers the command that waits on the control queue with this ack, saying that so many bytes were written. */
function answer(ack: number, length = 1): (peer: RawPeer) => void {
  return (peer) => {
    const ring = peer.ring(2);
    const command = ring.getDesc(0);
    assertEquals([command.flags, ring.getDesc(command.next).flags], [NEXT, WRITE]);
    const at = peer.host.dma.region.offsetOf(ring.getDesc(command.next).addr);
    peer.host.memory.bytes[at] = ack;
    ring.use(0, length);
  };
}

const HASH: readonly Feature[] = ["CTRL_VQ", "HASH_REPORT"];

Deno.test("driver half: a control command that succeeds lets the driver come up", () => {
  const peer = new RawPeer({ features: HASH, onControl: answer(0) });
  assertEquals(peer.transport.getStatus(), 15);
  assertEquals(peer.transport.kicks, [0, 2]);
});

for (
  const [name, code, onControl] of [
    ["is refused", "control-failed", answer(1)],
    ["is answered with an ack that does not exist", "control-failed", answer(2)],
    ["is used, but its ack never written", "control-failed", (peer: RawPeer) => peer.ring(2).use(0, 0)],
    ["is never answered", "control-failed", () => {}],
    ["comes back longer than its ack", "used-length", answer(0, 2)],
    ["comes back as another one", "used-id-not-outstanding", (peer: RawPeer) => peer.ring(2).use(1, 1)],
  ] as const
) {
  Deno.test(`driver half: a control command that ${name}`, () => {
    const fault = assertFault(() => new RawPeer({ features: HASH, onControl }), "driver", code);
    assertEquals(fault.ring, "ctrl");
  });
}

/** virtio 1.4, 5.1.4.1: a field of the configuration, its bounds and the feature by which it counts. */
for (
  const [name, at, feature, bad, good] of [
    ["max_virtqueue_pairs", 8, "MQ", [0, 0x8001], 1],
    ["max_virtqueue_pairs", 8, "RSS", [0, 0xffff], 1],
    ["mtu", 10, "MTU", [0, 67], 68],
    ["rss_max_key_size", 17, "HASH_REPORT", [0, 39], 40],
    ["rss_max_key_size", 17, "RSS", [39], 40],
    ["rss_max_indirection_table_length", 18, "RSS", [0, 127], 128],
  ] as const
) {
  Deno.test(`driver half: a device with ${feature} whose ${name} is out of bounds is given up`, () => {
    const field = (value: number) => (config: Uint8Array) => {
      config[at] = value & 0xff;
      if (at !== 17) config[at + 1] = value >> 8;
    };
    const open = (value: number, ...features: Feature[]) =>
      new RawPeer({ features: ["CTRL_VQ", ...features], config: field(value), onControl: answer(0) });
    for (const value of bad) {
      const fault = assertFault(() => open(value, feature), "driver", "bring-up");
      assertEquals(fault.values, { reason: `${name} out of range`, value });
      // Without the feature the field says nothing.
      assertEquals(open(value).transport.getStatus(), 15);
    }
    assertEquals(open(good, feature).transport.getStatus(), 15);
  });
}

Deno.test("DRIVER_FAULTS lists what a device can provoke, and nothing else", () => {
  const provoked = new Set([...attacks.map(({ code }) => code), "control-failed", "bring-up"]);
  assertEquals([...provoked].sort(), Object.keys(DRIVER_FAULTS).sort());
});

Deno.test("driver half: used.len may be less than was written, and 0 of a transmit chain", () => {
  const peer = new RawPeer();
  peer.fill(0, PAYLOAD);
  peer.rx.use(0, 12 + 5);
  peer.send(PAYLOAD);
  peer.tx.use(0, 0);
  assertEquals(peer.receive(), 2);
  assertEquals(peer.frames, [PAYLOAD.subarray(0, 5)]);
});

Deno.test("driver half: num_buffers means nothing without MRG_RXBUF", () => {
  const peer = new RawPeer();
  peer.rx.use(0, peer.fill(0, PAYLOAD, 0x7777));
  peer.receive();
  assertEquals(peer.frames, [PAYLOAD]);
});

Deno.test("driver half: with IN_ORDER one used element stands for all chains up to its id", () => {
  const peer = new RawPeer({ features: ["IN_ORDER"] });
  for (let i = 0; i < 5; i++) peer.send(PAYLOAD);
  // The element lies in the slot of the batch's first chain; the slots behind it stay stale.
  peer.tx.use(3, 0);
  peer.tx.usedIdx = 4;
  assertEquals(peer.receive(), 4);
  // Received buffers whose length is not told count as full.
  for (const head of [0, 1]) peer.fill(head, new Uint8Array(BUFFER - 12).fill(head));
  peer.rx.use(1, 12 + 3);
  peer.rx.usedIdx = 2;
  assertEquals(peer.receive(), 2);
  assertEquals(peer.frames.map((frame) => frame.length), [BUFFER - 12, 3]);
});

Deno.test("driver half: fields read once stay as they were when the sink changes the ring", () => {
  const peer = new RawPeer({ features: ["MRG_RXBUF"], rxBuffer: BUFFER });
  const first = new Uint8Array(BUFFER - 12).fill(1);
  peer.rx.use(0, peer.fill(0, first, 2));
  const at = peer.buffer(1);
  peer.host.memory.bytes.fill(2, at, at + 7);
  peer.rx.use(1, 7);
  const lengths: number[] = [];
  peer.driver.receive({
    piece: (_queue, _bytes, _offset, length, more) => {
      lengths.push(length);
      // A device that writes while the driver reads: lengths, ids, num_buffers and the index itself, all read by now.
      for (let slot = 0; slot < lengths.length; slot++) {
        peer.host.memory.view.setUint32(peer.rx.used + 4 + 8 * slot, 7, true);
        peer.host.memory.view.setUint32(peer.rx.used + 8 + 8 * slot, 0xffff_ffff, true);
      }
      peer.host.memory.bytes.fill(0xff, peer.buffer(0), peer.buffer(0) + 12);
      assertEquals(more, lengths.length === 1);
    },
  });
  assertEquals(lengths, [BUFFER - 12, 7]);
});

Deno.test("driver half: descriptors that the device overwrites are not believed", () => {
  const peer = new RawPeer({ features: [] });
  const buffers = Array.from({ length: 8 }, (_, head) => peer.buffer(head));
  const frame = peer.fill(4, PAYLOAD);
  for (let head = 0; head < 8; head++) {
    peer.rx.setDesc(head, { addr: 0, len: 0xffff, flags: 7, next: 0xffff });
  }
  peer.rx.use(4, frame);
  peer.receive();
  assertEquals(peer.frames, [PAYLOAD]);
  // The length check goes by what was posted, not by what stands there now.
  peer.rx.use(5, 300);
  assertFault(() => peer.receive(), "driver", "used-length");
  assertEquals(new Set(buffers).size, 8);
});
