import { assert, assertEquals } from "@std/assert";
import type { ValuesInput } from "../../core/layout.ts";
import {
  argumentSize,
  BACKEND_BITS,
  type BackendFeature,
  backendMask,
  VDUSE,
  VHOST,
} from "../../plugins/vdpa/ioctls.ts";
import { structures } from "../../plugins/vdpa/layout.ts";

interface Vector {
  struct: string;
  fields: Record<string, number | string>;
  hex: string;
}

function vectors(name: string): Vector[] {
  return JSON.parse(Deno.readTextFileSync(new URL(`../../fixtures/vectors/${name}`, import.meta.url)));
}

function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

const mine = ["virtio.json", "virtio_more.json"].flatMap(vectors).filter(({ struct }) =>
  /^(vhost|vduse)_/.test(struct)
);

for (const [number, { struct, fields, hex: expected }] of mine.entries()) {
  Deno.test(`${struct} decodes and encodes what gcc compiled (vector ${number})`, () => {
    const layout = structures.find(({ name }) => name === struct);
    assert(layout, `no layout for ${struct}`);
    const bytes = Uint8Array.fromHex(expected);
    const values = layout.decode(bytes);
    for (const [name, value] of Object.entries(fields)) {
      assertEquals(BigInt(values[name] as number | bigint), BigInt(value), name);
    }
    assertEquals(hex(layout.encode(values as ValuesInput)), expected);
  });
}

Deno.test("structures have the sizes and offsets of the C headers", () => {
  const layouts: { struct: string; size: number; offsets: Record<string, number> }[] = JSON.parse(
    Deno.readTextFileSync(new URL("../../fixtures/vectors/virtio_layout.json", import.meta.url)),
  );
  let checked = 0;
  for (const { struct, size, offsets } of layouts) {
    const layout = structures.find(({ name }) => `struct ${name}` === struct);
    if (!layout) continue;
    assertEquals(layout.size, size, struct);
    for (const [name, offset] of Object.entries(offsets)) {
      const field = layout.fields.find((field) =>
        field.name === name || field.name.startsWith(`${name}.`) || field.name.startsWith(`${name}[`)
      );
      assertEquals(field?.offset, offset, `${struct}.${name}`);
      checked++;
    }
  }
  assert(checked > 50);
});

Deno.test("ioctl numbers are those of the headers", () => {
  const ioctls = vectors("virtio_behaviour.json").filter(({ struct }) => struct === "ioctl");
  assertEquals(ioctls.length, 45);
  for (const { fields, hex: bytes } of ioctls) {
    const [, family, name] = /^(VHOST|VDUSE)_(.*)$/.exec(String(fields.name))!;
    const table: Readonly<Record<string, number>> = family === "VHOST" ? VHOST : VDUSE;
    const number = table[name!];
    assertEquals(number, Number(fields.value), String(fields.name));
    const encoded = new Uint8Array(4);
    new DataView(encoded.buffer).setUint32(0, number!, true);
    assertEquals(hex(encoded), bytes);
  }
});

Deno.test("ioctl numbers carry the sizes of the structures that they take", () => {
  const sizes: Readonly<Record<string, readonly number[]>> = {
    vhost_vring_state: [
      VHOST.SET_VRING_NUM,
      VHOST.SET_VRING_BASE,
      VHOST.GET_VRING_BASE,
      VHOST.VDPA_SET_VRING_ENABLE,
      VHOST.VDPA_GET_VRING_GROUP,
      VHOST.VDPA_SET_GROUP_ASID,
      VHOST.VDPA_GET_VRING_DESC_GROUP,
      VHOST.VDPA_GET_VRING_SIZE,
    ],
    vhost_vring_file: [VHOST.SET_VRING_KICK, VHOST.SET_VRING_CALL, VHOST.SET_VRING_ERR],
    vhost_vring_addr: [VHOST.SET_VRING_ADDR],
    vhost_memory: [VHOST.SET_MEM_TABLE],
    vhost_vdpa_config: [VHOST.VDPA_GET_CONFIG, VHOST.VDPA_SET_CONFIG],
    vhost_vdpa_iova_range: [VHOST.VDPA_GET_IOVA_RANGE],
    vduse_dev_config: [VDUSE.CREATE_DEV],
    vduse_iotlb_entry: [VDUSE.IOTLB_GET_FD],
    vduse_config_data: [VDUSE.DEV_SET_CONFIG],
    vduse_vq_config: [VDUSE.VQ_SETUP],
    vduse_vq_info: [VDUSE.VQ_GET_INFO],
    vduse_vq_eventfd: [VDUSE.VQ_SETUP_KICKFD],
    vduse_iova_umem: [VDUSE.IOTLB_REG_UMEM, VDUSE.IOTLB_DEREG_UMEM],
    vduse_iova_info: [VDUSE.IOTLB_GET_INFO],
  };
  for (const [name, requests] of Object.entries(sizes)) {
    const { size } = structures.find((layout) => layout.name === name)!;
    for (const request of requests) {
      assertEquals(argumentSize(request), size, `${name} ${request.toString(16)}`);
    }
  }
});

Deno.test("backend feature bits are those of the headers, given as masks", () => {
  const bits = vectors("virtio_behaviour.json").filter(({ struct }) => struct === "backend feature bit");
  assertEquals(bits.length, 5);
  for (const { fields, hex: bytes } of bits) {
    const name = String(fields.name).replace("VHOST_BACKEND_F_", "") as BackendFeature;
    assertEquals(BACKEND_BITS[name], Number(fields.bit));
    assertEquals(backendMask(name), BigInt(fields.mask!));
    const encoded = new Uint8Array(8);
    new DataView(encoded.buffer).setBigUint64(0, backendMask(name), true);
    assertEquals(hex(encoded), bytes);
  }
});
