import { assertEquals } from "@std/assert";
import { PAYLOAD, transmitChain } from "./attack.ts";
import { assertFault } from "./faults.ts";
import { BUFFERS, RawNet } from "./raw_net.ts";

/** virtio 1.4, 5.1.6.2: gso_type by the feature that it needs. */
Deno.test("device half: with CSUM, gso_type takes what was negotiated, and nothing else", () => {
  const kinds = [[1, "HOST_TSO4"], [4, "HOST_TSO6"], [3, "HOST_UFO"], [5, "HOST_USO"]] as const;
  for (const [gso, feature] of kinds) {
    for (
      const features of [
        [],
        [feature],
        kinds.map(([, name]) => name).filter((name) => name !== feature),
      ]
    ) {
      for (const ecn of [false, true]) {
        const net = new RawNet({ features: ["CSUM", ...features, ...ecn ? ["HOST_ECN" as const] : []] });
        const good = features.some((name) => name === feature);
        const send = (type: number) => {
          transmitChain(net, net.packet(BUFFERS, PAYLOAD));
          net.put(BUFFERS, [1, type, 54, 0, 10]);
          net.kick(1);
        };
        const tcp = gso === 1 || gso === 4;
        if (good) send(gso);
        if (good && ecn && tcp) send(0x80 | gso);
        assertEquals(net.frames.length, good ? (ecn && tcp ? 2 : 1) : 0);
        // Neither kinds that do not exist, nor ECN without its feature or with UDP.
        for (const bad of [2, 6, 0x80, ...good ? ecn && tcp ? [] : [0x80 | gso] : [gso, 0x80 | gso]]) {
          const other = new RawNet({ features: ["CSUM", ...features, ...ecn ? ["HOST_ECN" as const] : []] });
          transmitChain(other, other.packet(BUFFERS, PAYLOAD));
          other.put(BUFFERS, [1, bad, 54, 0, 10]);
          assertFault(() => other.kick(1), "device", "header-not-negotiated");
        }
      }
    }
  }
});
