import { assert, assertEquals } from "@std/assert";
import { FEATURE_BITS, featureMask } from "../../plugins/virtio/features.ts";
import { FEATURES, openModern } from "./modern_device.ts";

Deno.test("features are offered in words of 32 bits, and words above the last are 0", () => {
  const { registers } = openModern();
  assertEquals(registers.offered(), FEATURES);
  registers.set("device_feature_select", 4);
  assertEquals(registers.get("device_feature"), 0);
  registers.set("device_feature_select", 0xffff_ffff);
  assertEquals(registers.get("device_feature"), 0);
  // Bit 31 of a word comes back as written, not as a negative number.
  registers.set("driver_feature_select", 1);
  registers.set("driver_feature", 0x8000_0001);
  assertEquals(registers.get("driver_feature"), 0x8000_0001);
  registers.set("driver_feature_select", 77);
  registers.set("driver_feature", 1);
  registers.set("driver_feature_select", 1);
  assertEquals(registers.get("driver_feature"), 0x8000_0001);
});

/** virtio 1.4, 5.1.3.1: a feature, and what it needs. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  GUEST_TSO4: ["GUEST_CSUM"],
  GUEST_TSO6: ["GUEST_CSUM"],
  GUEST_ECN: ["GUEST_TSO4", "GUEST_CSUM"],
  GUEST_UFO: ["GUEST_CSUM"],
  GUEST_USO4: ["GUEST_CSUM"],
  GUEST_USO6: ["GUEST_CSUM"],
  HOST_TSO4: ["CSUM"],
  HOST_TSO6: ["CSUM"],
  HOST_ECN: ["HOST_TSO6", "CSUM"],
  HOST_UFO: ["CSUM"],
  HOST_USO: ["CSUM"],
  CTRL_RX: ["CTRL_VQ"],
  CTRL_VLAN: ["CTRL_VQ"],
  CTRL_RX_EXTRA: ["CTRL_VQ"],
  GUEST_ANNOUNCE: ["CTRL_VQ"],
  MQ: ["CTRL_VQ"],
  CTRL_MAC_ADDR: ["CTRL_VQ"],
  CTRL_GUEST_OFFLOADS: ["CTRL_VQ"],
  NOTF_COAL: ["CTRL_VQ"],
  VQ_NOTF_COAL: ["CTRL_VQ"],
  RSS: ["CTRL_VQ"],
  HASH_REPORT: ["CTRL_VQ"],
  HASH_TUNNEL: ["CTRL_VQ", "RSS"],
  RSS_CONTEXT: ["CTRL_VQ", "RSS"],
  RSC_EXT: ["HOST_TSO4", "CSUM"],
  GUEST_UDP_TUNNEL_GSO: ["GUEST_CSUM", "GUEST_TSO4", "GUEST_TSO6", "GUEST_USO4", "GUEST_USO6"],
  GUEST_UDP_TUNNEL_GSO_CSUM: [
    "GUEST_UDP_TUNNEL_GSO",
    "GUEST_CSUM",
    "GUEST_TSO4",
    "GUEST_TSO6",
    "GUEST_USO4",
    "GUEST_USO6",
  ],
  HOST_UDP_TUNNEL_GSO: ["CSUM", "HOST_TSO4", "HOST_TSO6", "HOST_USO"],
  HOST_UDP_TUNNEL_GSO_CSUM: ["HOST_UDP_TUNNEL_GSO", "CSUM", "HOST_TSO4", "HOST_TSO6", "HOST_USO"],
};

const mask = (...names: readonly string[]) => featureMask(...names as (keyof typeof FEATURE_BITS)[]);

Deno.test("FEATURES_OK is refused for each broken dependency, and given where none is", async (t) => {
  const everything = mask(...Object.keys(FEATURE_BITS));
  for (const [feature, needs] of Object.entries(NEEDS)) {
    await t.step(feature, () => {
      const { registers } = openModern(everything);
      assert(registers.negotiate(mask("VERSION_1", feature, ...needs)));
      for (const missing of needs) {
        const rest = needs.filter((name) => name !== missing);
        assert(!registers.negotiate(mask("VERSION_1", feature, ...rest)), `without ${missing}`);
        assertEquals(registers.get("device_status"), 3);
      }
    });
  }
});

Deno.test("FEATURES_OK is refused without VERSION_1, and for what was not offered", () => {
  const { registers } = openModern();
  assert(!registers.negotiate(featureMask("MAC")));
  assert(!registers.negotiate(featureMask("VERSION_1", "EVENT_IDX")));
  assert(!registers.negotiate(featureMask("VERSION_1") | 1n << 127n));
  assert(registers.negotiate(featureMask("VERSION_1")));
});

Deno.test("after a refusal the driver may try again; after FEATURES_OK features stay until reset", () => {
  const { registers, device } = openModern();
  assert(!registers.negotiate(0n));
  registers.accept(FEATURES);
  registers.set("device_status", 11);
  assertEquals(registers.get("device_status"), 11);
  registers.accept(featureMask("VERSION_1"));
  registers.set("driver_feature_select", 0);
  assertEquals(registers.get("driver_feature"), Number(FEATURES & 0xffff_ffffn));
  assertEquals(device.features, FEATURES);
  registers.set("device_status", 0);
  assertEquals([registers.get("device_status"), device.features], [0, 0n]);
});

Deno.test("the driver cannot clear status bits, nor set NEEDS_RESET", () => {
  const { registers } = openModern();
  assert(registers.negotiate(FEATURES));
  registers.set("device_status", 1);
  assertEquals(registers.get("device_status"), 11);
  registers.set("device_status", 11 | 64 | 128);
  assertEquals(registers.get("device_status"), 11 | 128);
});
