import { assert, assertEquals } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { LocalHost } from "../../core/host.ts";
import { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { PAYLOAD, PROFILES } from "./attack.ts";
import { assertFault } from "./faults.ts";
import { BUFFERS, RAM, RawNet } from "./raw_net.ts";
import { RawRing } from "./raw_ring.ts";

Deno.test("device half: a ring part that is unmapped while the queue runs is bad-ring-address", () => {
  const net = new RawNet();
  net.space.unmap(net.space.find(RAM, 0)!);
  let fault: unknown;
  try {
    net.kick(1);
  } catch (error) {
    fault = error;
  }
  assert(fault instanceof RingFault, `${fault ?? "no fault"}`);
  assertEquals(fault.code, "bad-ring-address");
});

Deno.test("device half: avail.idx that goes back among chains already seen is avail-idx-jump", () => {
  for (const profile of PROFILES) {
    for (const back of [1, 2, 3]) {
      const net = new RawNet({ profile });
      for (let i = 0; i < 4; i++) net.tx.offer(net.tx.chain(i, net.packet(BUFFERS + 64 * i, PAYLOAD)));
      const queue = net.device.queues[1]!;
      assert(queue.pop());
      net.tx.availIdx -= back;
      assertFault(() => queue.enableNotify(), "device", "avail-idx-jump");
      assertEquals(queue.running, false);
    }
  }
});

Deno.test("device half: the largest ring may be full; one more is avail-idx-jump, wherever its indices are", () => {
  const size = 32768;
  const host = new LocalHost({ dmaSize: 1 << 21 });
  const { start } = host.dma.region;
  const areas = { desc: start, driver: start + 0x8_0000, device: start + 0xa_0000 };
  const ring = new RawRing(host.memory.view, size, 0, 0x8_0000, 0xa_0000);
  for (let head = 0; head < size; head++) {
    ring.setDesc(head, { addr: start + 0x10_0000 + 16 * head, len: 16 });
  }
  for (const profile of PROFILES) {
    for (const first of [0, 1, 32767, 32768, 65535]) {
      const queue = new DeviceQueue("tx0", 1, size, host.space, host.space, { profile });
      const open = (ahead: number) => {
        queue.start(size, areas, 1n << 32n, first);
        for (let i = 0; i < size; i++) {
          host.memory.view.setUint16(ring.avail + 4 + 2 * ((first + i) % size), i, true);
        }
        ring.availIdx = (first + ahead) & 0xffff;
      };
      open(size + 1);
      assertFault(() => queue.pop(), "device", "avail-idx-jump");
      open(size);
      let popped = 0;
      while (queue.pop()) queue.push(queue.head, 0), popped++;
      queue.publish();
      assertEquals([popped, ring.usedIdx], [size, (first + size) & 0xffff]);
    }
  }
});
