import { assertEquals } from "@std/assert";
import { RingPair } from "../../core/ring_pair.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import virtio from "../../plugins/virtio/mod.ts";
import { RawNet } from "./raw_net.ts";

const ALL: readonly Feature[] = ["CTRL_RX", "CTRL_RX_EXTRA", "CTRL_VLAN", "CTRL_MAC_ADDR", "HASH_REPORT"];
/** What HASH_CONFIG has where RSS_CONFIG has its table. */
const ZEROS: readonly number[] = Array(8).fill(0);
const OK = 0;
const ERR = 1;

/** Sends commands, each cut into readable buffers after so many bytes, and returns the acks. */
function send(net: RawNet, commands: readonly (readonly number[])[], cut?: number): number[] {
  return commands.map((command) => net.command(command, cut));
}

Deno.test("commands set receive modes, the address, its tables and VLANs", () => {
  const net = new RawNet({ features: ALL });
  const { control } = net.device;
  assertEquals(send(net, [[0, 0, 1], [0, 1, 1], [0, 5, 1], [0, 1, 0]]), [OK, OK, OK, OK]);
  assertEquals([...control.modes], ["promisc", "nobcast"]);
  assertEquals(send(net, [[1, 1, 2, 3, 5, 7, 11, 13]]), [OK]);
  assertEquals(control.mac, [2, 3, 5, 7, 11, 13]);
  const table = [2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1];
  assertEquals(send(net, [[1, 0, ...table]]), [OK]);
  assertEquals(control.macTable, [[[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]], [[1, 0, 0x5e, 0, 0, 1]]]);
  assertEquals(send(net, [[2, 0, 0xff, 0x0f], [2, 0, 7, 0], [2, 1, 7, 0]]), [OK, OK, OK]);
  assertEquals([...control.vlans], [4095]);
  assertEquals(control.commands, 9);
});

Deno.test("a command may lie in any number of buffers", () => {
  for (const cut of [1, 2, 3]) {
    const net = new RawNet({ features: ALL, size: 16 });
    assertEquals(send(net, [[1, 1, 2, 3, 5, 7, 11, 13]], cut), [OK]);
    assertEquals(net.device.control.mac, [2, 3, 5, 7, 11, 13]);
  }
});

Deno.test("commands that do not exist, or whose data are short or wrong, are refused and change nothing", () => {
  const net = new RawNet({ features: ALL });
  const refused = [
    [0],
    [0, 0],
    [0, 6, 1],
    [1, 1, 2, 3, 5, 7, 11],
    [1, 2, 0],
    // More addresses than there are bytes, up to what would overflow.
    [1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 1],
    [1, 0, 0xff, 0xff, 0xff, 0xff],
    [1, 0, 0, 0, 0, 0],
    [2, 0, 7],
    [2, 0, 0, 0x10],
    [2, 2, 7, 0],
    [3, 0],
    [4, 0, 1, 0],
    [4, 1, 0xff, 1, 0, 0],
    [4, 2, 0xff, 1, 0, 0],
    // HASH_CONFIG: reserved fields that are not zero; a type that is not supported; types without a key; a key too long, or not all there.
    [4, 2, 1, 0, 0, 0, ...ZEROS.with(0, 1), 1, 7],
    [4, 2, 1, 0, 0, 0, ...ZEROS.with(7, 1), 1, 7],
    [4, 2, 0, 2, 0, 0, ...ZEROS, 1, 7],
    [4, 2, 1, 0, 0, 0, ...ZEROS, 0],
    [4, 2, 1, 0, 0, 0, ...ZEROS, 41, ...Array(41).fill(7)],
    [4, 2, 1, 0, 0, 0, ...ZEROS, 3, 7, 7],
    [9, 9, 9],
    [0xff, 0xff],
  ];
  assertEquals(send(net, refused), refused.map(() => ERR));
  const { control } = net.device;
  assertEquals([control.commands, control.pairs, control.modes.size, control.vlans.size], [0, 1, 0, 0]);
});

Deno.test("a command needs its feature", () => {
  const net = new RawNet({ features: [] });
  assertEquals(send(net, [[0, 0, 1], [1, 1, 2, 3, 5, 7, 11, 13], [2, 0, 7, 0]]), [ERR, ERR, ERR]);
});

Deno.test("reset forgets what commands set", () => {
  const net = new RawNet({ features: ALL });
  const { control } = net.device;
  const before = control.mac;
  send(net, [[0, 0, 1], [1, 1, 2, 3, 5, 7, 11, 13], [2, 0, 7, 0]]);
  net.device.reset();
  assertEquals([control.mac, control.modes.size, control.vlans.size], [before, 0, 0]);
});

Deno.test("a legacy device may have a control queue, too", () => {
  const features = featureMask("MAC", "CTRL_VQ", "CTRL_RX", "ANY_LAYOUT");
  const pair = new RingPair(virtio, { layout: "legacy", features, "queue-size": "2" }, { dmaSize: 1 << 24 });
  const frame = new Uint8Array(100).fill(3);
  pair.transmit(frame);
  pair.service();
  assertEquals(pair.receive(), [frame]);
});
