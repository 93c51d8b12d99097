import { assertEquals } from "@std/assert";
import { FULL, OVERSIZE } from "../../core/plugin.ts";
import { DQO_COMPLETION } from "../../plugins/gve/constants.ts";
import { DqoTxDriver } from "../../plugins/gve/dqo/tx_driver.ts";
import { Fifo } from "../../plugins/gve/gqi/fifo.ts";
import { GqiTxDriver } from "../../plugins/gve/gqi/tx_driver.ts";
import { gve_tx_compl_desc } from "../../plugins/gve/layout.ts";
import { TransmitRequest } from "../../plugins/gve/transmit_request.ts";
import { Surroundings } from "./replay_context.ts";

const PAGE = 4096;

/** A packet of so many bytes. */
function packet(length: number): TransmitRequest {
  const request = new TransmitRequest();
  request.push(new Uint8Array(length), 0, length, 0x100000);
  return request;
}

Deno.test("GQI: a packet as long as the FIFO allows goes while the FIFO is empty, and waits while it is not", () => {
  const fifo = new Fifo(PAGE);
  const around = new Surroundings(4 * PAGE);
  const place = { queue: 0, ring: PAGE, size: 64, doorbell: 0 };
  const queue = new GqiTxDriver(around.context, place, {
    fifo,
    fifoOffset: 2 * PAGE,
    counter: 0,
    reserve: 21,
  });
  const complete = () => {
    around.memory.view.setUint32(0, queue.posted);
    queue.clean();
  };
  // A header of 182 bytes takes 192, and a byte must stay free.
  assertEquals(queue.transmit(packet(PAGE - 10)), OVERSIZE);
  assertEquals(queue.transmit(packet(PAGE - 11)), 0);
  assertEquals(queue.transmit(packet(PAGE - 11)), FULL);
  complete();
  assertEquals(fifo.available, PAGE);
  assertEquals(queue.transmit(packet(60)), 0);
  assertEquals(queue.transmit(packet(PAGE - 11)), FULL, "around the end");
  complete();
  assertEquals(queue.transmit(packet(PAGE - 11)), 0);
  complete();
  while (fifo.head < PAGE - 128) {
    assertEquals(queue.transmit(packet(60)), 0);
    complete();
  }
  assertEquals(
    queue.transmit(packet(PAGE - 11)),
    OVERSIZE,
    "128 bytes at the end are too few for the header",
  );
  assertEquals(queue.transmit(packet(PAGE - 11 - 128)), 0);
});

Deno.test("DQO: a packet waits for descriptors only if a report event will tell of them", () => {
  const size = 64;
  const around = new Surroundings(4 * PAGE);
  const queue = new DqoTxDriver(around.context, { queue: 0, ring: 0, size, doorbell: 0 }, {
    completions: PAGE,
    pages: undefined,
  });
  /** A packet with so many descriptors: a context, and data. */
  const send = (descriptors: number) => queue.transmit(packet((descriptors - 1) * 16383));
  const report = (head: number) => {
    const values = { type: DQO_COMPLETION.DESCRIPTOR, generation: 1, completion_tag: head };
    around.memory.bytes.set(gve_tx_compl_desc.encode(values), PAGE);
    queue.clean();
  };
  // Of 63 descriptors 4 are spare. A packet whose last descriptor is the 33rd or later is the first to be reported.
  assertEquals(queue.transmit(packet(65536)), OVERSIZE);
  for (let i = 0; i < 8; i++) assertEquals(send(4), 0);
  assertEquals([queue.tail, queue.lastReport], [32, 0]);
  const pieces = new TransmitRequest();
  for (let i = 0; i < 27; i++) pieces.push(new Uint8Array(100), 0, 100, 0x100000);
  assertEquals(queue.transmit(pieces), OVERSIZE, "28 descriptors and 4: none of the 32 will ever be told of");
  pieces.length -= 100;
  pieces.pieces--;
  assertEquals(queue.transmit(pieces), 0, "27 descriptors and 4");
  assertEquals([queue.tail, queue.lastReport], [59, 58]);
  assertEquals(send(2), FULL);
  report(59);
  assertEquals(send(2), 0);
  assertEquals([queue.tail, queue.lastReport], [61, 58]);
});
