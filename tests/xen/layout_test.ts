import { assertEquals } from "@std/assert";
import { structures } from "../../plugins/xen/layout.ts";
import { vectors } from "../vectors.ts";

/** The second file is filled at random and read by gcc from the headers of Xen 4.17, of 64 and of 32 bits. */
const FILES = ["xen.json", "xen_more.json"];
const GOLDEN = FILES.flatMap((file) => vectors(file));

Deno.test("layout knows every structure once, and there are golden bytes of all but the head of rings", () => {
  const names = structures.map(({ name }) => name);
  assertEquals(new Set(names).size, names.length);
  const golden = new Set(GOLDEN.map(({ struct }) => struct));
  assertEquals(names.filter((name) => !golden.has(name)), ["sring_header"]);
});

for (const struct of structures.filter(({ name }) => name !== "sring_header")) {
  Deno.test(`${struct.name} has the golden bytes`, () => {
    for (const { fields, bytes } of GOLDEN.filter((vector) => vector.struct === struct.name)) {
      const values = struct.decode(bytes);
      for (const [field, wanted] of Object.entries(fields)) {
        const value = values[field];
        if (Array.isArray(wanted)) assertEquals(value, wanted, field);
        else assertEquals(BigInt(value as number), BigInt(wanted), field);
      }
      assertEquals(struct.encode(values), bytes);
    }
  });
}

/** Filled at random, and read by gcc from the struct of xen/event_channel.h. */
Deno.test("evtchn_status has every member of its union by its C path, and the other domain by a short one", () => {
  const struct = structures.find(({ name }) => name === "evtchn_status")!;
  const bytes = Uint8Array.fromHex("82b70eee7f1a5039bef07ec2347f066ed08f5dc7512447e3");
  const values = struct.decode(bytes);
  const wanted = {
    "u.unbound.dom": 36816,
    "u.interdomain.dom": 36816,
    "u.interdomain.port": 3813090385,
    "u.pirq": 3344797648,
    "u.virq": 3344797648,
    u_dom: 36816,
    u_port: 3813090385,
  };
  for (const [name, value] of Object.entries(wanted)) assertEquals(values[name], value, name);
  assertEquals(struct.encode(values), bytes);
});

Deno.test("gnttab_copy and frame lists have their members by their C paths, too", () => {
  for (const { fields, bytes } of vectors("xen.json", "gnttab_copy")) {
    const values = structures.find(({ name }) => name === "gnttab_copy")!.decode(bytes);
    for (const side of ["source", "dest"]) {
      for (const member of ["domid", "offset"]) {
        const wanted = fields[`${side}_${member}`] as number;
        assertEquals(values[`${side}.${member}`], wanted, `${side}.${member}`);
      }
    }
  }
  for (const name of ["gnttab_setup_table", "gnttab_get_status_frames"]) {
    const struct = structures.find((struct) => struct.name === name)!;
    for (const { fields, bytes } of vectors("xen.json", name)) {
      const list = fields.frame_list_ptr!;
      assertEquals(BigInt(struct.decode(bytes)["frame_list.p"] as number), BigInt(list as number));
      assertEquals(struct.encode({ ...fields, "frame_list.p": list }), bytes);
    }
  }
});
