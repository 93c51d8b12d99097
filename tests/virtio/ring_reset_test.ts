import { assert, assertEquals, assertThrows } from "@std/assert";
import type { FrameSink } from "../../core/plugin.ts";
import { RingPair } from "../../core/ring_pair.ts";
import type { VirtioNetDriver } from "../../plugins/virtio/driver.ts";
import virtio from "../../plugins/virtio/mod.ts";

const MEMORY = { dmaSize: 1 << 26 };

function frames(count: number, first: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => new Uint8Array((first + i) * 37 % 3000).fill(first + i));
}

/** Sends frames in rounds of what fits, and takes them back. */
function exchange(pair: RingPair, sent: readonly Uint8Array[]): Uint8Array[] {
  const received: Uint8Array[] = [];
  for (const frame of sent) {
    while (!pair.transmit(frame)) {
      pair.service();
      received.push(...pair.receive());
    }
  }
  while (received.length < sent.length) {
    assert(pair.service() > 0);
    received.push(...pair.receive());
  }
  return received;
}

/** A sink that keeps copies. */
function keep(into: number[]): FrameSink {
  return { piece: (_queue, _bytes, _offset, length) => void into.push(length) };
}

for (
  const given of [{}, { "in-order": "on" }, { "event-idx": "off" }, { "mrg-rxbuf": "off", indirect: "off" }]
) {
  Deno.test(`queues change their size between frames, and lose none: ${JSON.stringify(given)}`, () => {
    const pair = new RingPair(virtio, { "queue-size": "64", ...given }, MEMORY);
    const driver = pair.link.driver as VirtioNetDriver;
    let first = 1;
    for (const [tx, rx] of [[64, 64], [2, 8], [64, 4], [1, 32], [16, 16]] as const) {
      const late: number[] = [];
      pair.receive();
      driver.resize(0, tx, rx, keep(late));
      assertEquals(late, []);
      const sizes = (driver.inspect().queues as { size: number }[]).map(({ size }) => size);
      assertEquals(sizes, [rx, tx]);
      const sent = frames(200, first);
      assertEquals(exchange(pair, sent), sent);
      first += 200;
    }
    const counters = pair.counters();
    assertEquals([counters["tx.chains"], counters["rx.frames"]], [1000, 1000]);
    assertEquals(counters["device.tx.chains"], 1000);
  });
}

Deno.test("a resize hands over what the device had delivered", () => {
  const pair = new RingPair(virtio, { "queue-size": "8" }, MEMORY);
  const driver = pair.link.driver as VirtioNetDriver;
  for (const length of [10, 20, 30]) pair.transmit(new Uint8Array(length));
  pair.service();
  const late: number[] = [];
  driver.resize(0, 4, 4, keep(late));
  assertEquals(late, [10, 20, 30]);
  assertEquals(pair.receive(), []);
});

Deno.test("a resize is refused while the device has frames, and without RING_RESET", () => {
  const pair = new RingPair(virtio, { "queue-size": "8" }, MEMORY);
  const driver = pair.link.driver as VirtioNetDriver;
  pair.transmit(new Uint8Array(10));
  assertThrows(() => driver.resize(0, 4, 4, keep([])), RangeError, "the device has 1 frames");
  pair.service();
  assertEquals(pair.receive().length, 1);
  const legacy = new RingPair(virtio, { layout: "legacy" }, MEMORY).link.driver as VirtioNetDriver;
  assertThrows(() => legacy.resize(0, 4, 4, keep([])), RangeError, "RING_RESET");
});

Deno.test("a larger ring than the device's largest becomes the largest", () => {
  const pair = new RingPair(virtio, { "queue-size": "16" }, MEMORY);
  const driver = pair.link.driver as VirtioNetDriver;
  driver.resize(0, 1024, 1024, keep([]));
  assertEquals((driver.inspect().queues as { size: number }[]).map(({ size }) => size), [16, 16]);
  const sent = frames(50, 1);
  assertEquals(exchange(pair, sent), sent);
});
